//! One start of a command: serialization, deadline, and handling of starts that cannot be killed.
//!
//! A program can be impossible to start and to kill at the same time: a process that waits for a
//! hanging file system may not even be killed by SIGKILL. Such a start keeps one of its provider's
//! permits until the kernel releases it, and nothing else: later starts of its command are refused
//! at once, and other commands and providers are unaffected.

use std::{
    future::Future,
    io::{self, ErrorKind},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};

use super::{
    launcher::{self, Extras, Launch, LaunchOptions, StartStep, StartedProcess},
    process::Process,
    state::{CommandError, Processes, RestartWatcher, StuckStart, Table},
};
use crate::{settings::CommandGrant, text::seconds};

/// Maximum concurrent starts of one provider, including stuck ones.
pub(super) const STARTS: usize = 8;

/// Time between the start of a program and the start of the next launcher, which takes two
/// milliseconds: the program's own start goes first.
const REFILL_DELAY: Duration = Duration::from_millis(20);

/// A requested start. It runs to its end, even if its caller gives up.
pub(super) struct Start {
    pub(super) processes: Arc<Processes>,
    pub(super) command: String,
    pub(super) extras: Extras,
    /// The ID of the process that a plugin started, if this is a restart of it.
    pub(super) restarted: Option<u64>,
}

// === impl Start ===

impl Start {
    /// Starts the process. None for a restart that is no longer wanted.
    pub(super) async fn run(self) -> Result<Option<Arc<Process>>, CommandError> {
        tokio::select! {
            biased;
            // A process that was started meanwhile is killed on drop.
            () = self.processes.closing.cancelled() => Err(shutting_down(&self.command)),
            started = self.begin() => started,
        }
    }

    async fn begin(&self) -> Result<Option<Arc<Process>>, CommandError> {
        let Self { processes, command, extras, restarted } = self;
        let grant = processes.grant(command)?;
        let _lock = match processes.start_locks.get(command) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        if !self.is_wanted(&processes.table())? {
            return Ok(None);
        }
        let permit = self.acquire_permit(grant).await?;
        let StartedProcess { child, output, .. } = self.launch(grant, permit).await?;
        let id = processes.next_id();
        let process = Process::watch(id, command, child, output, &processes.context).await;
        let process = process
            .map_err(|error| CommandError::Failed(format!("command {command:?}: {error}")))?;
        {
            let mut table = processes.table();
            // A plugin may have stopped it meanwhile. The process is killed on drop.
            let wanted = self.is_wanted(&table);
            if !matches!(wanted, Ok(true)) {
                processes.context.records.remove(&processes.context.provider, id);
                return wanted.map(|_| None);
            }
            table.processes.insert(command.clone(), process.clone());
            if restarted.is_none() {
                let started = (process.id(), command.as_str());
                match RestartWatcher::new(
                    processes,
                    started,
                    grant,
                    extras.clone(),
                    process.exit_watch(),
                ) {
                    Some(watcher) => table.restart_watchers.insert(command.clone(), watcher),
                    None => table.restart_watchers.remove(command),
                };
            }
        }
        let context = &processes.context;
        if context.log_limiter.admit("command") {
            let (provider, pid) = (&context.provider, process.pid());
            tracing::info!(%provider, command, pid, "process started");
        }
        context.changes.record(command);
        processes.refill();
        Ok(Some(process))
    }

    /// Returns whether the table allows the start. False for a restart that is no longer wanted.
    fn is_wanted(&self, table: &Table) -> Result<bool, CommandError> {
        let command = &self.command;
        if table.closed {
            return Err(shutting_down(command));
        }
        if let Some(first) = self.restarted {
            return Ok(table
                .restart_watchers
                .get(command)
                .is_some_and(|watcher| watcher.first == first));
        }
        if table.processes.get(command).is_some_and(|process| process.exit_status().is_none()) {
            let message = format!(
                "command {command:?} is already running: a command has one process at a time"
            );
            return Err(CommandError::Conflict(message));
        }
        Ok(true)
    }

    /// A permit to start. Fails if stuck starts hold all permits, or if an earlier start of this
    /// command is stuck.
    async fn acquire_permit(
        &self,
        grant: &CommandGrant,
    ) -> Result<OwnedSemaphorePermit, CommandError> {
        let start_permits = self.processes.start_permits.clone();
        let stuck = {
            let table = self.processes.table();
            if let Some(stuck) = table.stuck.get(&self.command) {
                let process = stuck
                    .pid
                    .map_or_else(String::new, |pid| format!(", process {}", pid.as_raw_nonzero()));
                let why = format!(
                    "an earlier start is stuck and cannot be killed{process}; is its filesystem \
                     reachable?"
                );
                return Err(self.failed(grant, &why));
            }
            table.stuck.len()
        };
        let no_permit = || {
            let stuck = self.processes.table().stuck.len();
            let why = format!(
                "provider {:?} already has {STARTS} starts in progress, {stuck} of them stuck; are \
                 their filesystems reachable?",
                self.processes.context.provider
            );
            self.failed(grant, &why)
        };
        if stuck >= STARTS {
            return Err(no_permit());
        }
        match timeout(self.processes.launch_options.deadline, start_permits.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(no_permit()),
        }
    }

