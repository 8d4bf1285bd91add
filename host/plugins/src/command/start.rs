//! One start of a command: its turn, its deadline, and what remains of a start that is stuck.
//!
//! A program can be impossible to start and to kill at the same time: a process that waits for a file
//! system that does not answer may not even end by SIGKILL. Such a start keeps one of its provider's
//! places until the kernel lets it go, and nothing else: later starts of its command are refused at
//! once, and other commands and providers are not concerned.

use std::{
    future::Future,
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    CommandError, Extras, Processes, Starter, Table,
    launcher::{self, Launch, Started, Step},
    process::Process,
    restart::Minder,
};
use crate::{fault::seconds, settings::CommandGrant};

/// From the start of the launcher to the start of the program; usually two milliseconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// Starts in progress at a time for one provider, stuck ones included.
pub(super) const STARTS: usize = 8;

/// A start that is wanted. It is carried out to its end, whether its caller waits or not.
pub(super) struct Start {
    pub(super) processes: Arc<Processes>,
    pub(super) command: String,
    pub(super) extras: Extras,
    /// The process that a provider started, if this is a restart of the same command.
    pub(super) restarted: Option<u64>,
}

/// A start that missed its deadline and has not ended since.
pub(super) struct Stuck {
    pid: Option<Pid>,
    /// Waits for its end.
    _task: JoinHandle<()>,
}

// === impl Start ===

impl Start {
    /// Starts the process. None if it is a restart that is not wanted any more.
    pub(super) async fn run(self) -> Result<Option<Arc<Process>>, CommandError> {
        tokio::select! {
            biased;
            // What has been started by then is killed by being dropped.
            () = self.processes.closing.cancelled() => Err(ending(&self.command)),
            started = self.begin() => started,
        }
    }

    async fn begin(&self) -> Result<Option<Arc<Process>>, CommandError> {
        let Self { processes, command, extras, restarted } = self;
        let grant = processes.grant(command)?;
        let _turn = match processes.turns.get(command) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        if !self.is_wanted(&processes.table())? {
            return Ok(None);
        }
        let place = self.place(grant).await?;
        let Started { child, output, .. } = self.launch(grant, place).await?;
        let id = processes.next_id();
        let process = Process::watch(id, command, child, output, &processes.house).await;
        let process = process
            .map_err(|error| CommandError::Failed(format!("command {command:?}: {error}")))?;
        {
            let mut table = processes.table();
            // Meanwhile a provider may have ended it. Dropped, the process is killed.
            let wanted = self.is_wanted(&table);
            if !matches!(wanted, Ok(true)) {
                processes.house.records.remove(&processes.house.provider, id);
                return wanted.map(|_| None);
            }
            table.processes.insert(command.clone(), process.clone());
            if restarted.is_none() {
                let started = (process.id(), command.as_str());
                match Minder::new(processes, started, grant, extras.clone(), process.ending()) {
                    Some(minder) => table.minders.insert(command.clone(), minder),
                    None => table.minders.remove(command),
                };
            }
        }
        let house = &processes.house;
        if house.notes.admit("command") {
            let (provider, pid) = (&house.provider, process.pid());
            tracing::info!(%provider, command, pid, "process started");
        }
        house.changes.happened(command);
        processes.refill();
        Ok(Some(process))
    }

    /// Whether the table allows the start. False for a restart that is not wanted any more.
    fn is_wanted(&self, table: &Table) -> Result<bool, CommandError> {
        let command = &self.command;
        if table.closed {
            return Err(ending(command));
        }
        if let Some(first) = self.restarted {
            return Ok(table.minders.get(command).is_some_and(|minder| minder.first == first));
        }
        if table.processes.get(command).is_some_and(|process| process.ended().is_none()) {
            let message = format!("command {command:?} runs already: one command is one process");
            return Err(CommandError::Conflict(message));
        }
        Ok(true)
    }

