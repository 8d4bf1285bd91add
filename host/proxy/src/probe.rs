//! Looks at workloads over the network.

mod http;
mod minecraft;

use std::{io, time::Duration};

use async_trait::async_trait;
use drowse_core::{Address, DialPolicy, Prober, ReadyCheck};
use tokio::time::timeout;

use crate::upstream;

/// One look takes at most so long.
const LIMIT: Duration = Duration::from_secs(1);

/// Probes by TCP, HTTP and Minecraft's status request. It looks at the address that visitors would
/// be sent to, and only where they would be sent.
#[derive(Clone, Debug, Default)]
pub struct NetProber {}

// === impl NetProber ===

impl NetProber {
    /// A prober; it has no state and needs a runtime with time and I/O when it is used.
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
                let (host, port) = place(addresses, *port)?;
                let connect = upstream::open(host, port, policy);
                within(&format!("connect {host}:{port}"), connect).await.map(drop)
            }
            ReadyCheck::Http { port, method, path, status, host, header } => {
                let header = header.as_ref().map(|(name, value)| (name.as_str(), value.as_deref()));
                let expected = http::Expected { status: status.clone(), header };
                let place = place(addresses, *port)?;
                let question = http::Question { method, path, host: host.as_deref() };
                http::look(place, policy, &question, &expected).await
            }
            ReadyCheck::Minecraft { port } => {
                let place = place(addresses, *port)?;
                within(minecraft::ATTEMPT, minecraft::look(place, policy)).await.map(drop)
            }
            ReadyCheck::Health | ReadyCheck::Completed | ReadyCheck::Exec { .. } => {
                Err("only the provider can tell, not a look over the network".to_owned())
            }
        }
    }

    async fn players(
        &self,
        addresses: &[Address],
        port: u16,
        policy: &dyn DialPolicy,
    ) -> Result<u32, String> {
        let place = place(addresses, port)?;
        let status = within(minecraft::ATTEMPT, minecraft::look(place, policy)).await?;
        let online = status.players_online;
        online.ok_or_else(|| format!("{}: it does not say who is online", minecraft::ATTEMPT))
    }
}

/// Where visitors of this port would be sent.
fn place(addresses: &[Address], port: u16) -> Result<(&str, u16), String> {
    addresses
        .iter()
        .find_map(|address| address.socket(port))
        .ok_or_else(|| format!("the provider knows no address for port {port}"))
}

async fn within<T>(what: &str, look: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(LIMIT, look).await {
        Ok(seen) => seen.map_err(|error| format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no answer within {} s", LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests;
