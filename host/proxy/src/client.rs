//! An accepted connection, whatever protocol is spoken on it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};

use crate::clock::Clock;

pub(crate) mod socket;

use socket::ClientSocket;

/// A connection that a listener has accepted. It counts against the listener's limit until it is
/// dropped.
pub(crate) struct ClientConnection {
    pub(crate) socket: Arc<ClientSocket>,
    /// The peer's address, or the one in its PROXY protocol header.
    pub(crate) address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

/// Why a client's connection is closed: the client has exceeded a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow(pub(crate) &'static str);

/// Returns whether a peer at this address is in one of the trusted networks.
pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

// === impl ClientConnection ===

impl ClientConnection {
    pub(crate) fn new(
        stream: TcpStream,
        address: SocketAddr,
        clock: &Clock,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let socket = Arc::new(ClientSocket::new(stream, clock));
        Self { socket, address: address.ip().to_canonical(), _permit: permit }
    }

    /// Resolves when the client has disconnected; see [`ClientSocket::closed`].
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + use<> {
        self.socket.clone().closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_trusted_by_network() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        assert!(is_trusted(&trusted, "10.1.2.3".parse().unwrap()));
        assert!(is_trusted(&trusted, "fd12::1".parse().unwrap()));
        assert!(!is_trusted(&trusted, "11.1.2.3".parse().unwrap()));
    }
}
