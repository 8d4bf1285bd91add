//! Checks a workload's connections with its provider.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::Workload;
use crate::dial::DialPolicy;

#[async_trait]
impl DialPolicy for Workload {
    /// Refuses every connection while the provider is not loaded: only the provider knows which
    /// addresses its targets may have.
    async fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        let provider = self.shared.provider(&self.spec.provider);
        let provider = provider.map_err(|failure| failure.message)?;
        provider.check_dial(&self.spec.target, host, address).await
    }
}
