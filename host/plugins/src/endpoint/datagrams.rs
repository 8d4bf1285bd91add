//! Datagrams to one endpoint, without replies.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::net::{UdpSocket, lookup_host};

use super::label::{EndpointLabel, SendError, bare, bracketed};
use crate::token_bucket::TokenBucket;

/// Maximum bytes of a datagram that is not fragmented on Ethernet: 1,500 bytes minus the headers of
/// IPv4 and UDP.
const PAYLOAD: usize = 1_472;
/// Maximum datagrams a second to one endpoint; further ones wait.
const A_SECOND: u64 = 100;

/// A granted UDP endpoint.
pub(crate) struct Datagrams {
    label: EndpointLabel,
    host: String,
    port: u16,
    /// Timeout of name resolution.
    timeout: Duration,
    sent: Mutex<TokenBucket>,
}

// === impl Datagrams ===

impl Datagrams {
    /// The endpoint `name` at this host and port.
    pub(crate) fn new(name: &str, host: &str, port: u16, timeout: Duration) -> Self {
        Self {
            label: EndpointLabel::new(name, format!("udp://{}:{port}", bracketed(host))),
            host: host.to_owned(),
            port,
            timeout,
            sent: Mutex::new(TokenBucket::new(A_SECOND, Instant::now())),
        }
    }

    /// Its label.
    pub(crate) fn label(&self) -> &EndpointLabel {
        &self.label
    }

    /// Sends one datagram, waiting for the rate limit. Success means that it was sent.
    pub(crate) async fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        let bytes = payload.len();
        if bytes > PAYLOAD {
            let name = &self.label.name;
            return Err(SendError::Invalid(format!(
                "a datagram of {bytes} bytes to endpoint {name:?} exceeds the maximum of {PAYLOAD}"
            )));
        }
        let wait = self.charge();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let sent = self.deliver(payload).await;
        sent.map_err(|error| self.label.unavailable(error.to_string()))
    }

    fn charge(&self) -> Duration {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).charge(1, Instant::now())
    }

    async fn deliver(&self, payload: &[u8]) -> io::Result<()> {
        let look = lookup_host((bare(&self.host), self.port));
        let found = tokio::time::timeout(self.timeout, look).await;
        let late = |_| io::Error::other("its name was not resolved in time");
        let mut failed = io::Error::other("its name has no address");
        for address in found.map_err(late)?? {
            match send_to(address, payload).await {
                Ok(()) => return Ok(()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// Sends from a new socket, so that no reply can be received.
async fn send_to(address: SocketAddr, payload: &[u8]) -> io::Result<()> {
    let own: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    // Broadcast addresses depend on the network's mask, so broadcasting is always enabled.
    socket.set_broadcast(true)?;
    socket.send_to(payload, address).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_above_the_rate_limit_wait() {
        let lan = Datagrams::new("lan", "127.0.0.1", 9, Duration::from_secs(1));
        assert!((0..A_SECOND).all(|_| lan.charge().is_zero()));
        let waits: Vec<_> = (0..A_SECOND).map(|_| lan.charge()).collect();
        assert!(waits[0] <= Duration::from_millis(10), "{:?}", waits[0]);
        let last = waits.last().unwrap();
        assert!(*last > Duration::from_millis(500) && *last <= Duration::from_secs(1), "{last:?}");
    }

    #[tokio::test]
    async fn a_send_failure_is_reported_to_the_operator_with_the_address() {
        let lan = Datagrams::new("lan", "nobody.invalid", 9, Duration::from_secs(5));
        let error = SendError::Unavailable("endpoint \"lan\" cannot be reached".into());
        assert_eq!(lan.send(b"x").await, Err(error));
        let cause = lan.label().unreached_because();
        assert!(cause.starts_with("endpoint \"lan\" at udp://nobody.invalid:9 "), "{cause}");
    }
}
