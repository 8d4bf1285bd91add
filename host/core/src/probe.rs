//! Readiness probes. The engine decides when to probe.

use async_trait::async_trait;

use crate::{dial::DialPolicy, provider::Address, spec::ReadyCheck};

/// Probes a workload from outside.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Probes once, for at most 1 or 2 s. The error describes the state found instead, for instance
    /// `GET /health: 503 Service Unavailable`. Dropping the future cancels the probe. Every
    /// connection is checked by `policy` first.
    async fn probe(
        &self,
        check: &ReadyCheck,
        addresses: &[Address],
        policy: &dyn DialPolicy,
    ) -> Result<(), String>;

    /// Number of players online on the Minecraft server at the workload's own `port`.
    async fn players(
        &self,
        addresses: &[Address],
        port: u16,
        policy: &dyn DialPolicy,
    ) -> Result<u32, String>;
}
