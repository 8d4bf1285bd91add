//! The processes of one provider.
//!
//! Processes belong to the provider's configuration: they survive calls and plugin reloads and are
//! stopped when the router stops. Processes that a killed router left running are adopted by the
//! next one. Each granted command has at most one process at a time, in its own process group. When
//! the first process of a group exits, the rest of the group is killed, so that none of it keeps a
//! port open.

pub(crate) mod launcher;
mod limits;
mod process;
pub(crate) mod records;
mod restart;
mod shared;
mod signals;
mod spare;
mod start;
mod stat;
mod state;
mod usage;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::sync::{self, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    launcher::{Extras, LaunchOptions},
    records::ProcessRecords,
    shared::{Changes, ProcessContext},
    spare::SpareLauncher,
    start::{STARTS, Start},
    state::Table,
};
pub(crate) use self::{
    process::Process,
    signals::signal,
    state::{CommandError, Processes},
};
use crate::{
    grants::{toml_key, toml_string},
    log_limiter::LogLimiter,
    settings::CommandGrant,
    text::sanitize,
    time::wall_clock,
};

/// Maximum grace period of a process when the router stops.
const LAST_GRACE: Duration = Duration::from_secs(300);
/// Wait for the exit of a process after SIGKILL, which works unless the kernel blocks it.
const KILL_TIME: Duration = Duration::from_secs(3);
/// The same in [`Processes::kill`], when the router must stop quickly.
const KILL_MOMENT: Duration = Duration::from_millis(500);
// === impl Processes ===

impl Processes {
    /// Processes of a provider. Those in the records are not adopted before [`Processes::recover`].
    pub(crate) fn new(
        provider: &str,
        grants: BTreeMap<String, CommandGrant>,
        launch_options: LaunchOptions,
        log_limiter: Arc<LogLimiter>,
        records: Arc<ProcessRecords>,
    ) -> Arc<Self> {
        let changes =
            Changes { by_command: Mutex::new(BTreeMap::new()), count: watch::Sender::new(0) };
        let context =
            ProcessContext { provider: provider.to_owned(), changes, log_limiter, records };
        Arc::new(Self {
            start_locks: grants
                .keys()
                .map(|command| (command.clone(), sync::Mutex::default()))
                .collect(),
            start_permits: Arc::new(Semaphore::new(STARTS)),
            starts: TaskTracker::new(),
            closing: CancellationToken::new(),
            spare: SpareLauncher::default(),
            grants,
            launch_options,
            // IDs of an earlier router are not reused.
            last_id: AtomicU64::new(wall_clock() / 1_000_000),
            table: Mutex::new(Table::default()),
            context: Arc::new(context),
        })
    }

    /// Adopts processes that an earlier router left running, and stops those that are no longer
    /// granted. Must be called once, within a tokio runtime.
    pub(crate) async fn recover(self: &Arc<Self>) {
        let ProcessContext { provider, records, .. } = &*self.context;
        for record in records.of(provider) {
            let (command, pid) = (record.command.as_str(), record.pid);
            let Some(process) = Process::adopt(&record, &self.context).await else {
                records.remove(provider, record.id);
                continue;
            };
            let adopted = match self.table().processes.entry(record.command.clone()) {
                Entry::Vacant(entry) if self.grants.contains_key(command) => {
                    entry.insert(process.clone());
                    true
                }
                _ => false,
            };
            if adopted {
                tracing::info!(provider, command, pid, "process found running");
                self.context.changes.record(command);
            } else {
                tracing::warn!(
                    provider,
                    command,
                    pid,
                    "stopping a process of an earlier configuration: its command is no longer granted"
                );
                self.stop(&process).await;
            }
        }
        records.written().await;
        self.refill();
    }

    /// Names of all granted commands.
    pub(crate) fn granted(&self) -> Vec<String> {
        self.grants.keys().cloned().collect()
    }

    /// Starts the process of a command. Dropping the future does not cancel the start. Must be
    /// called within a tokio runtime.
    pub(crate) async fn spawn(
        self: &Arc<Self>,
        command: &str,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<Arc<Process>, CommandError> {
        let grant = self.grant(command)?;
        self.check(command, grant, arguments, environment)?;
        let extras = Extras { arguments: arguments.to_vec(), environment: environment.to_vec() };
        let started = self.start(command, extras, None).await?;
        started.ok_or_else(|| CommandError::Failed(start_interrupted(command)))
    }

    /// Restarts the process of a command, unless the process that a plugin started as `first` is no
    /// longer watched.
    async fn restart(
        self: &Arc<Self>,
        command: &str,
        first: u64,
        extras: &Extras,
    ) -> Result<Option<Arc<Process>>, CommandError> {
        self.start(command, extras.clone(), Some(first)).await
    }

    async fn start(
        self: &Arc<Self>,
        command: &str,
        extras: Extras,
        restarted: Option<u64>,
    ) -> Result<Option<Arc<Process>>, CommandError> {
        let processes = self.clone();
        let start = Start { processes, command: command.to_owned(), extras, restarted };
        let started = self.starts.spawn(start.run()).await;
        started.unwrap_or_else(|_| Err(CommandError::Failed(start_interrupted(command))))
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Relaxed) + 1
    }

