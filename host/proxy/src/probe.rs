//! Readiness probes of workloads over the network.

mod http;
mod limit;
mod minecraft;

use async_trait::async_trait;
use drowse_core::{Address, DialPolicy, Prober, ReadyCheck};

use crate::dial::dial;
use limit::within_limit;

/// Probes by TCP, HTTP and Minecraft's status request. Connects to the addresses of visitors'
/// requests, under their dial policy.
#[derive(Clone, Debug, Default)]
pub struct NetProber {}

// === impl NetProber ===

impl NetProber {
    /// A prober without state. Probing needs a Tokio runtime with time and I/O enabled.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn probe(
        &self,
        check: &ReadyCheck,
        addresses: &[Address],
        policy: &dyn DialPolicy,
    ) -> Result<(), String> {
        match check {
            ReadyCheck::Started => Ok(()),
            ReadyCheck::Tcp { port } => {
                let (host, port) = upstream_address(addresses, *port)?;
                let connect = dial(host, port, policy);
                within_limit(&format!("connect {host}:{port}"), connect).await.map(drop)
            }
            ReadyCheck::Http { port, method, path, status, host, header } => {
                let header = header.as_ref().map(|(name, value)| (name.as_str(), value.as_deref()));
                let expected = http::Expected { status: status.clone(), header };
                let address = upstream_address(addresses, *port)?;
                let request = http::ProbeRequest { method, path, host: host.as_deref() };
                http::probe(address, policy, &request, &expected).await
            }
            ReadyCheck::Minecraft { port } => {
                let address = upstream_address(addresses, *port)?;
                within_limit(minecraft::ATTEMPT, minecraft::status(address, policy)).await.map(drop)
            }
            ReadyCheck::Health | ReadyCheck::Completed | ReadyCheck::Exec { .. } => {
                Err("only the provider can check this, not a network probe".to_owned())
            }
        }
    }

    async fn players(
        &self,
        addresses: &[Address],
        port: u16,
        policy: &dyn DialPolicy,
    ) -> Result<u32, String> {
        let address = upstream_address(addresses, port)?;
        let status = within_limit(minecraft::ATTEMPT, minecraft::status(address, policy)).await?;
        let online = status.players_online;
        online.ok_or_else(|| format!("{}: the status has no player count", minecraft::ATTEMPT))
    }
}

/// The address of visitors' requests for this port.
fn upstream_address(addresses: &[Address], port: u16) -> Result<(&str, u16), String> {
    addresses
        .iter()
        .find_map(|address| address.socket(port))
        .ok_or_else(|| format!("the provider knows no address for port {port}"))
}

#[cfg(test)]
mod tests;
