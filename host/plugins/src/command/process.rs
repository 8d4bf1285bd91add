//! One process: its end, its signals and the tail of its output.

use std::{
    collections::VecDeque,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
    },
};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    process::Child,
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{
    House,
    records::Record,
    stat::{self, Stat},
    usage::{self, Usage},
};
use crate::scope::wall_clock;

/// Bytes of output that are kept.
const TAIL: usize = 64 << 10;
/// A thread that only waits needs little.
const STACK: usize = 128 << 10;
/// Output that is still on its way when a process has ended is waited for this long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A process of an earlier router is looked at for this long.
const LOOK: Duration = Duration::from_secs(2);

/// The status of a process whose end nobody saw who could have asked for it.
pub(super) const UNKNOWN: i32 = -1;

/// A process that was started for a provider.
pub(crate) struct Process {
    id: u64,
    command: String,
    pid: Pid,
    started_at: u64,
    group: Arc<Group>,
    status: watch::Receiver<Option<i32>>,
    tail: Arc<Tail>,
    /// Ends by itself when the process does; ends the process when it is dropped.
    keeper: JoinHandle<()>,
}

/// A process of an earlier router.
struct Found {
    pid: Pid,
    held: OwnedFd,
    paused: bool,
    output: Option<pipe::Receiver>,
}

/// Its process group, which is signalled only as long as the kernel cannot have given its number to
/// another one.
struct Group(Mutex<Signalled>);

/// What was last done to a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signalled {
    Running,
    /// SIGSTOP was sent, and no SIGCONT since.
    Paused,
    /// It may not be signalled any more.
    Ended,
}

/// The last bytes of output.
#[derive(Default)]
struct Tail(Mutex<VecDeque<u8>>);

// === impl Process ===

impl Process {
    /// Takes a started child into keeping, with the end of the pipe that it writes to.
    /// Returns when it is noted for the next router.
    pub(super) async fn watch(
        id: u64,
        command: &str,
        mut child: Child,
        output: pipe::Receiver,
        house: &Arc<House>,
    ) -> io::Result<Arc<Self>> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it ended before it began"))?;
        let group = Group::new(Signalled::Running);
        let end = {
            let group = group.clone();
            async move { reap(pid, &mut child, &group).await }
        };
        let started_at = wall_clock() / 1_000_000;
        // Not there yet, or ended at once: then there is nothing to be found again either.
        if let Ok(stat) = Stat::of(pid) {
            house.records.add(Record {
                provider: house.provider.clone(),
                command: command.to_owned(),
                id,
                pid: pid.as_raw_nonzero().get(),
                began: stat.began,
                boot: house.records.boot().to_owned(),
                started_at,
            });
        }
        let process = Self::keep((id, command, pid, started_at), group, Some(output), end, house);
        house.records.written().await;
        Ok(process)
    }

    /// Finds a process that an earlier router started and left running. None when it has ended, and
    /// when it cannot be looked at.
    pub(super) async fn adopt(record: &Record, house: &Arc<House>) -> Option<Arc<Self>> {
        let look = tokio::task::spawn_blocking({
            let record = record.clone();
            move || Found::of(&record)
        });
        let Ok(found) = tokio::time::timeout(LOOK, look).await else {
            let (provider, pid) = (&record.provider, record.pid);
            tracing::warn!(provider, pid, "a program that runs on cannot be looked at; left alone");
            return None;
        };
        let Found { pid, held, paused, output } = found.ok()??;
        let group = Group::new(if paused { Signalled::Paused } else { Signalled::Running });
        let end = {
            let group = group.clone();
            async move { gone(pid, held, group).await }
        };
        let name = (record.id, record.command.as_str(), pid, record.started_at);
        Some(Self::keep(name, group, output, end, house))
    }

    fn keep(
        (id, command, pid, started_at): (u64, &str, Pid, u64),
        group: Arc<Group>,
        output: Option<pipe::Receiver>,
        end: impl Future<Output = i32> + Send + 'static,
        house: &Arc<House>,
    ) -> Arc<Self> {
        let tail = Arc::new(Tail::default());
        let reader = output.map(|output| tokio::spawn(tail.clone().follow(output)));
        let (sender, status) = watch::channel(None);
        let command = command.to_owned();
        let keeper = {
            let (command, house) = (command.clone(), house.clone());
            tokio::spawn(async move {
                let status = end.await;
                if let Some(reader) = reader {
                    let abort = reader.abort_handle();
                    if tokio::time::timeout(LAST_WORDS, reader).await.is_err() {
                        abort.abort();
                    }
                }
                house.records.remove(&house.provider, id);
                house.records.written().await;
                if house.notes.admit("command") {
                    let pid = pid.as_raw_nonzero().get();
                    let provider = &house.provider;
                    tracing::info!(provider, command, pid, status, "process ended");
                }
                sender.send_replace(Some(status));
                house.changes.happened(&command);
            })
        };
        Arc::new(Self { id, command, pid, started_at, group, status, tail, keeper })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Milliseconds since the epoch.
    pub(crate) fn started_at(&self) -> u64 {
        self.started_at
    }

    /// Its exit status, or 128 plus the signal, once it has ended.
    pub(crate) fn ended(&self) -> Option<i32> {
        *self.status.borrow()
    }

    /// Its exit status, for whoever waits for it without keeping it.
    pub(super) fn ending(&self) -> watch::Receiver<Option<i32>> {
        self.status.clone()
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&self) -> i32 {
        let mut status = self.status.clone();
        let ended = status.wait_for(Option::is_some).await;
        ended.ok().and_then(|status| *status).unwrap_or(UNKNOWN)
    }

    /// Sends a signal to its group; nothing when it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        self.group.signal(self.pid, signal);
    }

    /// It was stopped by a signal and not continued since.
    pub(crate) fn paused(&self) -> bool {
        self.group.get() == Signalled::Paused
    }

    /// What its group uses; none when it has ended. Blocks for as long as a look at every process of
    /// the machine takes.
    pub(crate) fn usage(&self) -> io::Result<Option<Usage>> {
        if self.group.get() == Signalled::Ended {
            return Ok(None);
        }
        let used = usage::of_group(self.pid)?;
        // Only then it was our group that was looked at.
        Ok((self.group.get() != Signalled::Ended).then_some(used))
    }

    /// The last bytes it wrote.
    pub(crate) fn output(&self, limit: usize) -> Vec<u8> {
        let tail = self.tail.bytes();
        let skip = tail.len().saturating_sub(limit);
        tail.iter().skip(skip).copied().collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
            self.keeper.abort();
        }
    }
}