    /// The right to start something. Fails when stuck starts have all of them, and when an earlier
    /// start of this command is stuck.
    async fn place(&self, grant: &CommandGrant) -> Result<OwnedSemaphorePermit, CommandError> {
        let places = self.processes.places.clone();
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
        let taken = || {
            let stuck = self.processes.table().stuck.len();
            let why = format!(
                "provider {:?} has {STARTS} starts in progress already, {stuck} of them stuck; are \
                 their filesystems reachable?",
                self.processes.house.provider
            );
            self.failed(grant, &why)
        };
        if stuck >= STARTS {
            return Err(taken());
        }
        match timeout(self.processes.starter.deadline, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(taken()),
        }
    }

    /// Hands the command to a launcher and waits until that has become the program.
    async fn launch(
        &self,
        grant: &CommandGrant,
        place: OwnedSemaphorePermit,
    ) -> Result<Started, CommandError> {
        let Starter { launcher, files, deadline: patience } = self.processes.starter.clone();
        let deadline = Instant::now() + patience;
        let launch = Arc::new(Launch::new(grant, &self.extras, files));
        let place = match self.processes.spare.take() {
            Some(spare) => match self.hand_over(grant, &launch, spare, place, deadline).await? {
                Ok(started) => return Ok(started),
                // Something has ended the launcher while it waited.
                Err((error, place)) if error.kind() == ErrorKind::UnexpectedEof => place,
                Err((error, _)) => return Err(self.failed(grant, &error)),
            },
            None => place,
        };
        let mut begun = tokio::task::spawn_blocking({
            let launch = launch.clone();
            move || launcher.map_or_else(|| launch.start(), |launcher| launcher::start(&launcher))
        });
        let Ok(started) = timeout_at(deadline, &mut begun).await else {
            // The result is dropped, and so killed.
            self.stuck(None, async move { drop((begun.await, place)) });
            return Err(self.failed(grant, &hung(patience)));
        };
        let started = started.map_err(io::Error::other).and_then(|started| started);
        let started = started.map_err(|error| self.failed(grant, &error))?;
        let handed = self.hand_over(grant, &launch, started, place, deadline).await?;
        handed.map_err(|(error, _)| self.failed(grant, &error))
    }

    /// The same with this launcher. The inner error is the launcher's; the outer one says that it
    /// missed the deadline.
    async fn hand_over(
        &self,
        grant: &CommandGrant,
        launch: &Launch,
        mut started: Started,
        place: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<Result<Started, (io::Error, OwnedSemaphorePermit)>, CommandError> {
        let mut step = Step::default();
        match timeout_at(deadline, launch.hand_over(&mut started, &mut step)).await {
            Ok(Ok(())) => return Ok(Ok(started)),
            Ok(Err(error)) => return Ok(Err((error, place))),
            Err(_) => {}
        }
        let pid =
            started.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the number is its own.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.stuck(pid, async move { drop((started.child.wait().await, place)) });
        let patience = self.processes.starter.deadline;
        let why = match step {
            Step::Program => hung(patience),
            Step::Limits => format!(
                "its launcher did not get as far as the program within {}; is the cgroup of its \
                 limits frozen, or its directory's filesystem unreachable?",
                seconds(patience)
            ),
        };
        Err(self.failed(grant, &why))
    }

    /// Keeps a start that missed its deadline in the books until it ends.
    fn stuck(&self, pid: Option<Pid>, end: impl Future<Output = ()> + Send + 'static) {
        let (processes, command) = (Arc::downgrade(&self.processes), self.command.clone());
        let mut table = self.processes.table();
        let task = tokio::spawn(async move {
            end.await;
            if let Some(processes) = processes.upgrade() {
                processes.table().stuck.remove(&command);
            }
        });
        // The task needs the table that is locked here, so it cannot have removed the entry yet.
        table.stuck.insert(self.command.clone(), Stuck { pid, _task: task });
    }

    /// The program is named: the operator granted it, and it is what is wrong.
    fn failed(&self, grant: &CommandGrant, why: &impl ToString) -> CommandError {
        CommandError::Failed(format!(
            "command {:?}: {} cannot be started: {}",
            self.command,
            grant.program,
            why.to_string()
        ))
    }
}

fn hung(patience: Duration) -> String {
    let within = seconds(patience);
    format!("the program did not start within {within}; is its filesystem reachable?")
}

fn ending(command: &str) -> CommandError {
    CommandError::Conflict(format!("command {command:?}: the router is ending"))
}

#[cfg(test)]
mod tests;
