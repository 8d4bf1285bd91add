//! The trait between the engine and its providers, in the terms of the WIT contract. Running a
//! plugin as WASM or dylib is up to the crate that implements [`Provider`].

use std::{borrow::Cow, collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{names::ProviderName, need::Service};

/// One configured provider.
///
/// Implementations bound the wall time of each call. Dropping a call's future cancels it; the
/// platform may still complete the request. Every call is safe to repeat.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The configured name, for instance `docker`.
    fn name(&self) -> &ProviderName;

    /// Starts the target; succeeds when it runs already. Does not wait until it is healthy.
    async fn start(&self, target: &Target) -> Result<Observation, Failure>;

    /// Stops the target and returns when it has stopped.
    async fn stop(&self, target: &Target, options: &StopOptions) -> Result<Observation, Failure>;

    /// Suspends the target in memory.
    async fn pause(&self, target: &Target) -> Result<Observation, Failure>;

    /// Continues a paused target.
    async fn resume(&self, target: &Target) -> Result<Observation, Failure>;

    /// Ends the target without a grace time.
    async fn kill(&self, target: &Target, signal: Option<&str>) -> Result<Observation, Failure>;

    /// Observes the target; one that does not exist is [`Status::Missing`], not an error.
    async fn status(&self, target: &Target) -> Result<Observation, Failure>;

    /// Lists a page of everything on the platform that could be a target. The second value is the
    /// cursor of the next page.
    async fn list(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<Observation>, Option<String>), Failure>;

    /// The last `lines` lines that the target wrote, oldest first.
    async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure>;

    /// Recreates the target from its own configuration, under its handle. It runs afterwards if it ran
    /// before. `unsupported` unless the provider has the ability.
    async fn recreate(
        &self,
        target: &Target,
        options: &RecreateOptions,
    ) -> Result<Observation, Failure> {
        let _ = options;
        Err(self.cannot("recreate", target))
    }

    /// Fetches the image or template that [`recreate`](Self::recreate) with `refresh` would fetch, and
    /// leaves the target unchanged. `unsupported` unless the provider has the ability.
    async fn fetch(&self, target: &Target) -> Result<(), Failure> {
        Err(self.cannot("fetch what is newer for", target))
    }

    /// Removes the target; succeeds when it does not exist. `unsupported` unless the provider has the
    /// ability.
    async fn remove(&self, target: &Target, options: &RemoveOptions) -> Result<(), Failure> {
        let _ = options;
        Err(self.cannot("remove", target))
    }

    /// Runs a command inside the target until it ends. `unsupported` unless the provider has the
    /// ability.
    async fn exec(&self, target: &Target, command: &[String]) -> Result<Exit, Failure> {
        let _ = command;
        Err(self.cannot("run commands in", target))
    }

    /// Measures the target's current usage. `unsupported` unless the provider has the ability.
    async fn usage(&self, target: &Target) -> Result<Usage, Failure> {
        Err(self.cannot("tell the usage of", target))
    }

    /// The last progress report of a call in flight for this target; none when there is no such call
    /// or it has reported nothing. Returns at once.
    fn progress(&self, target: &Target) -> Option<String> {
        let _ = target;
        None
    }

    /// The service that an observed target is in its group, with the services that it needs; none for
    /// a target outside of a group. Returns at once.
    fn service(&self, seen: &Observation) -> Option<Service> {
        let _ = seen;
        None
    }

    /// Checks a connection that is about to be made for the target, to `address`. `host` is the host
    /// that was reported for the target: this address, or the name that resolved to it. The error
    /// tells why the connection is refused and what to do. The default permits every connection.
    async fn check_dial(
        &self,
        target: &Target,
        host: &str,
        address: SocketAddr,
    ) -> Result<(), String> {
        let _ = (target, host, address);
        Ok(())
    }

    /// Begins to report changes. The provider restarts its watch when it breaks, sends
    /// [`ProviderEvent::Synced`] after each gap, waits while the receiver is behind and stops when
    /// the receiver is dropped. A provider without the ability never sends an event.
    fn watch(&self) -> mpsc::Receiver<ProviderEvent>;

    /// The provider's own state, for operators.
    fn state(&self) -> ProviderState;

    /// Maximum calls in flight; more wait for their turn.
    fn calls(&self) -> usize {
        usize::MAX
    }

    /// Why calls that need this ability would fail for this target, as far as known without a call:
    /// the plugin lacks the ability or a grant. None when they may be made.
    fn refusal(&self, ability: Ability, target: &Target) -> Option<Failure> {
        let can = self.state().abilities.contains(&ability);
        (!can).then(|| self.cannot(ability.as_str(), target))
    }

    /// The failure of a call that this provider does not support.
    fn cannot(&self, what: &str, target: &Target) -> Failure {
        let (name, handle) = (self.name(), &target.handle);
        let message = format!("provider {name:?} cannot {what} {handle}");
        Failure::new(ErrorCode::Unsupported, message)
    }
}

