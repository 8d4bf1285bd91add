//! The journal of operations on workloads, with their triggers and outcomes.

mod rfc3339;

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{
    names::{Generation, ProviderName, WorkloadName},
    provider::Failure,
};

/// Records one entry for every operation when it has ended.
///
/// Best effort: recording must not block, and a failure to record must not affect the operation.
pub trait Journal: Send + Sync + 'static {
    /// Records an entry.
    fn record(&self, entry: Entry);

    /// The latest entries, newest first, at most `limit`; of one workload if one is given.
    fn recent(&self, workload: Option<&str>, limit: usize) -> Vec<Entry>;
}

/// A journal in memory that keeps the latest entries until the router ends.
#[derive(Debug)]
pub struct MemoryJournal {
    entries: Mutex<VecDeque<Entry>>,
    capacity: usize,
}

/// One ended operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Shared by a wake or sleep, its provider calls, and the operations on its dependencies.
    pub correlation: Correlation,
    /// The workload.
    pub workload: WorkloadName,
    /// Generation of the workload.
    pub generation: Generation,
    /// The provider.
    pub provider: ProviderName,
    /// The kind of operation.
    pub kind: OperationKind,
    /// The request that led to it.
    pub trigger: Trigger,
    /// The request, dependent or schedule in particular, in one line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reference: Option<String>,
    /// The platform's identity of the instance that was last entered before the operation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub native_before: Option<String>,
    /// The platform's identity of the target after the operation, when it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub native_after: Option<String>,
    /// The image of the target, when the provider reports it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure: Option<Failure>,
    /// When it began.
    #[serde(with = "rfc3339")]
    pub began: SystemTime,
    /// When it ended.
    #[serde(with = "rfc3339")]
    pub ended: SystemTime,
}

/// The kind of an entry: an operation, or a provider call within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OperationKind {
    /// A wake, from the request until ready.
    Wake,
    /// The adoption of a target that was found running, until ready.
    Adopt,
    /// A sleep, until the target sleeps.
    Sleep,
    /// A restart or recreation by an operator.
    Restart,
    /// The provider call `start`.
    Start,
    /// The provider call `stop`.
    Stop,
    /// The provider call `pause`.
    Pause,
    /// The provider call `kill`.
    Kill,
    /// The provider call `recreate`.
    Recreate,
    /// The provider call `fetch`.
    Fetch,
}

/// The origin of a request for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Trigger {
    /// A visitor.
    Request,
    /// The idle time was over.
    Idle,
    /// An operator or program, by the API.
    Api,
    /// An operator, by the command line.
    Cli,
    /// A window or an alarm.
    Schedule,
    /// A dependent workload.
    Dependency,
    /// A shortfall in the pool.
    Pool,
    /// An observation of the provider.
    Reconciler,
}

/// The trigger of an operation with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The trigger.
    pub trigger: Trigger,
    /// The request, dependent or schedule in particular, in one line.
    pub reference: Option<String>,
    /// Joins the operation with others; a new correlation when absent.
    pub correlation: Option<Correlation>,
}

/// Joins the entries of related operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Correlation(u64);

// === impl Cause ===

impl Cause {
    /// A cause without a reference.
    pub fn new(trigger: Trigger) -> Self {
        Self { trigger, reference: None, correlation: None }
    }

    /// Adds the request, dependent or schedule in particular.
    #[must_use]
    pub fn with_reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// Joins the operation with others.
    #[must_use]
    pub fn with_correlation(mut self, correlation: Correlation) -> Self {
        self.correlation = Some(correlation);
        self
    }
}

// === impl Trigger ===

impl Trigger {
    /// Returns whether it is an operator, whose wakes ignore a cool-down.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::Api | Self::Cli)
    }

    /// Name in messages, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Idle => "idle",
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Schedule => "schedule",
            Self::Dependency => "dependency",
            Self::Pool => "pool",
            Self::Reconciler => "reconciler",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl OperationKind ===

impl OperationKind {
    /// Returns whether it is an operation, and not a provider call within one.
    pub fn is_operation(self) -> bool {
        matches!(self, Self::Wake | Self::Adopt | Self::Sleep | Self::Restart)
    }

    /// Name in messages, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Adopt => "adopt",
            Self::Sleep => "sleep",
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Kill => "kill",
            Self::Recreate => "recreate",
            Self::Fetch => "fetch",
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Correlation ===

impl Correlation {
    /// A random correlation.
    pub fn random() -> Self {
        // Every RandomState has random keys, so its hash of a constant is a random number.
        Self(RandomState::new().hash_one(()))
    }
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Correlation> for String {
    fn from(correlation: Correlation) -> Self {
        correlation.to_string()
    }
}

impl TryFrom<String> for Correlation {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u64::from_str_radix(&text, 16).map(Self)
    }
}

// === impl MemoryJournal ===

impl MemoryJournal {
    /// Keeps the latest `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Mutex::new(VecDeque::new()), capacity }
    }
}

impl Journal for MemoryJournal {
    fn record(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back(entry);
        let surplus = entries.len().saturating_sub(self.capacity);
        entries.drain(..surplus);
    }

    fn recent(&self, workload: Option<&str>, limit: usize) -> Vec<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |entry: &&Entry| workload.is_none_or(|name| entry.workload.as_str() == name);
        entries.iter().rev().filter(wanted).take(limit).cloned().collect()
    }
}

#[cfg(all(test, not(drowse_loom)))]
mod tests;