// === impl Found ===

impl Found {
    /// Looks at the process of a record. Blocks.
    fn of(record: &Record) -> Option<Self> {
        let pid = Pid::from_raw(record.pid)?;
        // From here on the number cannot become another's unnoticed.
        let held = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        let found = Stat::of(pid).ok().filter(|stat| stat.began == record.began)?;
        if found.state == 'Z' {
            return None;
        }
        // It keeps its own pipe open, which can be read again if it still writes there. Anything
        // else that it may have opened instead is not touched: its file system may not answer.
        let output = |number| {
            let path = format!("/proc/{}/fd/{number}", record.pid);
            let target = std::fs::read_link(&path).ok()?;
            target.to_str()?.strip_prefix("pipe:")?;
            pipe::OpenOptions::new().open_receiver(path).ok()
        };
        Some(Self {
            pid,
            held,
            paused: found.state == 'T',
            output: output(1).or_else(|| output(2)),
        })
    }
}

/// Waits for the end of a process, ends what is left of its group and takes its exit status.
async fn reap(pid: Pid, child: &mut Child, group: &Group) -> i32 {
    let status = match end(pid).await {
        Ok(()) => {
            group.close();
            // The ended process still holds the number, so nobody else's group is hit. Usually
            // nothing is left.
            let _ = kill_process_group(pid, Signal::KILL);
            child.wait().await
        }
        // No thread to wait in: it cannot be waited for without giving its number back.
        Err(_) => {
            let status = child.wait().await;
            group.close();
            status
        }
    };
    status.map_or(UNKNOWN, exit_status)
}

/// Waits for the end of a process that is not our child, and ends what is left of its group.
async fn gone(pid: Pid, held: OwnedFd, group: Arc<Group>) -> i32 {
    let end = in_thread(move || {
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&held, PollFlags::IN)], None) {}
        group.close();
        stat::end_group(pid);
    });
    if let Err(error) = end.await {
        let pid = pid.as_raw_nonzero().get();
        tracing::warn!(pid, %error, "the end of a program that runs on cannot be noticed");
        std::future::pending::<()>().await;
    }
    UNKNOWN
}

/// Waits until the process has ended and leaves it to be reaped, so that its number stays taken.
async fn end(pid: Pid) -> io::Result<()> {
    in_thread(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    })
    .await
}

/// Waits for the end of a process as only a thread can everywhere; it ends with the process.
async fn in_thread(wait: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (ended, end) = oneshot::channel();
    let thread = std::thread::Builder::new().name("drowse-process".into()).stack_size(STACK);
    thread.spawn(move || {
        wait();
        // Nobody waits any more when the router has ended first.
        let _ = ended.send(());
    })?;
    end.await.map_err(io::Error::other)
}

fn exit_status(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(UNKNOWN)
}

// === impl Group ===

impl Group {
    fn new(signalled: Signalled) -> Arc<Self> {
        Arc::new(Self(Mutex::new(signalled)))
    }

    fn signal(&self, pid: Pid, signal: Signal) {
        let mut signalled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *signalled == Signalled::Ended {
            return;
        }
        // Fails only when the group is gone, which is no news to anybody.
        let _ = kill_process_group(pid, signal);
        match signal {
            Signal::STOP => *signalled = Signalled::Paused,
            Signal::CONT => *signalled = Signalled::Running,
            _ => {}
        }
    }

    fn get(&self) -> Signalled {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the number may belong to others.
    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Signalled::Ended;
    }
}

// === impl Tail ===

impl Tail {
    async fn follow(self: Arc<Self>, mut output: pipe::Receiver) {
        let mut piece = vec![0; 8 << 10];
        while let Ok(size @ 1..) = output.read(&mut piece).await {
            let mut bytes = self.bytes();
            bytes.extend(&piece[..size]);
            let excess = bytes.len().saturating_sub(TAIL);
            bytes.drain(..excess);
        }
    }

    fn bytes(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
