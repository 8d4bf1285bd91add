//! Which connections may be made for a workload.

use std::net::SocketAddr;

use async_trait::async_trait;

/// Judges each connection that is about to be made for a workload, for its visitors and for its
/// readiness checks alike.
#[async_trait]
pub trait DialPolicy: Send + Sync {
    /// Judges the socket address that the connection is about to be made to. `host` is the host
    /// that the provider reported: this address, or the name that led to it. The error says why the
    /// connection is refused and what to do.
    async fn check(&self, host: &str, address: SocketAddr) -> Result<(), String>;
}
