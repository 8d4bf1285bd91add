//! The state of a provider's processes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use rustix::process::Pid;
use tokio::{
    sync::{self, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    launcher::LaunchOptions, process::Process, shared::ProcessContext, spare::SpareLauncher,
};
use crate::settings::CommandGrant;

/// The granted commands of a provider and their processes.
pub(crate) struct Processes {
    pub(super) grants: BTreeMap<String, CommandGrant>,
    pub(super) launch_options: LaunchOptions,
    pub(super) last_id: AtomicU64,
    pub(super) table: Mutex<Table>,
    /// Per command: serializes its starts.
    pub(super) start_locks: BTreeMap<String, sync::Mutex<()>>,
    /// Permits for concurrent starts.
    pub(super) start_permits: Arc<Semaphore>,
    /// Starts in progress. Each ends by its deadline, or when the router stops.
    pub(super) starts: TaskTracker,
    pub(super) closing: CancellationToken,
    /// A prestarted launcher for the next start.
    pub(super) spare: SpareLauncher,
    pub(super) context: Arc<ProcessContext>,
}

/// Processes, restart tasks and stuck starts, per command.
#[derive(Default)]
pub(super) struct Table {
    /// Per command: the running process, or the last one that exited.
    pub(super) processes: BTreeMap<String, Arc<Process>>,
    /// Per command: the task that restarts it.
    pub(super) restart_watchers: BTreeMap<String, RestartWatcher>,
    /// Per command: a start that timed out and cannot be killed.
    pub(super) stuck: BTreeMap<String, StuckStart>,
    /// The router is stopping: no more starts.
    pub(super) closed: bool,
}

/// Waits for the exit of a command's process and restarts it. Dropping it cancels that.
pub(super) struct RestartWatcher {
    /// ID of the process that a plugin started.
    pub(super) first: u64,
    pub(super) task: JoinHandle<()>,
}

/// A start that timed out and has not ended yet.
pub(super) struct StuckStart {
    pub(super) pid: Option<Pid>,
    /// Waits for its end.
    pub(super) _task: JoinHandle<()>,
}

/// Why a process was not started, found or signalled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommandError {
    Conflict(String),
    Denied(String),
    Failed(String),
    Invalid(String),
    NotFound(String),
}

// === impl CommandError ===

impl CommandError {
    pub(super) fn message(&self) -> &str {
        let (Self::Conflict(message)
        | Self::Denied(message)
        | Self::Failed(message)
        | Self::Invalid(message)
        | Self::NotFound(message)) = self;
        message
    }
}

// === impl RestartWatcher ===

impl Drop for RestartWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
