//! What the engine asks of a provider. The WIT contract's words in Rust; how a provider is run
//! (WASM, dylib) is for the crate that implements [`Provider`].

use std::{borrow::Cow, collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::names::ProviderName;

/// One configured provider.
///
/// Every call ends: implementations bound each call's wall time. Dropping a call's future cancels
/// it; the platform may still carry out what it was asked. Every call is safe to repeat.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The configured name, for instance `docker`.
    fn name(&self) -> &ProviderName;

    /// Makes the target run; success when it runs already. Does not wait until it is healthy.
    async fn start(&self, target: &Target) -> Result<Observation, Failure>;

    /// Stops the target and returns when it has stopped.
    async fn stop(&self, target: &Target, options: &StopOptions) -> Result<Observation, Failure>;

    /// Holds the target in memory without running.
    async fn pause(&self, target: &Target) -> Result<Observation, Failure>;

    /// Continues a paused target.
    async fn resume(&self, target: &Target) -> Result<Observation, Failure>;

    /// Ends the target without asking.
    async fn kill(&self, target: &Target, signal: Option<&str>) -> Result<Observation, Failure>;

    /// What the target is now; a target that does not exist is [`Status::Missing`], not an error.
    async fn status(&self, target: &Target) -> Result<Observation, Failure>;

    /// Everything on the platform that could be a target, page by page. The second value is the
    /// cursor for the next page.
    async fn list(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<Observation>, Option<String>), Failure>;

    /// The last `lines` lines the target wrote, oldest first.
    async fn logs(&self, target: &Target, lines: u32) -> Result<Vec<String>, Failure>;

    /// Makes the target anew from what it was made of, under the same handle: it runs afterwards
    /// if it ran before. `unsupported` unless the provider has the ability.
    async fn recreate(
        &self,
        target: &Target,
        options: &RecreateOptions,
    ) -> Result<Observation, Failure> {
        let _ = options;
        Err(self.cannot("recreate", target))
    }

    /// Gets what [`recreate`](Self::recreate) with `refresh` would get, and leaves the target as it
    /// is. `unsupported` unless the provider has the ability.
    async fn fetch(&self, target: &Target) -> Result<(), Failure> {
        Err(self.cannot("fetch what is newer for", target))
    }

    /// Takes the target away; success when it does not exist. `unsupported` unless the provider has
    /// the ability.
    async fn remove(&self, target: &Target, options: &RemoveOptions) -> Result<(), Failure> {
        let _ = options;
        Err(self.cannot("remove", target))
    }

    /// Runs a command inside the target and waits for its end. `unsupported` unless the provider
    /// has the ability.
    async fn exec(&self, target: &Target, command: &[String]) -> Result<Exit, Failure> {
        let _ = command;
        Err(self.cannot("run commands in", target))
    }

    /// What the target uses at the moment. `unsupported` unless the provider has the ability.
    async fn usage(&self, target: &Target) -> Result<Usage, Failure> {
        Err(self.cannot("tell the usage of", target))
    }

    /// What a call for this target that is under way has said last; none when there is no such call or
    /// it says nothing. Told at once.
    fn progress(&self, target: &Target) -> Option<String> {
        let _ = target;
        None
    }

    /// Judges a connection that is about to be made for the target, to `address`. `host` is the host
    /// that was reported for the target: this address, or the name that led to it. The error says
    /// why the connection is refused and what to do. Unless a provider overrides it, everything is
    /// permitted.
    async fn check_dial(
        &self,
        target: &Target,
        host: &str,
        address: SocketAddr,
    ) -> Result<(), String> {
        let _ = (target, host, address);
        Ok(())
    }

    /// Begins to report changes. The provider restarts what reports them when it breaks, sends
    /// [`ProviderEvent::Synced`] after each gap, waits while the receiver is behind and stops when
    /// the receiver is dropped. A provider without the ability never sends anything.
    fn watch(&self) -> mpsc::Receiver<ProviderEvent>;

    /// How the provider itself is, for operators.
    fn state(&self) -> ProviderState;

    /// Maximum calls in flight; more wait for their turn.
    fn calls(&self) -> usize {
        usize::MAX
    }

    /// Why calls that need this ability would fail for this target, as far as that is known without
    /// a call: the plugin cannot do it, or lacks a grant. None when they may be made.
    fn refusal(&self, ability: Ability, target: &Target) -> Option<Failure> {
        let can = self.state().abilities.contains(&ability);
        (!can).then(|| self.cannot(ability.as_str(), target))
    }

    /// The failure of a call that this provider does not have.
    fn cannot(&self, what: &str, target: &Target) -> Failure {
        let (name, handle) = (self.name(), &target.handle);
        let message = format!("provider {name:?} cannot {what} {handle}");
        Failure::new(ErrorCode::Unsupported, message)
    }
}

