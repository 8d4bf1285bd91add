//! The one look that tells whether a workload is ready. The engine decides when to look.

use async_trait::async_trait;

use crate::{dial::DialPolicy, provider::Address, spec::ReadyCheck};

/// Looks at a workload from outside.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// One look, over within a second or two. The error says what was seen instead of readiness,
    /// for instance `GET /health: 503 Service Unavailable`. Dropping the future ends it. Every
    /// connection is judged by `policy` first.
    async fn probe(
        &self,
        check: &ReadyCheck,
        addresses: &[Address],
        policy: &dyn DialPolicy,
    ) -> Result<(), String>;

    /// How many play on the Minecraft server at the workload's own `port`.
    async fn players(
        &self,
        addresses: &[Address],
        port: u16,
        policy: &dyn DialPolicy,
    ) -> Result<u32, String>;
}
