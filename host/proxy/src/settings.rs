//! What the operator says of a listener.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::page::{Theme, ThemeError};

/// Idle connections to backends that all threads keep together at most.
pub const IDLE_UPSTREAMS: usize = 4096;

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
    /// Peers that begin each connection with a PROXY protocol header (version 1 or 2). From others
    /// it is not accepted.
    pub proxy_protocol: Vec<IpNet>,
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
    /// A client sends nothing of a request's body for so long; then 408.
    pub body_timeout: Duration,
    /// A client takes nothing of what is sent to it for so long; then it is cut off.
    pub send_timeout: Duration,
    /// An upstream that has begun its response sends nothing of it for so long; then it is cut
    /// off. Streams of events may be silent for a while.
    pub read_timeout: Duration,
    /// Nothing passes through a tunnel for so long, at the latest twice as long; then it is
    /// closed.
    pub tunnel_idle: Option<Duration>,
    /// Until a connection to an upstream stands.
    pub connect_timeout: Duration,
    /// From the last piece of the request that the upstream took until it takes the next one or
    /// begins its response; then 504.
    pub response_timeout: Duration,
    /// Visitors held at a time; one more is refused.
    pub held: usize,
}

/// What waiting visitors get, on all listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingSettings {
    /// How the page looks: a directory of this name in `theme-dir`, or one in the box.
    pub theme: String,
    /// Where the operator's own themes are.
    pub themes: Option<PathBuf>,
    /// The page shows so many of a workload's last log lines. They may hold secrets.
    pub logs: u32,
    /// Pages learn of progress on the reserved path; otherwise they reload.
    pub live: bool,
    /// Visitors held at a time, on all listeners; one more is refused.
    pub held: usize,
    /// Pages that follow along by a stream at a time; others look now and then.
    pub streams: usize,
}

// === impl HttpLimits ===

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            head_timeout: Duration::from_secs(15),
            head_bytes: 64 << 10,
            keep_alive: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(300),
            read_timeout: Duration::from_secs(3600),
            tunnel_idle: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(300),
            held: 16_384,
        }
    }
}

// === impl WaitingSettings ===

impl WaitingSettings {
    /// Tries the theme out.
    pub fn check_theme(&self) -> Result<(), ThemeError> {
        Theme::load(self).map(drop)
    }
}

impl Default for WaitingSettings {
    fn default() -> Self {
        Self {
            theme: "calm".to_owned(),
            themes: None,
            logs: 0,
            live: true,
            held: 16_384,
            streams: 4_096,
        }
    }
}
