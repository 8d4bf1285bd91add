//! The processes of one configured provider.
//!
//! They belong to its configuration: they outlive calls and replaced plugins and end with the
//! router. A router that was killed leaves them running, and the next one finds them again. One
//! granted command is one process at a time, with a process group of its own. What is left of the
//! group when its first process has ended is killed, so that nothing of it keeps a port.

mod launcher;
mod limits;
mod process;
mod records;
mod restart;
mod signals;
mod spare;
mod start;
mod stat;
mod usage;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};
use tokio::{
    net::unix::pipe,
    sync::{self, Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::launcher::launched;
pub(crate) use self::{process::Process, records::Records, signals::signal};
use self::{
    restart::Minder,
    spare::Spare,
    start::{DEADLINE, STARTS, Start, Stuck},
};
use crate::{
    fault::clean,
    grants::{toml_key, toml_string},
    notes::Notes,
    scope::wall_clock,
    settings::CommandGrant,
};

/// The most that is given to a process to end by itself when the router ends.
const LAST_GRACE: Duration = Duration::from_secs(300);
/// A killed process is waited for this long: SIGKILL works unless the kernel itself holds it.
const KILL_TIME: Duration = Duration::from_secs(3);
/// The same when the router has to hurry.
const KILL_MOMENT: Duration = Duration::from_millis(500);
/// Where programs are looked up when the router itself has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a provider may run, and what of it runs.
pub(crate) struct Processes {
    grants: BTreeMap<String, CommandGrant>,
    starter: Starter,
    last_id: AtomicU64,
    table: Mutex<Table>,
    /// By granted name: one start of a command at a time.
    turns: BTreeMap<String, sync::Mutex<()>>,
    /// Starts that may be in progress.
    places: Arc<Semaphore>,
    /// Starts in progress. Each ends by its deadline, or when the router ends.
    starts: TaskTracker,
    closing: CancellationToken,
    /// A launcher for the next start.
    spare: Spare,
    house: Arc<House>,
}

/// By what programs begin, and what they get beside their grants.
#[derive(Clone, Debug)]
pub(crate) struct Starter {
    /// What sets limits. Without one a program that has any does not begin.
    pub(crate) launcher: Option<PathBuf>,
    /// The soft limit of open files; the router's own when absent.
    pub(crate) files: Option<u64>,
    /// A program that has not started by then is given up.
    pub(crate) deadline: Duration,
}

/// What all processes of a provider share.
struct House {
    provider: String,
    changes: Changes,
    notes: Arc<Notes>,
    records: Arc<Records>,
}

#[derive(Default)]
struct Table {
    /// By granted name: the running process, or the last that ended.
    processes: BTreeMap<String, Arc<Process>>,
    /// By granted name: what is started again when it ends by itself.
    minders: BTreeMap<String, Minder>,
    /// By granted name: the start that missed its deadline and cannot be ended.
    stuck: BTreeMap<String, Stuck>,
    /// The router ends: nothing is started any more.
    closed: bool,
}

/// What a plugin adds to a command: arguments and environment.
#[derive(Clone, Default)]
struct Extras {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// Counts starts and ends, and remembers which command the last one of each concerned.
pub(crate) struct Changes {
    by_command: Mutex<BTreeMap<String, u64>>,
    count: watch::Sender<u64>,
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

// === impl Starter ===

impl Default for Starter {
    fn default() -> Self {
        Self { launcher: None, files: None, deadline: DEADLINE }
    }
}

// === impl CommandError ===

impl CommandError {
    fn message(&self) -> &str {
        let (Self::Conflict(message)
        | Self::Denied(message)
        | Self::Failed(message)
        | Self::Invalid(message)
        | Self::NotFound(message)) = self;
        message
    }
}

// === impl Processes ===

impl Processes {
    /// Nothing runs yet, but what the records say.
    pub(crate) fn new(
        provider: &str,
        grants: BTreeMap<String, CommandGrant>,
        starter: Starter,
        notes: Arc<Notes>,
        records: Arc<Records>,
    ) -> Arc<Self> {
        let changes =
            Changes { by_command: Mutex::new(BTreeMap::new()), count: watch::Sender::new(0) };
        let house = House { provider: provider.to_owned(), changes, notes, records };
        Arc::new(Self {
            turns: grants.keys().map(|command| (command.clone(), sync::Mutex::default())).collect(),
            places: Arc::new(Semaphore::new(STARTS)),
            starts: TaskTracker::new(),
            closing: CancellationToken::new(),
            spare: Spare::default(),
            grants,
            starter,
            // Numbers of an earlier router are not used again.
            last_id: AtomicU64::new(wall_clock() / 1_000_000),
            table: Mutex::new(Table::default()),
            house: Arc::new(house),
        })
    }

    /// Finds again what an earlier router has left running. What is not granted any more is ended.
    /// Must be called within the runtime, and once.
    pub(crate) async fn recover(self: &Arc<Self>) {
        let House { provider, records, .. } = &*self.house;
        for record in records.of(provider) {
            let (command, pid) = (record.command.as_str(), record.pid);
            let Some(process) = Process::adopt(&record, &self.house).await else {
                records.remove(provider, record.id);
                continue;
            };
            let taken = match self.table().processes.entry(record.command.clone()) {
                Entry::Vacant(place) if self.grants.contains_key(command) => {
                    place.insert(process.clone());
                    true
                }
                _ => false,
            };
            if taken {
                tracing::info!(provider, command, pid, "process found running");
                self.house.changes.happened(command);
            } else {
                tracing::warn!(
                    provider,
                    command,
                    pid,
                    "ending a process of an earlier configuration: the command is not granted any more"
                );
                self.end(&process).await;
            }
        }
        records.written().await;
        self.refill();
    }

    /// Every granted name.
    pub(crate) fn granted(&self) -> Vec<String> {
        self.grants.keys().cloned().collect()
    }

    /// Starts the process of a command. A caller that gives up does not end the start. Must be called
    /// within the runtime.
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
        started.ok_or_else(|| CommandError::Failed(broken_off(command)))
    }

    /// Starts the process of a command again, unless what a provider once started as `first` is not
    /// wanted any more.
    async fn again(
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
        started.unwrap_or_else(|_| Err(CommandError::Failed(broken_off(command))))
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Relaxed) + 1
    }

    /// Sends a signal to the process of this number; nothing when it has ended. Whoever is told
    /// anything but to pause and to go on is meant to end, and is not started again.
    pub(crate) fn signal(&self, id: u64, signal: Signal) -> Result<(), CommandError> {
        let Some(process) = self.by_id(id)? else { return Ok(()) };
        if ![Signal::STOP, Signal::CONT].contains(&signal) {
            self.table().minders.remove(process.command());
        }
        process.signal(signal);
        Ok(())
    }

    /// The running process of a command, or the last that ended.
    pub(crate) fn find(&self, command: &str) -> Result<Option<Arc<Process>>, CommandError> {
        self.grant(command)?;
        Ok(self.table().processes.get(command).cloned())
    }

    /// The process of this number. None when it ended and another took its place.
    pub(crate) fn by_id(&self, id: u64) -> Result<Option<Arc<Process>>, CommandError> {
        if id == 0 || id > self.last_id.load(Relaxed) {
            return Err(CommandError::NotFound(format!("there never was a process {id}")));
        }
        Ok(self.table().processes.values().find(|process| process.id() == id).cloned())
    }

    /// Waits for changes after `since`.
    pub(crate) async fn changes(&self, since: u64) -> (u64, Vec<String>) {
        let mut count = self.house.changes.count.subscribe();
        // A number that was never given comes from an earlier life: begin anew.
        let since = if since > *count.borrow() { 0 } else { since };
        // The sender lives in `self`, so this cannot fail.
        let now = count.wait_for(|now| *now > since).await.map_or(since, |now| *now);
        (now, self.house.changes.after(since))
    }

    /// Ends every process as its grant says: its signal to the group, SIGKILL after its grace.
    /// Nothing can be started afterwards.
    pub(crate) async fn shutdown(&self) {
        let running = self.close();
        join_all(running.iter().map(|process| self.end(process))).await;
        self.starts.close();
        self.starts.wait().await;
        self.house.records.written().await;
    }

    /// Kills every process. Nothing can be started afterwards. False when one has not ended a moment
    /// later.
    pub(crate) async fn kill(&self) -> bool {
        let running = self.close();
        let ends = running.iter().map(|process| {
            process.signal(Signal::KILL);
            tokio::time::timeout(KILL_MOMENT, process.wait())
        });
        let ended = join_all(ends).await.iter().all(Result::is_ok);
        self.house.records.written().await;
        ended
    }

    /// Lets nothing start any more, and returns what runs.
    fn close(&self) -> Vec<Arc<Process>> {
        self.closing.cancel();
        drop(self.spare.take());
        let mut table = self.table();
        table.closed = true;
        table.minders.clear();
        let running = table.processes.values().filter(|process| process.ended().is_none());
        running.cloned().collect()
    }

    async fn end(&self, process: &Process) {
        let end = self.grants.get(process.command()).map(|grant| &grant.end);
        let wanted = end.and_then(|end| signal(end.signal.as_deref()?));
        let grace = end.map_or(Duration::ZERO, |end| end.grace).min(LAST_GRACE);
        process.signal(wanted.unwrap_or(Signal::TERM));
        // A stopped process would not see it.
        process.signal(Signal::CONT);
        if tokio::time::timeout(grace, process.wait()).await.is_err() {
            process.signal(Signal::KILL);
            let _ = tokio::time::timeout(KILL_TIME, process.wait()).await;
        }
    }

    /// How long [`Processes::shutdown`] takes at most.
    pub(crate) fn longest_end(&self) -> Duration {
        let graces = self.grants.values().map(|grant| grant.end.grace.min(LAST_GRACE));
        graces.max().map_or(Duration::ZERO, |grace| grace + KILL_TIME)
    }

    fn grant(&self, command: &str) -> Result<&CommandGrant, CommandError> {
        self.grants.get(command).ok_or_else(|| {
            let name = clean(command, 128);
            CommandError::Denied(format!(
                "provider {:?}: command {name:?} is not granted: add to [provider.{}]: \
                 command.{} = {{ run = [\"/path/to/program\"] }}",
                self.house.provider,
                toml_key(&self.house.provider),
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
        let table =
            format!("[provider.{}.command.{}]", toml_key(&self.house.provider), toml_key(command));
        if !arguments.is_empty() && !grant.extra_arguments {
            return Err(CommandError::Denied(format!(
                "provider {:?}: arguments for command {command:?} are not granted: \
                 add to {table}: extra-arguments = true",
                self.house.provider
            )));
        }
        let foreign = |(name, _): &&(String, String)| !grant.extra_environment.contains(name);
        if let Some((name, _)) = environment.iter().find(foreign) {
            let name = clean(name, 128);
            return Err(CommandError::Denied(format!(
                "provider {:?}: variable {name:?} for command {command:?} is not granted: \
                 write in {table}: extra-environment = [{}]",
                self.house.provider,
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
                format!("command {command:?}: an argument or variable contains a zero byte");
            return Err(CommandError::Invalid(message));
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken_off(command: &str) -> String {
    format!("command {command:?}: its start broke off")
}

/// A pipe for output. Whoever writes holds the reading side as well: so nobody is ended by the
/// router's end, and the next one can read on.
fn channel() -> io::Result<(pipe::Receiver, File)> {
    let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
    let both = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", input.as_raw_fd()))
        .unwrap_or_else(|_| File::from(input));
    Ok((pipe::Receiver::from_owned_fd(output)?, both))
}

// === impl Changes ===

impl Changes {
    /// A process of this command started or ended.
    pub(crate) fn happened(&self, command: &str) {
        let mut by_command = self.by_command.lock().unwrap_or_else(PoisonError::into_inner);
        self.count.send_modify(|count| {
            *count += 1;
            by_command.insert(command.to_owned(), *count);
        });
    }

    fn after(&self, since: u64) -> Vec<String> {
        let by_command = self.by_command.lock().unwrap_or_else(PoisonError::into_inner);
        let later = by_command.iter().filter(|(_, at)| **at > since);
        later.map(|(command, _)| command.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
