//! What the operator says of a listener.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

/// One bound socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The name that routes refer to.
    pub name: String,
    /// Where it listens.
    pub bind: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// Peers whose `X-Forwarded-*` headers are believed and extended; others' are replaced.
    pub trust: Vec<IpNet>,
    /// Bounds on clients and upstreams.
    pub limits: HttpLimits,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    Http,
}

/// Bounds on clients and upstreams of an HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections of clients at a time; more wait in the kernel's backlog.
    pub connections: usize,
    /// From a request's first byte (or the connection's begin) until its head is complete.
    pub head_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// A client connection without a request in flight is closed after this long.
    pub keep_alive: Duration,
    /// Until a connection to an upstream stands.
    pub connect_timeout: Duration,
    /// From the request's last byte sent until the upstream's response head; then 504.
    pub response_timeout: Duration,
}

// === impl HttpLimits ===

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            head_timeout: Duration::from_secs(15),
            head_bytes: 64 << 10,
            keep_alive: Duration::from_secs(75),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(300),
        }
    }
}
