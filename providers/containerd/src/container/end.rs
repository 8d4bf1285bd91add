//! How a container's task ends.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Observation, Result, Status, clock::Deadline, debug};

use super::Target;
use crate::{
    create, observe,
    proto::{self, Process},
    signals,
};

/// How long a killed container may take to end.
pub(super) const KILL_TIME: Duration = Duration::from_secs(10);

/// The longest that one call waits for an end; then the task is looked at.
const WAIT: Duration = Duration::from_secs(20);

// === impl Target ===

impl Target<'_> {
    pub(crate) fn stop(&self, signal: Option<&str>, grace: Duration) -> Result<Observation> {
        let signal = signal.map(signals::number).transpose()?;
        let attempt = self.attempt("stop");
        self.end(signal, grace, true).map_err(|error| error.context(&attempt))?;
        self.at_rest(&attempt)
    }

    pub(crate) fn kill(&self, signal: Option<&str>) -> Result<Observation> {
        let signal = signal.map_or(Ok(signals::KILL), signals::number)?;
        let attempt = self.attempt("kill");
        self.end(Some(signal), KILL_TIME, false).map_err(|error| error.context(&attempt))?;
        self.at_rest(&attempt)
    }

    /// What it is after its end.
    fn at_rest(&self, attempt: &str) -> Result<Observation> {
        let seen = self.observe()?;
        match seen.status {
            Status::Running | Status::Starting | Status::Paused => {
                Err(Error::conflict(format!("{attempt}: somebody else has started it meanwhile")))
            }
            _ => Ok(seen),
        }
    }

    /// Sends the signal, waits, kills what is left if it may, and takes task and network away.
    pub(super) fn end(&self, signal: Option<u32>, grace: Duration, force: bool) -> Result<()> {
        let Some(container) = self.daemon.container(self.id)? else { return Ok(()) };
        let network = self.network(&container).unwrap_or_default();
        self.monitored(&container, true);
        let Some(task) = self.daemon.task(self.id)? else {
            if let Some(pid) = observe::last_process(&container) {
                self.detach(network, pid);
            }
            return Ok(());
        };
        let usual = || signals::number(container.labels.get(create::STOP_SIGNAL)?).ok();
        let signal = signal.or_else(usual).unwrap_or(signals::TERM);
        match task.status() {
            proto::Status::Stopped | proto::Status::Created => {}
            status => {
                self.signal(task.pid, signal)?;
                if status != proto::Status::Running && signal != signals::KILL {
                    // It hears the signal only when it goes on.
                    let resumed = self.daemon.resume_task(self.id);
                    if resumed.is_err() && !self.is_ended(task.pid)? {
                        self.settled(resumed, proto::Status::Running)?;
                    }
                }
                if !self.ended_within(task.pid, grace)? && !force {
                    return Err(Error::timeout("it got the signal, and still runs"));
                }
            }
        }
        match self.present(task.pid)? {
            Some(task) => self.discard(&task, network),
            None => {
                self.detach(network, task.pid);
                Ok(())
            }
        }
    }

    /// Waits until the task of this process has ended; false if it has not within this time.
    fn ended_within(&self, pid: u32, time: Duration) -> Result<bool> {
        let deadline = Deadline::after(time);
        while let Some(left) = deadline.left() {
            if self.daemon.wait_task(self.id, left.min(WAIT))? {
                return Ok(true);
            }
        }
        self.is_ended(pid)
    }

    pub(super) fn is_ended(&self, pid: u32) -> Result<bool> {
        Ok(self.present(pid)?.is_none_or(|task| task.status() == proto::Status::Stopped))
    }

    /// Success if it has ended, whatever was answered.
    fn signal(&self, pid: u32, signal: u32) -> Result<()> {
        match self.daemon.kill_task(self.id, signal) {
            Err(error) if *error.code() != ErrorCode::Denied && self.is_ended(pid)? => {
                debug!("{}: {error}", self.attempt("end"));
                Ok(())
            }
            asked => asked,
        }
    }

    /// Takes this task, as it was just seen, away, by force if it still runs, and its network.
    pub(super) fn discard(&self, task: &Process, network: Option<&str>) -> Result<()> {
        if task.status() != proto::Status::Stopped {
            self.signal(task.pid, signals::KILL)?;
            if !self.ended_within(task.pid, KILL_TIME)? {
                return Err(Error::timeout("it was killed, and still runs"));
            }
        }
        self.detach(network, task.pid);
        let Some(_) = self.present(task.pid)? else { return Ok(()) };
        let deleted = self.daemon.delete_task(self.id);
        match deleted {
            Err(_) if self.present(task.pid)?.is_none() => Ok(()),
            deleted => deleted,
        }
    }
}
