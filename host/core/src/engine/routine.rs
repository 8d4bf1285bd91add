//! What the router asks a provider by itself gives way to what visitors wait for.
//!
//! Routine calls (status polls, resyncs, usage, what may keep an idle workload awake) take turns,
//! a few at a time for each provider. Starts, stops and urgent status queries take none, so they
//! never queue behind routine calls, and find slots free among the provider's calls in flight.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Shared, read};
use crate::names::ProviderName;

/// Maximum routine calls in flight per provider.
const ROUTINE: usize = 16;

/// Turns for a provider that serves this many calls at a time: half of them at most.
pub(super) fn turns(calls: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((calls / 2).clamp(1, ROUTINE)))
}

impl Shared {
    /// Waits for a turn to make a routine call, without limit: the calls before it end. None when
    /// there is no such provider (yet).
    pub(super) async fn routine_turn(
        &self,
        provider: &ProviderName,
    ) -> Option<OwnedSemaphorePermit> {
        let turns = read(&self.routine).get(provider).cloned()?;
        turns.acquire_owned().await.ok()
    }
}
