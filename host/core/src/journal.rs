//! What was done to workloads, why, and how it ended.

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

/// Takes one entry for every operation when it has ended.
///
/// Best effort: recording must not block, and what goes wrong in it must not touch the operation.
pub trait Journal: Send + Sync + 'static {
    /// Takes an entry.
    fn record(&self, entry: Entry);

    /// The latest entries, newest first, at most `limit`; of one workload if one is given.
    fn recent(&self, workload: Option<&str>, limit: usize) -> Vec<Entry>;
}

/// A journal in memory: the latest entries, for as long as the router lives.
#[derive(Debug)]
pub struct MemoryJournal {
    entries: Mutex<VecDeque<Entry>>,
    capacity: usize,
}

/// One operation, ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Joins a wake or sleep with the provider calls made for it, and with what it needed.
    pub correlation: Correlation,
    /// On which workload.
    pub workload: WorkloadName,
    /// Which of its lives.
    pub generation: Generation,
    /// By which provider.
    pub provider: ProviderName,
    /// What was done.
    pub kind: OperationKind,
    /// Who wanted it.
    pub trigger: Trigger,
    /// Which of them: a request, a dependent, a schedule.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reference: Option<String>,
    /// The platform's identity of the target as it was last entered, before the operation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub native_before: Option<String>,
    /// The platform's identity of the target afterwards, when it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub native_after: Option<String>,
    /// The image the target is made of, when the provider says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// Why it went wrong, if it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure: Option<Failure>,
    /// When it began.
    #[serde(with = "rfc3339")]
    pub began: SystemTime,
    /// When it ended.
    #[serde(with = "rfc3339")]
    pub ended: SystemTime,
}

/// What was done to a workload: a whole story, or a provider call within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OperationKind {
    /// From the first who wanted it until ready.
    Wake,
    /// It ran although nobody here had started it, until ready.
    Adopt,
    /// Until it slept.
    Sleep,
    /// An operator had it stopped or made anew, until that was done.
    Restart,
    /// The provider was asked to start it.
    Start,
    /// The provider was asked to stop it.
    Stop,
    /// The provider was asked to pause it.
    Pause,
    /// The provider was asked to kill it.
    Kill,
    /// The provider was asked to make it anew.
    Recreate,
    /// The provider was asked to fetch what it would be made anew of.
    Fetch,
}

/// Who wanted an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Trigger {
    /// A visitor.
    Request,
    /// Nobody came any more.
    Idle,
    /// An operator or program, over the API.
    Api,
    /// An operator, at the command line.
    Cli,
    /// A time that the operator set.
    Schedule,
    /// A workload that needs this one.
    Dependency,
    /// Another workload of the pool needed the place.
    Pool,
    /// What the provider reports.
    Reconciler,
}

/// Who wanted an operation, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Who.
    pub trigger: Trigger,
    /// Which of them, in one line.
    pub reference: Option<String>,
    /// The story that this is part of; a new one when absent.
    pub correlation: Option<Correlation>,
}

/// Joins the entries of one story.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Correlation(u64);

// === impl Cause ===

impl Cause {
    /// A cause without a reference.
    pub fn new(trigger: Trigger) -> Self {
        Self { trigger, reference: None, correlation: None }
    }

    /// Says which of them.
    #[must_use]
    pub fn with_reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// Makes it part of a story.
    #[must_use]
    pub fn with_correlation(mut self, correlation: Correlation) -> Self {
        self.correlation = Some(correlation);
        self
    }
}

// === impl Trigger ===

impl Trigger {
    /// An operator: a cool-down does not count.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::Api | Self::Cli)
    }

    /// The word for people, logs and the API.
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
    /// It is a whole story, not a call within one.
    pub fn is_operation(self) -> bool {
        matches!(self, Self::Wake | Self::Adopt | Self::Sleep | Self::Restart)
    }

    /// The word for people, logs and the API.
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
    /// One that no other story has, as far as chance goes.
    pub fn random() -> Self {
        // Each RandomState has keys of its own, so the hash of nothing is a random number.
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
