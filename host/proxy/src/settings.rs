//! The settings of listeners and of waiting visitors.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

/// Maximum idle connections to backends, over all threads.
pub const IDLE_UPSTREAMS: usize = 4096;

/// The settings of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The name by which routes refer to it.
    pub name: String,
    /// The address to bind.
    pub bind: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// Networks of trusted proxies: their `X-Forwarded-*` headers are extended, those of other peers
    /// are replaced.
    pub trust: Vec<IpNet>,
    /// Networks of peers that start every connection with a PROXY protocol header (version 1 or 2).
    /// Other peers may not send one.
    pub proxy_protocol: Vec<IpNet>,
    /// Limits on clients and upstreams.
    pub limits: HttpLimits,
}

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    Http,
}

/// Limits on clients and upstreams of an HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Maximum open connections of clients; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Maximum time from a request's first byte, or from the accept, until its head is complete.
    pub head_timeout: Duration,
    /// Maximum bytes of a request's head.
    pub head_bytes: usize,
    /// Maximum time that a client connection stays open without a request.
    pub keep_alive: Duration,
    /// Maximum time without a byte of a request's body; then the client gets 408.
    pub body_timeout: Duration,
    /// Maximum time in which a client accepts no byte of a response; then the connection is closed.
    pub send_timeout: Duration,
    /// Maximum time without a byte of a response that has begun; then the connection is closed.
    /// Long, because event streams may be silent for a while.
    pub read_timeout: Duration,
    /// Time without a byte in either direction until a tunnel is closed; the close may take up to
    /// twice as long.
    pub tunnel_idle: Option<Duration>,
    /// Maximum time to connect to an upstream.
    pub connect_timeout: Duration,
    /// Maximum time from the last part of the request that the upstream accepted until it accepts
    /// the next one or begins its response; then the client gets 504.
    pub response_timeout: Duration,
    /// Maximum visitors held on this listener; another one is refused.
    pub max_held: usize,
}

/// The settings of waiting visitors, on all listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingSettings {
    /// The theme of pages: a directory of this name in `theme-dir`, or a bundled theme.
    pub theme: String,
    /// The directory of the operator's own themes.
    pub themes: Option<PathBuf>,
    /// Number of a workload's last log lines that the page shows; 0 shows none. Log lines may
    /// contain secrets.
    pub logs: u32,
    /// Pages get progress on the reserved path; otherwise they reload.
    pub live: bool,
    /// Maximum visitors held on all listeners; another one is refused.
    pub max_held: usize,
    /// Maximum open progress streams; further pages poll.
    pub max_streams: usize,
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
            max_held: 16_384,
        }
    }
}

// === impl WaitingSettings ===

impl Default for WaitingSettings {
    fn default() -> Self {
        Self {
            theme: "calm".to_owned(),
            themes: None,
            logs: 0,
            live: true,
            max_held: 16_384,
            max_streams: 4_096,
        }
    }
}
