//! Resource usage of a container.

use std::time::Duration;

use drowse_provider_sdk::{Error, Result, Usage, clock};

use super::Target;
use crate::{proto, usage::Sample};

/// Time between the two samples of CPU time.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

// === impl Target ===

impl Target<'_> {
    /// Current usage. A container that is not created yet uses nothing.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let attempt = self.attempt("measure the usage of");
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
        let Some(first) = self.sample()? else { return self.without_sample(task.pid) };
        clock::sleep(SAMPLE_INTERVAL);
        match self.sample()? {
            Some(second) => Ok(first.until(&second)),
            None => self.without_sample(task.pid),
        }
    }

    fn sample(&self) -> Result<Option<Sample>> {
        let metric = self.daemon.metric(self.id)?;
        metric.map(|metric| Sample::of(&metric)).transpose()
    }

    /// Usage without a sample: the task has ended, or its runtime has no metrics.
    fn without_sample(&self, pid: u32) -> Result<Usage> {
        Ok(if self.is_ended(pid)? { Usage::nothing() } else { Usage::unknown() })
    }
}
