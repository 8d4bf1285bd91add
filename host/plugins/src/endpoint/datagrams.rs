//! Datagrams to one endpoint. Nothing comes back.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::net::{UdpSocket, lookup_host};

use super::{Place, SendError, bare, bracketed};
use crate::rate::Bucket;

/// Most that goes into a datagram without being cut into pieces on an Ethernet: 1,500 bytes less
/// the heads of IPv4 and UDP.
const PAYLOAD: usize = 1_472;
/// Datagrams a second to one endpoint, of all calls together; more wait.
const A_SECOND: u64 = 100;

/// A granted endpoint that takes datagrams.
pub(crate) struct Datagrams {
    place: Place,
    host: String,
    port: u16,
    /// Until its name is looked up.
    timeout: Duration,
    sent: Mutex<Bucket>,
}

// === impl Datagrams ===

impl Datagrams {
    /// The endpoint of this name at this host and port.
    pub(crate) fn new(name: &str, host: &str, port: u16, timeout: Duration) -> Self {
        Self {
            place: Place::new(name, format!("udp://{}:{port}", bracketed(host))),
            host: host.to_owned(),
            port,
            timeout,
            sent: Mutex::new(Bucket::new(A_SECOND, Instant::now())),
        }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Sends one datagram when its turn has come. Success says that it left.
    pub(crate) async fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        let bytes = payload.len();
        if bytes > PAYLOAD {
            let name = &self.place.name;
            return Err(SendError::Invalid(format!(
                "a datagram of {bytes} bytes to endpoint {name:?}: at most {PAYLOAD} are sent"
            )));
        }
        let wait = self.owe();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let sent = self.deliver(payload).await;
        sent.map_err(|error| self.place.unavailable(error.to_string()))
    }

    fn owe(&self) -> Duration {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).owe(1, Instant::now())
    }

    async fn deliver(&self, payload: &[u8]) -> io::Result<()> {
        let look = lookup_host((bare(&self.host), self.port));
        let found = tokio::time::timeout(self.timeout, look).await;
        let late = |_| io::Error::other("its name was not looked up in time");
        let mut failed = io::Error::other("its name leads nowhere");
        for address in found.map_err(late)?? {
            match send_to(address, payload).await {
                Ok(()) => return Ok(()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// Sends from a socket of its own: nobody can answer to it later.
async fn send_to(address: SocketAddr, payload: &[u8]) -> io::Result<()> {
    let own: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    // Which addresses are broadcast ones only the network's mask tells.
    socket.set_broadcast(true)?;
    socket.send_to(payload, address).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_goes_at_once_and_more_waits() {
        let lan = Datagrams::new("lan", "127.0.0.1", 9, Duration::from_secs(1));
        assert!((0..A_SECOND).all(|_| lan.owe().is_zero()));
        let waits: Vec<_> = (0..A_SECOND).map(|_| lan.owe()).collect();
        assert!(waits[0] <= Duration::from_millis(10), "{:?}", waits[0]);
        let last = waits.last().unwrap();
        assert!(*last > Duration::from_millis(500) && *last <= Duration::from_secs(1), "{last:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_told_to_the_operator_with_its_place() {
        let lan = Datagrams::new("lan", "nobody.invalid", 9, Duration::from_secs(5));
        let told = SendError::Unavailable("endpoint \"lan\" cannot be reached".into());
        assert_eq!(lan.send(b"x").await, Err(told));
        let cause = lan.place().unreached_because();
        assert!(cause.starts_with("endpoint \"lan\" at udp://nobody.invalid:9 "), "{cause}");
    }
}
