//! Permission for connections to a workload.

use std::net::SocketAddr;

use async_trait::async_trait;

/// Checks each connection to a workload before it is made, for visitors and readiness checks.
#[async_trait]
pub trait DialPolicy: Send + Sync {
    /// Checks the socket address of the connection. `host` is the host that the provider reported:
    /// this address, or the name that resolved to it. The error tells why the connection is refused
    /// and what to do.
    async fn check(&self, host: &str, address: SocketAddr) -> Result<(), String>;
}
