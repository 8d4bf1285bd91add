//! What a container uses.

use std::time::Duration;

use drowse_provider_sdk::{Error, Result, Usage, clock};

use super::Target;
use crate::{proto, usage::Sample};

/// Between the two samples that CPU time is measured by.
const MOMENT: Duration = Duration::from_millis(500);

// === impl Target ===

impl Target<'_> {
    /// What it uses now. One that is made when it is started uses nothing before.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let attempt = self.attempt("tell the usage of");
        self.measure().map_err(|error| error.context(attempt))
    }

    fn measure(&self) -> Result<Usage> {
        if self.daemon.container(self.id)?.is_none() && self.own.image.is_none() {
            return Err(Error::not_found("there is no such container"));
        }
        let Some(task) = self.daemon.task(self.id)? else { return Ok(Usage::nothing()) };
        if matches!(task.status(), proto::Status::Stopped | proto::Status::Created) {
            return Ok(Usage::nothing());
        }
        let Some(first) = self.sample()? else { return self.untold(task.pid) };
        clock::sleep(MOMENT);
        match self.sample()? {
            Some(second) => Ok(first.until(&second)),
            None => self.untold(task.pid),
        }
    }

    fn sample(&self) -> Result<Option<Sample>> {
        let metric = self.daemon.metric(self.id)?;
        metric.map(|metric| Sample::of(&metric)).transpose()
    }

    /// The daemon tells nothing of it: it has ended, or its runtime does not count.
    fn untold(&self, pid: u32) -> Result<Usage> {
        Ok(if self.is_ended(pid)? { Usage::nothing() } else { Usage::unknown() })
    }
}
