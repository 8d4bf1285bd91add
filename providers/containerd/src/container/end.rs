//! Stopping and killing a container's task.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Observation, Result, Status, clock::Deadline, debug};

use super::Target;
use crate::{
    create, observe,
    proto::{self, Process},
    signals,
};

/// Timeout for a killed container to end.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest single `Wait` call; after it the task is queried again.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

// === impl Target ===

impl Target<'_> {
    pub(crate) fn stop(&self, signal: Option<&str>, grace: Duration) -> Result<Observation> {
        let signal = signal.map(signals::number).transpose()?;
        let attempt = self.attempt("stop");
        self.end(signal, grace, true).map_err(|error| error.context(&attempt))?;
        self.observe_stopped(&attempt)
    }

    pub(crate) fn kill(&self, signal: Option<&str>) -> Result<Observation> {
        let signal = signal.map_or(Ok(signals::KILL), signals::number)?;
        let attempt = self.attempt("kill");
        self.end(Some(signal), KILL_TIMEOUT, false).map_err(|error| error.context(&attempt))?;
        self.observe_stopped(&attempt)
    }

    /// State of the container after its end.
    fn observe_stopped(&self, attempt: &str) -> Result<Observation> {
        let seen = self.observe()?;
        match seen.status {
            Status::Running | Status::Starting | Status::Paused => {
                Err(Error::conflict(format!("{attempt}: another client has started it meanwhile")))
            }
            _ => Ok(seen),
        }
    }

    /// Sends the signal, waits, kills the rest if `force`, and deletes task and network attachment.
    pub(super) fn end(&self, signal: Option<u32>, grace: Duration, force: bool) -> Result<()> {
        let Some(container) = self.daemon.container(self.id)? else { return Ok(()) };
        let network = self.network(&container).unwrap_or_default();
        self.set_monitor(&container, true);
        let Some(task) = self.daemon.task(self.id)? else {
            if let Some(pid) = observe::last_process(&container) {
                self.detach(network, pid);
            }
            return Ok(());
        };
        let configured = || signals::number(container.labels.get(create::STOP_SIGNAL)?).ok();
        let signal = signal.or_else(configured).unwrap_or(signals::TERM);
        match task.status() {
            proto::Status::Stopped | proto::Status::Created => {}
            status => {
                self.signal(task.pid, signal)?;
                if status != proto::Status::Running && signal != signals::KILL {
                    // A paused task receives the signal only when it is resumed.
                    let resumed = self.daemon.resume_task(self.id);
                    if resumed.is_err() && !self.is_ended(task.pid)? {
                        self.expect_status(resumed, proto::Status::Running)?;
                    }
                }
                if !self.wait_ended(task.pid, grace)? && !force {
                    return Err(Error::timeout("still running after the signal"));
                }
            }
        }
        match self.task_of(task.pid)? {
            Some(task) => self.discard(&task, network),
            None => {
                self.detach(network, task.pid);
                Ok(())
            }
        }
    }

    /// Waits until the task of this process has ended; false after this time.
    fn wait_ended(&self, pid: u32, time: Duration) -> Result<bool> {
        let deadline = Deadline::after(time);
        while let Some(left) = deadline.left() {
            if self.daemon.wait_task(self.id, left.min(LONGEST_WAIT))? {
                return Ok(true);
            }
        }
        self.is_ended(pid)
    }

    pub(super) fn is_ended(&self, pid: u32) -> Result<bool> {
        Ok(self.task_of(pid)?.is_none_or(|task| task.status() == proto::Status::Stopped))
    }

    /// Succeeds if the task has ended, whatever the call answered.
    fn signal(&self, pid: u32, signal: u32) -> Result<()> {
        match self.daemon.kill_task(self.id, signal) {
            Err(error) if *error.code() != ErrorCode::Denied && self.is_ended(pid)? => {
                debug!("{}: {error}", self.attempt("end"));
                Ok(())
            }
            result => result,
        }
    }

    /// Deletes this task, by force if it runs, and its network attachment.
    pub(super) fn discard(&self, task: &Process, network: Option<&str>) -> Result<()> {
        if task.status() != proto::Status::Stopped {
            self.signal(task.pid, signals::KILL)?;
            if !self.wait_ended(task.pid, KILL_TIMEOUT)? {
                return Err(Error::timeout("still running after SIGKILL"));
            }
        }
        self.detach(network, task.pid);
        let Some(_) = self.task_of(task.pid)? else { return Ok(()) };
        let deleted = self.daemon.delete_task(self.id);
        match deleted {
            Err(_) if self.task_of(task.pid)?.is_none() => Ok(()),
            deleted => deleted,
        }
    }
}