    /// Sends a signal to the process of this ID; no effect if it has exited. Any signal except
    /// SIGSTOP and SIGCONT is meant to stop it, so it is not restarted afterwards.
    pub(crate) fn signal(&self, id: u64, signal: Signal) -> Result<(), CommandError> {
        let Some(process) = self.by_id(id)? else { return Ok(()) };
        if ![Signal::STOP, Signal::CONT].contains(&signal) {
            self.table().restart_watchers.remove(process.command());
        }
        process.signal(signal);
        Ok(())
    }

    /// The running process of a command, or the last one that exited.
    pub(crate) fn find(&self, command: &str) -> Result<Option<Arc<Process>>, CommandError> {
        self.grant(command)?;
        Ok(self.table().processes.get(command).cloned())
    }

    /// The process of this ID. None if it exited and the command was started again.
    pub(crate) fn by_id(&self, id: u64) -> Result<Option<Arc<Process>>, CommandError> {
        if id == 0 || id > self.last_id.load(Relaxed) {
            return Err(CommandError::NotFound(format!("process {id} does not exist")));
        }
        Ok(self.table().processes.values().find(|process| process.id() == id).cloned())
    }

    /// Waits for changes after number `since`.
    pub(crate) async fn changes(&self, since: u64) -> (u64, Vec<String>) {
        let mut count = self.context.changes.count.subscribe();
        // A number above the count is from an earlier router: start from 0.
        let since = if since > *count.borrow() { 0 } else { since };
        // `self` holds the sender, so this cannot fail.
        let now = count.wait_for(|now| *now > since).await.map_or(since, |now| *now);
        (now, self.context.changes.after(since))
    }

    /// Stops every process as its grant defines: its signal to the group, SIGKILL after the grace
    /// period. Nothing can be started afterwards.
    pub(crate) async fn shutdown(&self) {
        let running = self.close();
        join_all(running.iter().map(|process| self.stop(process))).await;
        self.starts.close();
        self.starts.wait().await;
        self.context.records.written().await;
    }

    /// Kills every process. Nothing can be started afterwards. False if one is still running after
    /// [`KILL_MOMENT`].
    pub(crate) async fn kill(&self) -> bool {
        let running = self.close();
        let ends = running.iter().map(|process| {
            process.signal(Signal::KILL);
            tokio::time::timeout(KILL_MOMENT, process.wait())
        });
        let ended = join_all(ends).await.iter().all(Result::is_ok);
        self.context.records.written().await;
        ended
    }

    /// Prevents further starts; returns the running processes.
    fn close(&self) -> Vec<Arc<Process>> {
        self.closing.cancel();
        drop(self.spare.take());
        let mut table = self.table();
        table.closed = true;
        table.restart_watchers.clear();
        let running = table.processes.values().filter(|process| process.exit_status().is_none());
        running.cloned().collect()
    }

    async fn stop(&self, process: &Process) {
        let end = self.grants.get(process.command()).map(|grant| &grant.end);
        let stop_signal = end.and_then(|end| signal(end.signal.as_deref()?));
        let grace = end.map_or(Duration::ZERO, |end| end.grace).min(LAST_GRACE);
        process.signal(stop_signal.unwrap_or(Signal::TERM));
        // A stopped process does not handle signals.
        process.signal(Signal::CONT);
        if tokio::time::timeout(grace, process.wait()).await.is_err() {
            process.signal(Signal::KILL);
            let _ = tokio::time::timeout(KILL_TIME, process.wait()).await;
        }
    }

    /// Maximum duration of [`Processes::shutdown`].
    pub(crate) fn max_shutdown_time(&self) -> Duration {
        let graces = self.grants.values().map(|grant| grant.end.grace.min(LAST_GRACE));
        graces.max().map_or(Duration::ZERO, |grace| grace + KILL_TIME)
    }

    fn grant(&self, command: &str) -> Result<&CommandGrant, CommandError> {
        self.grants.get(command).ok_or_else(|| {
            let name = sanitize(command, 128);
            CommandError::Denied(format!(
                "provider {:?}: command {name:?} is not granted: add to [provider.{}]: \
                 command.{} = {{ run = [\"/path/to/program\"] }}",
                self.context.provider,
                toml_key(&self.context.provider),
                toml_key(&name)
            ))
        })
    }

    fn check(
        &self,
        command: &str,
        grant: &CommandGrant,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<(), CommandError> {
        let table = format!(
            "[provider.{}.command.{}]",
            toml_key(&self.context.provider),
            toml_key(command)
        );
        if !arguments.is_empty() && !grant.extra_arguments {
            return Err(CommandError::Denied(format!(
                "provider {:?}: arguments for command {command:?} are not granted: \
                 add to {table}: allow-extra-arguments = true",
                self.context.provider
            )));
        }
        let foreign = |(name, _): &&(String, String)| !grant.extra_environment.contains(name);
        if let Some((name, _)) = environment.iter().find(foreign) {
            let name = sanitize(name, 128);
            return Err(CommandError::Denied(format!(
                "provider {:?}: variable {name:?} for command {command:?} is not granted: \
                 write in {table}: allow-extra-environment = [{}]",
                self.context.provider,
                grant
                    .extra_environment
                    .iter()
                    .chain([&name])
                    .map(|name| toml_string(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        }
        let texts = arguments.iter().chain(environment.iter().map(|(_, value)| value));
        if texts.into_iter().any(|text| text.contains('\0')) {
            let message =
                format!("command {command:?}: an argument or variable contains a NUL byte");
            return Err(CommandError::Invalid(message));
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_interrupted(command: &str) -> String {
    format!("command {command:?}: its start was interrupted")
}

#[cfg(test)]
mod tests;
