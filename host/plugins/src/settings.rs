//! What the operator says of a provider: its plugin, its grants and its limits.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use drowse_core::{ProviderName, StopOptions};
use serde::{Deserialize, Serialize};

use crate::{machine, reach::Reach};

/// One configured plugin instance.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderSettings {
    /// The configured name.
    pub name: ProviderName,
    /// A plugin's name (`docker`: a file `docker.wasm` in the plugins directory, else the bundled
    /// one) or a path to a file.
    pub plugin: String,
    /// What the plugin's `configure` gets: a JSON object.
    pub settings: serde_json::Value,
    /// Granted endpoints by the name the plugin calls them by.
    pub endpoints: BTreeMap<String, EndpointGrant>,
    /// Granted commands by the name the plugin calls them by.
    pub commands: BTreeMap<String, CommandGrant>,
    /// Granted networks by the name the plugin calls them by.
    pub networks: BTreeMap<String, NetworkGrant>,
    /// Where its targets may be; this machine, private networks, and the names in its settings when
    /// absent.
    pub reach: Option<Vec<Reach>>,
    /// What it may use up.
    pub limits: Limits,
}

/// A place outside that a provider may call.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointGrant {
    /// Where it is.
    pub transport: Transport,
    /// Path prefix put in front of every path, without a slash at the end; usually empty.
    pub base: String,
    /// Headers the host adds to every request.
    pub headers: Vec<(String, Secret)>,
    /// Allowed requests, `METHOD /path?query`; the plugin's own wishes when absent.
    pub rules: Option<Vec<String>>,
    /// Where the bearer tokens come from that the endpoint asks for. The router alone calls it, so
    /// it has neither rules nor tokens of its own.
    pub token: Option<Box<EndpointGrant>>,
    /// Until a response's head must be there, when the plugin names no shorter time.
    pub timeout: Duration,
}

/// How an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `unix:///path`
    Unix(PathBuf),
    /// `http://host:port`
    Http {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `https://host:port`
    Https {
        /// Host name or address; verified against the certificate.
        host: String,
        /// TCP port.
        port: u16,
        /// What makes the peer trustworthy.
        trust: Trust,
        /// What makes the router trustworthy to the peer, if the peer asks.
        identity: Option<Identity>,
    },
    /// `udp://host:port`; takes datagrams and no HTTP.
    Udp {
        /// Host name or address, also a broadcast address.
        host: String,
        /// UDP port.
        port: u16,
    },
}

/// What makes a TLS peer trustworthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's certificate authorities.
    System,
    /// The certificate authorities in this PEM file, and no others.
    Ca(PathBuf),
    /// Exactly the certificates with these SHA-256 digests, whatever they say.
    Fingerprints(Vec<[u8; 32]>),
}

/// A certificate that the router shows, with its key. The files are read when the endpoint is first
/// used, and never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM: the certificate, then those of the authorities between it and one that the peer knows.
    pub certificate: PathBuf,
    /// PEM: its private key, without a password.
    pub key: PathBuf,
}

/// A value that is read when it is used and never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written in the configuration.
    Literal(String),
    /// The environment variable of this name, with a prefix.
    Env {
        /// Put in front, for instance `Bearer `.
        prefix: String,
        /// The variable.
        name: String,
    },
    /// The content of this file without white space around it, with a prefix.
    File {
        /// Put in front.
        prefix: String,
        /// The file; looked at again every 5 s while it is used, so a rotated secret is seen.
        path: PathBuf,
    },
}

/// A program that a provider may run.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandGrant {
    /// Absolute path, or a name looked up in the router's `PATH`.
    pub program: String,
    /// Always given.
    pub arguments: Vec<String>,
    /// The whole environment, besides `PATH`; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Where it starts; the router's working directory when absent.
    pub directory: Option<PathBuf>,
    /// The plugin may append arguments.
    pub extra_arguments: bool,
    /// Names the plugin may add to the environment.
    pub extra_environment: Vec<String>,
    /// How it is ended with the router, by its signal's name. Five minutes of grace at most.
    pub end: StopOptions,
    /// Whether it is started again when it ends by itself.
    pub restart: Restart,
    /// So often in a row; who has run for a minute begins a new row.
    pub restart_limit: usize,
    /// What it may use up.
    pub limits: CommandLimits,
}

