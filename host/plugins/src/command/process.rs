//! One process: its end, its signals and the tail of its output.

use std::{
    collections::VecDeque,
    io,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{
    Changes,
    usage::{self, Usage},
};
use crate::{notes::Notes, scope::wall_clock};

/// Bytes of output that are kept.
const TAIL: usize = 64 << 10;
/// A thread that only waits needs little.
const STACK: usize = 128 << 10;
/// Output that is still on its way when a process has ended is waited for this long.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    /// Takes a started child into keeping.
    pub(super) fn watch(
        id: u64,
        name: (&str, &str),
        mut child: Child,
        changes: Arc<Changes>,
        notes: Arc<Notes>,
    ) -> io::Result<Arc<Self>> {
        let (provider, command) = name;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it ended before it began"))?;
        let tail = Arc::new(Tail::default());
        let readers = [
            child.stdout.take().map(|out| tokio::spawn(tail.clone().follow(out))),
            child.stderr.take().map(|out| tokio::spawn(tail.clone().follow(out))),
        ];
        let (sender, status) = watch::channel(None);
        let group = Arc::new(Group(Mutex::new(Signalled::Running)));
        let keeper = {
            let (provider, command) = (provider.to_owned(), command.to_owned());
            let group = group.clone();
            tokio::spawn(async move {
                let status = reap(pid, &mut child, &group).await;
                for reader in readers.into_iter().flatten() {
                    let abort = reader.abort_handle();
                    if tokio::time::timeout(LAST_WORDS, reader).await.is_err() {
                        abort.abort();
                    }
                }
                if notes.admit("command") {
                    let pid = pid.as_raw_nonzero().get();
                    tracing::info!(provider, command, pid, status, "process ended");
                }
                sender.send_replace(Some(status));
                changes.happened(&command);
            })
        };
        let started_at = wall_clock() / 1_000_000;
        let command = command.to_owned();
        Ok(Arc::new(Self { id, command, pid, started_at, group, status, tail, keeper }))
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

    /// Waits until it has ended.
    pub(crate) async fn wait(&self) -> i32 {
        let mut status = self.status.clone();
        let ended = status.wait_for(Option::is_some).await;
        ended.ok().and_then(|status| *status).unwrap_or(-1)
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
    status.map_or(-1, exit_status)
}

/// Waits until the process has ended and leaves it to be reaped, so that its number stays taken.
/// Only a thread can do that everywhere; it ends with the process.
async fn end(pid: Pid) -> io::Result<()> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("drowse-process".into()).stack_size(STACK).spawn(
        move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
            // Nobody waits any more when the router has ended first.
            let _ = ended.send(());
        },
    )?;
    end.await.map_err(io::Error::other)
}

fn exit_status(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

// === impl Group ===

impl Group {
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
    async fn follow(self: Arc<Self>, mut output: impl AsyncRead + Unpin) {
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
