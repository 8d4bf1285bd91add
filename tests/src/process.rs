//! Child processes that end with their owner, and queries about processes.

use std::{
    fs,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::wait::until;

/// A child process. Dropping it stops it with SIGTERM, and SIGKILL after the grace time.
pub struct Process {
    name: String,
    child: Child,
    grace: Duration,
    second_sigterm: Option<Duration>,
}

// === impl Process ===

impl Process {
    /// Starts a process. `grace` is the time between SIGTERM and SIGKILL when it is stopped.
    pub fn spawn(name: &str, command: &mut Command, grace: Duration) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, grace, second_sigterm: None })
    }

    /// Sends a second SIGTERM if the process has not exited `delay` after the first; the grace time
    /// starts then. For programs that finish their work unless they are signalled again.
    #[must_use]
    pub fn with_second_sigterm_after(mut self, delay: Duration) -> Self {
        self.second_sigterm = Some(delay);
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The underlying child, for access to its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal. Succeeds if the process has already exited.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(pid(self.child.id())?, signal)
            .with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// Its exit status, if it has exited.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("query the status of {}", self.name))
    }

    /// Waits until it exits.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} exits", self.name);
        until(&what, limit, || self.child.try_wait().ok().flatten())
    }

    /// Sends SIGTERM, and SIGKILL after the grace time. True if SIGKILL was not necessary.
    pub fn stop(&mut self) -> Result<bool> {
        self.signal(Signal::TERM)?;
        if let Some(delay) = self.second_sigterm {
            if self.wait(delay).is_ok() {
                return Ok(true);
            }
            self.signal(Signal::TERM)?;
        }
        if self.wait(self.grace).is_ok() {
            return Ok(true);
        }
        self.kill()?;
        Ok(false)
    }

    /// Sends SIGKILL and waits for the exit.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

/// Whether a process with this id exists and is not a zombie. Its parent may not have waited for it.
pub fn exists(id: u32) -> bool {
    let is_zombie = || {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        Some(stat.rsplit_once(')')?.1.trim_start().starts_with('Z'))
    };
    pid(id).is_ok_and(|pid| test_kill_process(pid).is_ok()) && !is_zombie().unwrap_or(false)
}

/// Ids of the children of all threads of a process.
pub fn children(process: u32) -> Result<Vec<u32>> {
    let dir = format!("/proc/{process}/task");
    let threads = fs::read_dir(&dir).with_context(|| format!("read {dir}"))?;
    let threads = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // A thread may exit while its children are read.
    Ok(threads.filter_map(|thread| children_of_thread(process, thread).ok()).flatten().collect())
}

/// Ids of the children of one thread of a process. The main thread has the id of the process.
pub fn children_of_thread(process: u32, thread: u32) -> Result<Vec<u32>> {
    let file = format!("/proc/{process}/task/{thread}/children");
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    text.split_whitespace().map(|id| id.parse().context("a child without an id")).collect()
}

/// Kills a process that is not a child, by its id.
pub fn kill(id: u32) -> Result<()> {
    kill_process(pid(id)?, Signal::KILL).with_context(|| format!("kill process {id}"))
}

/// Sends a signal to a process that is not a child, by its id.
pub fn signal(id: u32, signal: Signal) -> Result<()> {
    kill_process(pid(id)?, signal).with_context(|| format!("send {signal:?} to process {id}"))
}

fn pid(id: u32) -> Result<Pid> {
    i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| anyhow!("{id} is not a process id"))
}
