//! A program that ends with its owner.

use std::{
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::wait::until;

/// A running program. Dropping it asks it to end, then ends it.
pub struct Process {
    name: String,
    child: Child,
    grace: Duration,
    hurry: Option<Duration>,
}

// === impl Process ===

impl Process {
    /// Starts it. `grace` is the time it has to end by itself when asked.
    pub fn spawn(name: &str, command: &mut Command, grace: Duration) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, grace, hurry: None })
    }

    /// Asks it a second time when it has not ended so long after the first; its grace time begins
    /// then. For programs that finish what they have begun unless they are asked again.
    #[must_use]
    pub fn hurried_after(mut self, patience: Duration) -> Self {
        self.hurry = Some(patience);
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child behind it, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal; success when the process has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(pid(self.child.id())?, signal)
            .with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("look after {}", self.name))
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        until(&what, limit, || self.child.try_wait().ok().flatten())
    }

    /// Asks it to end and ends it when it did not within its grace time. True when it ended by
    /// itself.
    pub fn stop(&mut self) -> Result<bool> {
        self.signal(Signal::TERM)?;
        if let Some(patience) = self.hurry {
            if self.wait(patience).is_ok() {
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

    /// Ends it.
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

/// Whether a process of this id exists and has not ended. Whoever adopted it may leave an ended one
/// unburied for as long as it likes.
pub fn exists(id: u32) -> bool {
    let ended = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        Some(stat.rsplit_once(')')?.1.trim_start().starts_with('Z'))
    };
    pid(id).is_ok_and(|pid| test_kill_process(pid).is_ok()) && !ended().unwrap_or(false)
}

/// Ends a process that is not a child, by its id.
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
