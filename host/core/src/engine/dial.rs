//! A workload's connections are judged by its provider.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::Workload;
use crate::dial::DialPolicy;

#[async_trait]
impl DialPolicy for Workload {
    /// Refused as well while the provider is not there: nobody else knows where its targets may be.
    async fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        let provider = self.shared.provider(&self.spec.provider);
        let provider = provider.map_err(|failure| failure.message)?;
        provider.check_dial(&self.spec.target, host, address).await
    }
}
