//! Programs that the operator granted by name. The operator defines program, arguments, environment
//! and directory; a process outlives the call that started it.

use std::{collections::BTreeMap, time::Duration};

pub use crate::bindings::drowse::provider::command::{Process, ProcessUsage, State};
use crate::{
    bindings::drowse::provider::command::SpawnOptions, error::Result, host, words::Attribute,
};

/// Maximum bytes returned by [`Process::output`].
pub const OUTPUT_LIMIT: u32 = 64 << 10;

/// A granted program. A command has at most one process at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    name: String,
    arguments: Vec<String>,
    environment: Vec<Attribute>,
}

/// Names of all commands granted to this provider.
pub fn granted() -> Vec<String> {
    host::granted()
}

/// Returns whether a command of this name is granted to this provider.
pub fn is_granted(name: &str) -> bool {
    granted().iter().any(|granted| granted == name)
}

/// Waits for processes to start or end after `since`; returns the next cursor and the affected
/// commands. Begin with 0.
pub fn changes(since: u64) -> Result<(u64, Vec<String>)> {
    host::changes(since)
}

// === impl Command ===

impl Command {
    /// The command granted under this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Appends to the granted arguments, if the grant allows it.
    #[must_use]
    pub fn arguments(mut self, arguments: &[String]) -> Self {
        self.arguments.extend_from_slice(arguments);
        self
    }

    /// Adds to the granted environment, if the grant allows the names.
    #[must_use]
    pub fn environment(mut self, environment: &BTreeMap<String, String>) -> Self {
        self.environment
            .extend(environment.iter().map(|(name, value)| Attribute::new(name, value)));
        self
    }

    /// Starts a process; `conflict` if one is running.
    pub fn spawn(self) -> Result<Process> {
        let Self { name, arguments, environment } = self;
        host::spawn(&SpawnOptions { command: name, arguments, environment })
    }

    /// The running process of this command, or the last one that ended; None if it never ran.
    pub fn find(&self) -> Result<Option<Process>> {
        host::find(&self.name)
    }
}

// === impl Process ===

impl Process {
    /// Sends a signal, such as `SIGTERM`, to the process group. Succeeds if the process has ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        host::signal(self.id, signal)
    }

    /// Waits until the process has ended or the time has passed; returns its state.
    pub fn wait(&self, time: Duration) -> Result<State> {
        host::wait(self.id, u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// The last bytes, at most `limit`, of standard output and standard error.
    pub fn output(&self, limit: u32) -> Result<Vec<u8>> {
        host::output(self.id, limit.min(OUTPUT_LIMIT))
    }

    /// Usage of the process and its process group; None if it has ended.
    pub fn usage(&self) -> Result<Option<ProcessUsage>> {
        host::usage(self.id)
    }

    /// The process has not ended; it may be paused.
    pub fn is_running(&self) -> bool {
        !matches!(self.state, State::Exited(_))
    }
}
