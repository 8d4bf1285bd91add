//! Permits for routine calls: status polls, resyncs, usage, and vetoes.
//!
//! Routine calls are limited per provider. Starts, stops and urgent status queries take no permit,
//! so they never queue behind routine calls, and find slots free among the provider's calls in
//! flight.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Shared, read};
use crate::names::ProviderName;

/// Maximum routine calls in flight per provider.
const ROUTINE: usize = 16;

/// Permits for a provider that serves `calls` calls at a time: half of them at most.
pub(super) fn permits(calls: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((calls / 2).clamp(1, ROUTINE)))
}

impl Shared {
    /// Waits for a permit for a routine call, without limit, because every call ends. None when
    /// there is no such provider, or it is still being loaded.
    pub(super) async fn routine_permit(
        &self,
        provider: &ProviderName,
    ) -> Option<OwnedSemaphorePermit> {
        let permits = read(&self.routine).get(provider).cloned()?;
        permits.acquire_owned().await.ok()
    }
}
