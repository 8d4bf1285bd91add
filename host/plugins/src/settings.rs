//! Settings of a provider: its plugin, grants and limits.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use drowse_core::{ProviderName, StopOptions};
use serde::{Deserialize, Serialize};

use crate::{address_policy::rule::AddressRule, machine};

/// Settings of one configured provider.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderSettings {
    /// The configured name.
    pub name: ProviderName,
    /// A plugin's name (`docker`: a file `docker.wasm` in the plugins directory, else the bundled
    /// one) or a path to a file.
    pub plugin: String,
    /// Passed to the plugin's `configure`: a JSON object.
    pub settings: serde_json::Value,
    /// Granted endpoints, by the name that the plugin uses.
    pub endpoints: BTreeMap<String, EndpointGrant>,
    /// Granted commands, by the name that the plugin uses.
    pub commands: BTreeMap<String, CommandGrant>,
    /// Granted networks, by the name that the plugin uses.
    pub networks: BTreeMap<String, NetworkGrant>,
    /// Allowed target addresses. By default this machine, private networks, and host names in the
    /// provider's settings.
    pub reach: Option<Vec<AddressRule>>,
    /// Resource limits.
    pub limits: Limits,
}

/// An endpoint that a provider may call.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointGrant {
    /// Transport and address.
    pub transport: Transport,
    /// Prefix of every request path, without a trailing slash; usually empty.
    pub base: String,
    /// Headers the host adds to every request.
    pub headers: Vec<(String, Secret)>,
    /// Allowed requests, as `METHOD /path?query`; by default those that the plugin requires.
    pub rules: Option<Vec<String>>,
    /// The token server for bearer tokens that the endpoint asks for. Only the router calls it, so
    /// it has neither rules nor a token server of its own.
    pub token: Option<Box<EndpointGrant>>,
    /// Timeout of the response head, and upper limit of timeouts that the plugin sets.
    pub timeout: Duration,
}

/// Transport and address of an endpoint.
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
        /// Verification of the server's certificate.
        trust: Trust,
        /// Client certificate, if the server asks for one.
        identity: Option<Identity>,
    },
    /// `udp://host:port`; datagrams only.
    Udp {
        /// Host name or address, also a broadcast address.
        host: String,
        /// UDP port.
        port: u16,
    },
}

/// Verification of a TLS server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's certificate authorities.
    System,
    /// Only the certificate authorities in this PEM file.
    Ca(PathBuf),
    /// Only certificates with these SHA-256 digests; their names and dates are not checked.
    Fingerprints(Vec<[u8; 32]>),
}

/// A client certificate with its key. The files are read on the endpoint's first use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM: the certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// PEM: its private key, unencrypted.
    pub key: PathBuf,
}

/// A secret value, read on use and masked in debug output.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written in the configuration.
    Literal(String),
    /// The environment variable of this name, with a prefix.
    Env {
        /// Prefix of the value, for instance `Bearer `.
        prefix: String,
        /// Name of the variable.
        name: String,
    },
    /// The trimmed content of this file, with a prefix.
    File {
        /// Prefix of the value.
        prefix: String,
        /// The file; read again every 5 s while in use, so that a rotated secret is picked up.
        path: PathBuf,
    },
}

/// A program that a provider may run.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandGrant {
    /// Absolute path, or a name looked up in the router's `PATH`.
    pub program: String,
    /// Arguments that are always passed.
    pub arguments: Vec<String>,
    /// The environment; nothing else is inherited except `PATH`.
    pub environment: BTreeMap<String, String>,
    /// Working directory; by default the router's.
    pub directory: Option<PathBuf>,
    /// True if the plugin may append arguments.
    pub extra_arguments: bool,
    /// Environment variables that the plugin may set.
    pub extra_environment: Vec<String>,
    /// How it is stopped when the router stops: signal name and grace period, five minutes at most.
    pub end: StopOptions,
    /// Whether it is restarted when it exits by itself.
    pub restart: Restart,
    /// Maximum consecutive restarts; running for a minute resets the count.
    pub restart_limit: usize,
    /// Resource limits.
    pub limits: CommandLimits,
}

/// When a program that exited by itself is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never; the next wake starts it.
    #[default]
    Never,
    /// If its exit status is unknown or not 0, or a signal killed it.
    OnFailure,
    /// After every exit.
    Always,
}

/// Resource limits of a program, enforced by the kernel: further use is refused, or the program is
/// killed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLimits {
    /// Bytes of data per process: `RLIMIT_DATA`.
    pub memory: Option<u64>,
    /// Total CPU time per process, in whole seconds: `RLIMIT_CPU`.
    pub cpu: Option<Duration>,
    /// Open files per process: `RLIMIT_NOFILE`.
    pub files: Option<u64>,
    /// Processes of the router's user in total: `RLIMIT_NPROC`. Not enforced for root.
    pub processes: Option<u64>,
    /// Directory of a cgroup that it is moved into, whose limits apply to all of its processes
    /// together.
    pub cgroup: Option<PathBuf>,
}

/// A network that a provider may attach containers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkGrant {
    /// The CNI configuration: a `.conflist`, or a `.conf` with one plugin.
    pub config: PathBuf,
    /// Directories of CNI plugins; the first that contains a plugin is used.
    pub plugins: Vec<PathBuf>,
    /// Directory of the cached results of ADD, until DEL.
    pub results: PathBuf,
    /// Timeout of one CNI plugin run.
    pub timeout: Duration,
}

/// Resource limits of one provider. Exceeding one ends the call and affects no other provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memories and tables of one instance.
    pub memory: u64,
    /// CPU time of one instance. A tenth of its waiting time is refunded. All calls together may
    /// use ten times as much at once, and a tenth of the elapsed time.
    pub cpu: Duration,
    /// Wall time of one call, plus the time that the call itself asks for (the grace period of a
    /// stop).
    pub wall: Duration,
    /// Maximum calls in flight; further ones wait.
    pub calls: usize,
    /// Maximum bytes of an HTTP response body, or of the messages of a gRPC call, per call of the
    /// plugin. `watch`, which reads endlessly, may read as many per second and is delayed above
    /// that.
    pub response: u64,
    /// Maximum log lines a second.
    pub log_lines: u32,
}

/// Resource limits of all plugins together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    /// Bytes of memory of all calls of all providers. Half of it is divided evenly among the
    /// providers, the other half is first come, first served.
    pub memory: u64,
    /// Limits of one compilation.
    pub compile: CompileLimits,
}

/// Resource limits of one compilation, which is killed when it exceeds them.
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
        // A call takes 1 to 2 MB, or about 40 MB in JavaScript or Python.
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

/// Masks the values of environment variables.
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
