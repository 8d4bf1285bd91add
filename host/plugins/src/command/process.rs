//! One process: its exit, its signals and the tail of its output.

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
    records::ProcessRecord,
    shared::ProcessContext,
    stat::{self, ProcStat},
    usage::{self, Usage},
};
use crate::time::wall_clock;

/// Bytes of output to keep.
const TAIL: usize = 64 << 10;
/// Stack size of threads that only wait, in bytes.
const THREAD_STACK: usize = 128 << 10;
/// Wait for remaining output after the exit.
const OUTPUT_DRAIN: Duration = Duration::from_millis(500);

/// Timeout of inspecting a process of an earlier router.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Exit status of a process that was not a child of this router.
pub(super) const UNKNOWN: i32 = -1;

/// A process of a provider's command.
pub(crate) struct Process {
    id: u64,
    command: String,
    pid: Pid,
    started_at: u64,
    group: Arc<Group>,
    status: watch::Receiver<Option<i32>>,
    tail: Arc<Tail>,
    /// Ends with the process; aborted when the process is dropped.
    wait_task: JoinHandle<()>,
}

/// A process that an earlier router left running.
struct OrphanProcess {
    pid: Pid,
    held: OwnedFd,
    paused: bool,
    output: Option<pipe::Receiver>,
}

/// A process group, signalled only while the kernel cannot have reused its number.
struct Group(Mutex<GroupState>);

/// State of a process group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GroupState {
    Running,
    /// SIGSTOP was sent, and no SIGCONT since.
    Paused,
    /// The group may no longer be signalled.
    Ended,
}

/// The tail of the output.
#[derive(Default)]
struct Tail(Mutex<VecDeque<u8>>);

// === impl Process ===

impl Process {
    /// Supervises a started child and the output pipe that it writes to. Returns once it is
    /// recorded for the next router.
    pub(super) async fn watch(
        id: u64,
        command: &str,
        mut child: Child,
        output: pipe::Receiver,
        context: &Arc<ProcessContext>,
    ) -> io::Result<Arc<Self>> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it exited before it started"))?;
        let group = Group::new(GroupState::Running);
        let end = {
            let group = group.clone();
            async move { reap(pid, &mut child, &group).await }
        };
        let started_at = wall_clock() / 1_000_000;
        // Fails if the process has exited already; then there is nothing to adopt later.
        if let Ok(stat) = ProcStat::of(pid) {
            context.records.add(ProcessRecord {
                provider: context.provider.clone(),
                command: command.to_owned(),
                id,
                pid: pid.as_raw_nonzero().get(),
                began: stat.began,
                boot: context.records.boot().to_owned(),
                started_at,
            });
        }
        let process =
            Self::supervise((id, command, pid, started_at), group, Some(output), end, context);
        context.records.written().await;
        Ok(process)
    }

    /// Adopts a process that an earlier router left running. None if it has exited or cannot be
    /// inspected.
    pub(super) async fn adopt(
        record: &ProcessRecord,
        context: &Arc<ProcessContext>,
    ) -> Option<Arc<Self>> {
        let inspection = tokio::task::spawn_blocking({
            let record = record.clone();
            move || OrphanProcess::of(&record)
        });
        let Ok(found) = tokio::time::timeout(ADOPT_TIMEOUT, inspection).await else {
            let (provider, pid) = (&record.provider, record.pid);
            tracing::warn!(
                provider,
                pid,
                "a process of an earlier router cannot be inspected and is left alone"
            );
            return None;
        };
        let OrphanProcess { pid, held, paused, output } = found.ok()??;
        let group = Group::new(if paused { GroupState::Paused } else { GroupState::Running });
        let end = {
            let group = group.clone();
            async move { gone(pid, held, group).await }
        };
        let name = (record.id, record.command.as_str(), pid, record.started_at);
        Some(Self::supervise(name, group, output, end, context))
    }

    fn supervise(
        (id, command, pid, started_at): (u64, &str, Pid, u64),
        group: Arc<Group>,
        output: Option<pipe::Receiver>,
        end: impl Future<Output = i32> + Send + 'static,
        context: &Arc<ProcessContext>,
    ) -> Arc<Self> {
        let tail = Arc::new(Tail::default());
        let reader = output.map(|output| tokio::spawn(tail.clone().follow(output)));
        let (sender, status) = watch::channel(None);
        let command = command.to_owned();
        let wait_task = {
            let (command, context) = (command.clone(), context.clone());
            tokio::spawn(async move {
                let status = end.await;
                if let Some(reader) = reader {
                    let abort = reader.abort_handle();
                    if tokio::time::timeout(OUTPUT_DRAIN, reader).await.is_err() {
                        abort.abort();
                    }
                }
                context.records.remove(&context.provider, id);
                context.records.written().await;
                if context.log_limiter.admit("command") {
                    let pid = pid.as_raw_nonzero().get();
                    let provider = &context.provider;
                    tracing::info!(provider, command, pid, status, "process ended");
                }
                sender.send_replace(Some(status));
                context.changes.record(&command);
            })
        };
        Arc::new(Self { id, command, pid, started_at, group, status, tail, wait_task })
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

    /// Its exit status, or 128 plus the signal number, once it has exited.
    pub(crate) fn exit_status(&self) -> Option<i32> {
        *self.status.borrow()
    }

    /// Its exit status as a channel, which does not keep the process alive.
    pub(super) fn exit_watch(&self) -> watch::Receiver<Option<i32>> {
        self.status.clone()
    }

    /// Waits for its exit.
    pub(crate) async fn wait(&self) -> i32 {
        let mut status = self.status.clone();
        let ended = status.wait_for(Option::is_some).await;
        ended.ok().and_then(|status| *status).unwrap_or(UNKNOWN)
    }

    /// Signals its group; no effect after its exit.
    pub(crate) fn signal(&self, signal: Signal) {
        self.group.signal(self.pid, signal);
    }

    /// Returns whether it was stopped by SIGSTOP and not continued since.
    pub(crate) fn paused(&self) -> bool {
        self.group.get() == GroupState::Paused
    }

    /// Resource usage of its group; none after its exit. Blocks while reading `/proc` of every
    /// process.
    pub(crate) fn usage(&self) -> io::Result<Option<Usage>> {
        if self.group.get() == GroupState::Ended {
            return Ok(None);
        }
        let used = usage::of_group(self.pid)?;
        // Checked again: otherwise the number may have been reused meanwhile.
        Ok((self.group.get() != GroupState::Ended).then_some(used))
    }

    /// The last `limit` bytes of its output.
    pub(crate) fn output(&self, limit: usize) -> Vec<u8> {
        let tail = self.tail.bytes();
        let skip = tail.len().saturating_sub(limit);
        tail.iter().skip(skip).copied().collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            self.signal(Signal::KILL);
            self.wait_task.abort();
        }
    }
}