/// An event of [`Provider::watch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "nearly every event carries an observation")]
pub enum ProviderEvent {
    /// Every change from here on is reported; earlier ones may have been missed.
    Synced,
    /// A target changed. The event may be late, so it only leads to a status query.
    Changed(Observation),
}

/// The state of a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProviderState {
    /// The plugin's name and version, `docker 0.1.0`, when it is loaded.
    pub plugin: Option<String>,
    /// Origin of the plugin: `bundled`, or a path.
    pub origin: Option<String>,
    /// Calls may be made, and the last one reached the platform.
    pub usable: bool,
    /// The current or last error, in one paragraph with what to do.
    pub cause: Option<String>,
    /// Its abilities besides start, stop and status.
    pub abilities: Vec<Ability>,
    /// Plugin instances that trapped, hung or exceeded a limit since the router started.
    pub faults: u64,
}

/// An optional ability of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ability {
    /// `stop` honours a signal.
    StopSignal,
    /// `pause` and `resume`.
    Pause,
    /// `kill`.
    Kill,
    /// `list`.
    List,
    /// `watch`.
    Watch,
    /// `recreate`.
    Recreate,
    /// `fetch`.
    Fetch,
    /// `remove`.
    Remove,
    /// `logs`.
    Logs,
    /// `exec`.
    Exec,
    /// `usage`.
    Usage,
}

/// The provider's handle for a workload, with the workload's settings for this provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Container name, `node/vmid`, command name.
    pub handle: String,
    /// A JSON object.
    pub settings: String,
}

/// How to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopOptions {
    /// The platform's default when absent.
    pub signal: Option<String>,
    /// The time the target has to stop by itself before it is killed.
    pub grace: Duration,
}

/// How to recreate a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecreateOptions {
    /// Fetch the image or template again first.
    pub refresh: bool,
    /// How a running target is stopped.
    pub stop: StopOptions,
}

/// Attribute of an [`Observation`] that changes with every start of the target.
pub const STARTED_AT: &str = "started-at";

/// Maximum time to fetch an image.
pub const FETCH: Duration = Duration::from_secs(30 * 60);

// === impl RecreateOptions ===

impl RecreateOptions {
    /// Time that the call may take on top of the limit of other calls.
    pub fn extra(&self) -> Duration {
        let fetch = if self.refresh { FETCH } else { Duration::ZERO };
        self.stop.grace.saturating_add(fetch)
    }
}

/// How to remove a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Keep data that belongs to this target only.
    pub preserve_data: bool,
}

/// The status of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Runs.
    Running,
    /// On its way to running.
    Starting,
    /// In memory, not running.
    Paused,
    /// On its way to stopped.
    Stopping,
    /// Exists and does not run.
    Stopped,
    /// Exists and cannot run in its current state.
    Failed,
    /// Does not exist.
    Missing,
    /// A value that this version does not know.
    Other(String),
}