/// What [`Provider::watch`] reports.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "nearly every event carries an observation")]
pub enum ProviderEvent {
    /// From here on every change is reported; what happened before may have been missed.
    Synced,
    /// A target changed. A hint: it may be late, so nothing is decided by it alone.
    Changed(Observation),
}

/// How a provider itself is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProviderState {
    /// The plugin's name and version, `docker 0.1.0`, when it is loaded.
    pub plugin: Option<String>,
    /// Where the plugin came from: `bundled`, or a path.
    pub origin: Option<String>,
    /// Calls may be made, and the last one reached the platform.
    pub usable: bool,
    /// What is wrong, or was wrong last, in one paragraph that says what to do.
    pub cause: Option<String>,
    /// What it can do besides start, stop and status.
    pub abilities: Vec<Ability>,
    /// Instances that trapped, hung or broke a limit since the router started.
    pub faults: u64,
}

/// What a provider may be unable to do.
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

/// How to make a target anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecreateOptions {
    /// Fetch the image or template again before.
    pub refresh: bool,
    /// How what runs is stopped.
    pub stop: StopOptions,
}

/// Fetching an image may take so long.
pub const FETCH: Duration = Duration::from_secs(30 * 60);

// === impl RecreateOptions ===

impl RecreateOptions {
    /// What it may take beyond any other call.
    pub fn extra(&self) -> Duration {
        let fetch = if self.refresh { FETCH } else { Duration::ZERO };
        self.stop.grace.saturating_add(fetch)
    }
}

/// What to take away with a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Keep data that belongs to the target alone.
    pub preserve_data: bool,
}

/// What a target is doing.
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
    /// Exists and cannot run as it is.
    Failed,
    /// Does not exist.
    Missing,
    /// A word this version does not know.
    Other(String),
}

/// The platform's own verdict on a running target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The platform does not check.
    #[default]
    None,
    /// Not yet known.
    Starting,
    /// Passes.
    Healthy,
    /// Fails.
    Unhealthy,
    /// A word this version does not know.
    Other(String),
}

/// One way to reach a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// An IP address or a name.
    pub host: String,
    /// Absent when every port of the target is reachable at `host`.
    pub port: Option<u16>,
    /// The target's own port that `port` leads to, when ports are mapped; 0 when `port` is the
    /// target's only one, whatever it is called.
    pub target_port: Option<u16>,
}

/// What a provider says of a target at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The handle under which the target is addressed.
    pub handle: String,
    /// In the common vocabulary.
    pub status: Status,
    /// The platform's own word.
    pub native_status: String,
    /// The platform's identity of this incarnation.
    pub native_id: Option<String>,
    /// The platform's verdict.
    pub health: Health,
    /// Best first.
    pub addresses: Vec<Address>,
    /// Labels or tags.
    pub labels: BTreeMap<String, String>,
    /// One sentence for people.
    pub detail: Option<String>,
    /// `exit-status`, `started-at`, …
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

/// What a target uses at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Percent of one core; over 100 when it uses more than one.
    pub cpu_percent: Option<f64>,
    /// Bytes that would be free without it.
    pub memory: Option<u64>,
}

/// Why something did not work: the stable code, and a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For decisions.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Which of several causes of the code it is, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// What the stable code of a failure does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It was started and ended before it was ready.
    Exited,
    /// It is a job, and ended with another exit status than 0.
    JobFailed,
    /// Its pool is full.
    PoolFull,
    /// A workload that it needs could not be woken.
    NeedFailed,
    /// It was removed, and no other target of its name has appeared.
    Removed,
    /// The router is ending.
    RouterEnding,
    /// A reason of a newer router.
    #[serde(other)]
    Unknown,
}

/// The stable codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The call or the settings make no sense.
    InvalidRequest,
    /// The target does not exist.
    NotFound,
    /// Somebody else is operating on the target.
    Conflict,
    /// The platform cannot be reached.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// The provider cannot do this.
    Unsupported,
    /// A defect.
    Internal,
    /// A grant or permission is missing.
    Denied,
    /// A code of a newer contract.
    Other(String),
}

// === impl Ability ===

impl Ability {
    /// The word for logs and the API.
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
    /// Where to connect for the target's own `port`, if this address leads there.
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

    /// Says which of several causes of the code it is.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}

// === impl Reason ===

impl Reason {
    /// The word for logs and the API.
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
    /// The word for logs and the API.
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