// === impl OrphanProcess ===

impl OrphanProcess {
    /// Finds the process of a record. Blocks.
    fn of(record: &ProcessRecord) -> Option<Self> {
        let pid = Pid::from_raw(record.pid)?;
        // The open pidfd reveals whether the number is reused.
        let held = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        let found = ProcStat::of(pid).ok().filter(|stat| stat.began == record.began)?;
        if found.state == 'Z' {
            return None;
        }
        // The process keeps its own output pipe open, so it can be opened again. Any other file is
        // left alone: its file system may hang.
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

/// Waits for the exit of a child, kills the rest of its group and reaps it.
async fn reap(pid: Pid, child: &mut Child, group: &Group) -> i32 {
    let status = match end(pid).await {
        Ok(()) => {
            group.close();
            // The zombie still holds the number, so no other group is hit. Usually the group is
            // empty.
            let _ = kill_process_group(pid, Signal::KILL);
            child.wait().await
        }
        // Without a waiting thread the child can only be reaped at once.
        Err(_) => {
            let status = child.wait().await;
            group.close();
            status
        }
    };
    status.map_or(UNKNOWN, status_code)
}

/// Waits for the exit of a process that is not our child, and kills the rest of its group.
async fn gone(pid: Pid, held: OwnedFd, group: Arc<Group>) -> i32 {
    let end = in_thread(move || {
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&held, PollFlags::IN)], None) {}
        group.close();
        stat::end_group(pid);
    });
    if let Err(error) = end.await {
        let pid = pid.as_raw_nonzero().get();
        tracing::warn!(pid, %error, "the exit of a process of an earlier router cannot be detected");
        std::future::pending::<()>().await;
    }
    UNKNOWN
}

/// Waits for the exit of a child without reaping it, so that its number stays reserved.
async fn end(pid: Pid) -> io::Result<()> {
    in_thread(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    })
    .await
}

/// Runs a blocking wait on a new thread, which works on all systems.
async fn in_thread(wait: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (ended, end) = oneshot::channel();
    let thread = std::thread::Builder::new().name("drowse-process".into()).stack_size(THREAD_STACK);
    thread.spawn(move || {
        wait();
        // The receiver is gone if the router has stopped.
        let _ = ended.send(());
    })?;
    end.await.map_err(io::Error::other)
}

fn status_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(UNKNOWN)
}

// === impl Group ===

impl Group {
    fn new(signalled: GroupState) -> Arc<Self> {
        Arc::new(Self(Mutex::new(signalled)))
    }

    fn signal(&self, pid: Pid, signal: Signal) {
        let mut signalled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *signalled == GroupState::Ended {
            return;
        }
        // Fails only if the group is gone.
        let _ = kill_process_group(pid, signal);
        match signal {
            Signal::STOP => *signalled = GroupState::Paused,
            Signal::CONT => *signalled = GroupState::Running,
            _ => {}
        }
    }

    fn get(&self) -> GroupState {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the number as possibly reused.
    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = GroupState::Ended;
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
