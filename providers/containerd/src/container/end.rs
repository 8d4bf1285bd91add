//! How a container's task ends.

use std::time::Duration;

use drowse_provider_sdk::{Error, Observation, Result, clock::Deadline};

use super::Target;
use crate::{create, proto, signals};

/// How long a killed container may take to end.
pub(super) const KILL_TIME: Duration = Duration::from_secs(10);

/// The longest that one call waits for an end; then the task is looked at.
const WAIT: Duration = Duration::from_secs(20);

// === impl Target ===

impl Target<'_> {
    pub(crate) fn stop(&self, signal: Option<&str>, grace: Duration) -> Result<Observation> {
        let signal = signal.map(signals::number).transpose()?;
        self.end(signal, grace, true).map_err(|error| error.context(self.attempt("stop")))?;
        self.observe()
    }

    pub(crate) fn kill(&self, signal: Option<&str>) -> Result<Observation> {
        let signal = signal.map_or(Ok(signals::KILL), signals::number)?;
        let ended = self.end(Some(signal), KILL_TIME, false);
        ended.map_err(|error| error.context(self.attempt("kill")))?;
        self.observe()
    }

    /// Sends the signal, waits, kills what is left if it may, and takes task and network away.
    pub(super) fn end(&self, signal: Option<u32>, grace: Duration, force: bool) -> Result<()> {
        let Some(container) = self.daemon.container(self.id)? else { return Ok(()) };
        let network = self.network(&container).unwrap_or_default();
        self.monitored(&container, true);
        let Some(task) = self.daemon.task(self.id)? else {
            self.detach(network);
            return Ok(());
        };
        let usual = || signals::number(container.labels.get(create::STOP_SIGNAL)?).ok();
        let signal = signal.or_else(usual).unwrap_or(signals::TERM);
        match task.status() {
            proto::Status::Stopped | proto::Status::Created => {}
            status => {
                self.daemon.kill_task(self.id, signal)?;
                if status != proto::Status::Running && signal != signals::KILL {
                    // It hears the signal only when it goes on.
                    let resumed = self.daemon.resume_task(self.id);
                    self.settled(resumed, proto::Status::Running)?;
                }
                if !self.ended_within(grace)? && !force {
                    return Err(Error::timeout("it got the signal, and still runs"));
                }
            }
        }
        self.discard(network)
    }

    pub(super) fn ended_within(&self, time: Duration) -> Result<bool> {
        let deadline = Deadline::after(time);
        while let Some(left) = deadline.left() {
            if self.daemon.wait_task(self.id, left.min(WAIT))? {
                return Ok(true);
            }
        }
        Ok(self.daemon.task(self.id)?.is_none_or(|it| it.status() == proto::Status::Stopped))
    }

    /// Takes the task away, by force if it still runs, and its network.
    pub(super) fn discard(&self, network: Option<&str>) -> Result<()> {
        let Some(task) = self.daemon.task(self.id)? else {
            self.detach(network);
            return Ok(());
        };
        if task.status() != proto::Status::Stopped {
            self.daemon.kill_task(self.id, signals::KILL)?;
            if !self.ended_within(KILL_TIME)? {
                return Err(Error::timeout("it was killed, and still runs"));
            }
        }
        self.detach(network);
        self.daemon.delete_task(self.id)
    }
}