/// The result of the platform's own health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is no health check.
    #[default]
    None,
    /// Not yet known.
    Starting,
    /// Passes.
    Healthy,
    /// Fails.
    Unhealthy,
    /// A value that this version does not know.
    Other(String),
}

/// An address of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// An IP address or a name.
    pub host: String,
    /// Port to connect to; absent when every port of the target is reachable at `host`.
    pub port: Option<u16>,
    /// The target's own port behind `port`, when ports are mapped; 0 when `port` serves whichever
    /// port is configured.
    pub target_port: Option<u16>,
}

/// The state of a target at one moment, as reported by its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The handle under which the target is addressed.
    pub handle: String,
    /// Status in the contract's terms.
    pub status: Status,
    /// Status in the platform's own terms.
    pub native_status: String,
    /// The platform's identity of this incarnation.
    pub native_id: Option<String>,
    /// Result of the platform's health check.
    pub health: Health,
    /// Addresses, best first.
    pub addresses: Vec<Address>,
    /// Labels or tags of the target.
    pub labels: BTreeMap<String, String>,
    /// One sentence for people.
    pub detail: Option<String>,
    /// `exit-status`, [`STARTED_AT`] and others.
    pub attributes: BTreeMap<String, String>,
}

/// How a command inside a target ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// 0 is success.
    pub status: i32,
    /// The last lines it wrote, oldest first.
    pub output: Vec<String>,
}

/// The current usage of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU usage in percent of one core; over 100 with several cores.
    pub cpu_percent: Option<f64>,
    /// Memory in bytes that would be free without it.
    pub memory: Option<u64>,
}

/// A failed operation: a stable code, and a message with what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Stable code, for programs.
    pub code: ErrorCode,
    /// Message, for people.
    pub message: String,
    /// More specific cause, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// A cause of a failure that is more specific than its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The target ended before it was ready.
    Exited,
    /// The job ended with an exit status other than 0.
    JobFailed,
    /// The pool is full.
    PoolFull,
    /// A dependency could not be woken.
    NeedFailed,
    /// The target was removed, and no other one of its name has appeared.
    Removed,
    /// The router is ending.
    RouterEnding,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A stable error code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The call or the settings are invalid.
    InvalidRequest,
    /// The target does not exist.
    NotFound,
    /// Another operation on the target is in progress.
    Conflict,
    /// The platform cannot be reached.
    Unavailable,
    /// The answer did not arrive in time.
    Timeout,
    /// The provider does not support the call.
    Unsupported,
    /// A defect in the provider or the router.
    Internal,
    /// A grant or permission is missing.
    Denied,
    /// A code that this version does not know.
    Other(String),
}

// === impl Ability ===

impl Ability {
    /// Name in logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StopSignal => "stop-signal",
            Self::Pause => "pause",
            Self::Kill => "kill",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Recreate => "recreate",
            Self::Fetch => "fetch",
            Self::Remove => "remove",
            Self::Logs => "logs",
            Self::Exec => "exec",
            Self::Usage => "usage",
        }
    }
}

// === impl Address ===

impl Address {
    /// Host and port to connect to for the target's own `port`; none if this address does not lead
    /// there.
    pub fn socket(&self, port: u16) -> Option<(&str, u16)> {
        match (self.port, self.target_port) {
            (None, _) => Some((&self.host, port)),
            (Some(outer), Some(0)) => Some((&self.host, outer)),
            (Some(outer), Some(inner)) if inner == port => Some((&self.host, outer)),
            (Some(outer), None) if outer == port => Some((&self.host, outer)),
            _ => None,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// A failure with this code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reason: None }
    }

    /// Adds a more specific cause.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}

// === impl Reason ===

impl Reason {
    /// Name in logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::JobFailed => "job_failed",
            Self::PoolFull => "pool_full",
            Self::NeedFailed => "need_failed",
            Self::Removed => "removed",
            Self::RouterEnding => "router_ending",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl ErrorCode ===

impl ErrorCode {
    /// Name in logs and the API.
    pub fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
            Self::Denied => "denied",
            Self::Other(code) => code,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str())
    }
}