/// When a program that has ended by itself is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// The next visitor wakes it.
    #[default]
    Never,
    /// When its exit status is not 0, or is not known, or a signal has ended it.
    OnFailure,
    /// However it has ended.
    Always,
}

/// What a program may use up. One that goes beyond is refused more, or ended, by the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLimits {
    /// Bytes of data of each process: `RLIMIT_DATA`.
    pub memory: Option<u64>,
    /// Computing time of each process in all, in whole seconds: `RLIMIT_CPU`.
    pub cpu: Option<Duration>,
    /// Open files of each process: `RLIMIT_NOFILE`.
    pub files: Option<u64>,
    /// Processes of the router's user, all together: `RLIMIT_NPROC`. Not for root.
    pub processes: Option<u64>,
    /// The directory of a cgroup that it is put into, whose limits hold for all its processes
    /// together.
    pub cgroup: Option<PathBuf>,
}

/// A network that a provider may attach containers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkGrant {
    /// The CNI configuration: a `.conflist`, or a `.conf` with one plugin.
    pub config: PathBuf,
    /// Where the CNI plugins are; the first directory that has one counts.
    pub plugins: Vec<PathBuf>,
    /// The directory where the results of additions are kept until they are taken back.
    pub results: PathBuf,
    /// The time that one plugin may take.
    pub timeout: Duration,
}

/// What one provider may use up. Whoever passes a limit is stopped; nobody else notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of one instance.
    pub memory: u64,
    /// CPU time of one instance at once. It gets a tenth of the time back in which it waits. All
    /// calls together get ten times as much at once, and a tenth of the time that passes.
    pub cpu: Duration,
    /// Wall time of one call, on top of what the call itself is meant to take (a stop's grace).
    pub wall: Duration,
    /// Calls in flight; more wait for their turn.
    pub calls: usize,
    /// Bytes of one HTTP response body, or of the messages of one gRPC call, handed to the plugin in
    /// one call. `watch`, which reads for ever, gets so many a second and waits for more.
    pub response: u64,
    /// Log lines a second.
    pub log_lines: u32,
}

/// What all plugins together may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    /// Bytes of memory of all calls of all providers at a time. Half of it is divided evenly among
    /// the providers, half of it goes to whoever asks first.
    pub memory: u64,
    /// What the compilation of one plugin may use up.
    pub compile: CompileLimits,
}

/// What the compilation of one plugin may use up. It is ended when it takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of data: `RLIMIT_DATA`.
    pub memory: u64,
    /// CPU time of all its threads, in whole seconds: `RLIMIT_CPU`.
    pub time: Duration,
}

// === impl PluginLimits ===

impl Default for PluginLimits {
    fn default() -> Self {
        // A provider's call takes one or two megabytes, one in JavaScript or Python forty.
        let memory = machine::memory().map_or(u64::MAX, |all| all / 4).clamp(64 << 20, 1 << 30);
        Self { memory, compile: CompileLimits::default() }
    }
}

// === impl CompileLimits ===

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory: 2 << 30, time: Duration::from_secs(60) }
    }
}

// === impl Secret ===

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("<masked>"),
            Self::Env { name, .. } => write!(f, "<env {name}>"),
            Self::File { path, .. } => write!(f, "<file {}>", path.display()),
        }
    }
}

// === impl CommandGrant ===

/// With the names of the environment and without what they stand for.
impl fmt::Debug for CommandGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, arguments, environment, directory, .. } = self;
        let environment: BTreeMap<_, _> =
            environment.keys().map(|name| (name, "<masked>")).collect();
        f.debug_struct("CommandGrant")
            .field("program", program)
            .field("arguments", arguments)
            .field("environment", &environment)
            .field("directory", directory)
            .field("extra_arguments", &self.extra_arguments)
            .field("extra_environment", &self.extra_environment)
            .field("end", &self.end)
            .field("restart", &self.restart)
            .field("restart_limit", &self.restart_limit)
            .field("limits", &self.limits)
            .finish()
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu: Duration::from_secs(1),
            wall: Duration::from_secs(120),
            calls: 32,
            response: 16 << 20,
            log_lines: 20,
        }
    }
}
