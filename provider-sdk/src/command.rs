//! Programs that the operator granted by name. Program, arguments, environment and directory are
//! the operator's; a process lives on after the call that started it.

use std::{collections::BTreeMap, time::Duration};

pub use crate::bindings::drowse::provider::command::{Process, ProcessUsage, State};
use crate::{
    bindings::drowse::provider::command::SpawnOptions, error::Result, host, words::Attribute,
};

/// The most that [`Process::output`] returns.
pub const OUTPUT_LIMIT: u32 = 64 << 10;

/// A granted program. One command is one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    name: String,
    arguments: Vec<String>,
    environment: Vec<Attribute>,
}

/// Every command granted to this provider.
pub fn granted() -> Vec<String> {
    host::granted()
}

/// A command of this name is granted to this provider.
pub fn is_granted(name: &str) -> bool {
    granted().iter().any(|granted| granted == name)
}

/// Waits for processes to start or end after `since` and returns the cursor to go on from with the
/// commands concerned. Begin with 0.
pub fn changes(since: u64) -> Result<(u64, Vec<String>)> {
    host::changes(since)
}

// === impl Command ===

impl Command {
    /// The command granted under this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Appended to the granted arguments, if the grant allows it.
    #[must_use]
    pub fn arguments(mut self, arguments: &[String]) -> Self {
        self.arguments.extend_from_slice(arguments);
        self
    }

    /// Added to the granted environment, if the grant allows the names.
    #[must_use]
    pub fn environment(mut self, environment: &BTreeMap<String, String>) -> Self {
        self.environment
            .extend(environment.iter().map(|(name, value)| Attribute::new(name, value)));
        self
    }

    /// Starts it; `conflict` when it runs already.
    pub fn spawn(self) -> Result<Process> {
        let Self { name, arguments, environment } = self;
        host::spawn(&SpawnOptions { command: name, arguments, environment })
    }

    /// The running process of this command, or the last that ended; none if it never ran.
    pub fn find(&self) -> Result<Option<Process>> {
        host::find(&self.name)
    }
}

// === impl Process ===

impl Process {
    /// Sends a signal, for instance `SIGTERM`, to the process group. Success when it has ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        host::signal(self.id, signal)
    }

    /// Waits until it has ended or the time is over, and says which.
    pub fn wait(&self, time: Duration) -> Result<State> {
        host::wait(self.id, u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// The last bytes, at most `limit`, that it wrote to standard output and standard error.
    pub fn output(&self, limit: u32) -> Result<Vec<u8>> {
        host::output(self.id, limit.min(OUTPUT_LIMIT))
    }

    /// What it and its process group use; none when it has ended.
    pub fn usage(&self) -> Result<Option<ProcessUsage>> {
        host::usage(self.id)
    }

    /// It has not ended; it may be paused.
    pub fn is_running(&self) -> bool {
        !matches!(self.state, State::Exited(_))
    }
}