    /// Passes the command to a launcher and waits until the program runs.
    async fn launch(
        &self,
        grant: &CommandGrant,
        permit: OwnedSemaphorePermit,
    ) -> Result<StartedProcess, CommandError> {
        let LaunchOptions { launcher, files, deadline: allowed } =
            self.processes.launch_options.clone();
        let deadline = Instant::now() + allowed;
        let launch = Arc::new(Launch::new(grant, &self.extras, files));
        let permit = match self.processes.spare.take() {
            Some(spare) => match self.hand_over(grant, &launch, spare, permit, deadline).await? {
                Ok(started) => return Ok(started),
                // The idle launcher was killed.
                Err((error, permit)) if error.kind() == ErrorKind::UnexpectedEof => permit,
                Err((error, _)) => return Err(self.failed(grant, &error)),
            },
            None => permit,
        };
        let mut begun = tokio::task::spawn_blocking({
            let launch = launch.clone();
            move || launcher.map_or_else(|| launch.start(), |launcher| launcher::start(&launcher))
        });
        let Ok(started) = timeout_at(deadline, &mut begun).await else {
            // The result is dropped, which kills it.
            self.track_stuck(None, async move { drop((begun.await, permit)) });
            return Err(self.failed(grant, &start_timed_out(allowed)));
        };
        let started = started.map_err(io::Error::other).and_then(|started| started);
        let started = started.map_err(|error| self.failed(grant, &error))?;
        let handed = self.hand_over(grant, &launch, started, permit, deadline).await?;
        handed.map_err(|(error, _)| self.failed(grant, &error))
    }

    /// Starts the command with this launcher. The inner error is the launcher's; the outer error is
    /// a timeout.
    async fn hand_over(
        &self,
        grant: &CommandGrant,
        launch: &Launch,
        mut started: StartedProcess,
        permit: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<Result<StartedProcess, (io::Error, OwnedSemaphorePermit)>, CommandError> {
        let mut step = StartStep::default();
        match timeout_at(deadline, launch.hand_over(&mut started, &mut step)).await {
            Ok(Ok(())) => return Ok(Ok(started)),
            Ok(Err(error)) => return Ok(Err((error, permit))),
            Err(_) => {}
        }
        let pid =
            started.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the number is not reused.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.track_stuck(pid, async move { drop((started.child.wait().await, permit)) });
        let allowed = self.processes.launch_options.deadline;
        let why = match step {
            StartStep::Program => start_timed_out(allowed),
            StartStep::Limits => format!(
                "its launcher did not start the program within {}; is the cgroup of its limits \
                 frozen, or its directory's filesystem unreachable?",
                seconds(allowed)
            ),
        };
        Err(self.failed(grant, &why))
    }

    /// Tracks a start that timed out until it ends.
    fn track_stuck(&self, pid: Option<Pid>, end: impl Future<Output = ()> + Send + 'static) {
        let (processes, command) = (Arc::downgrade(&self.processes), self.command.clone());
        let mut table = self.processes.table();
        let task = tokio::spawn(async move {
            end.await;
            if let Some(processes) = processes.upgrade() {
                processes.table().stuck.remove(&command);
            }
        });
        // The task needs the table lock held here, so it cannot have removed the entry yet.
        table.stuck.insert(self.command.clone(), StuckStart { pid, _task: task });
    }

    /// Names the program, which the operator granted.
    fn failed(&self, grant: &CommandGrant, why: &impl ToString) -> CommandError {
        CommandError::Failed(format!(
            "command {:?}: {} cannot be started: {}",
            self.command,
            grant.program,
            why.to_string()
        ))
    }
}

// === impl Processes ===

impl Processes {
    /// Starts a launcher for the next start, after a delay.
    pub(super) fn refill(self: &Arc<Self>) {
        let Some(program) = self.launch_options.launcher.clone() else { return };
        if self.grants.is_empty() || self.spare.filling.swap(true, Relaxed) {
            return;
        }
        let (closing, processes) = (self.closing.clone(), Arc::downgrade(self));
        let started = async move {
            tokio::time::sleep(REFILL_DELAY).await;
            let started = tokio::task::spawn_blocking(move || launcher::start(&program));
            started.await.map_err(io::Error::other).and_then(|started| started)
        };
        self.starts.spawn(async move {
            let started = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                started = started => started,
            };
            if let Some(processes) = processes.upgrade() {
                // A failure is reported when a command needs a launcher.
                processes.spare.put(started.ok());
            }
        });
    }
}

fn start_timed_out(allowed: Duration) -> String {
    let within = seconds(allowed);
    format!("the program did not start within {within}; is its filesystem reachable?")
}

fn shutting_down(command: &str) -> CommandError {
    CommandError::Conflict(format!("command {command:?}: the router is stopping"))
}

#[cfg(test)]
mod tests;
