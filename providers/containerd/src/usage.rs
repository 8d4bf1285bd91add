//! Usage of a task, by its control groups.

use std::time::Duration;

use drowse_provider_sdk::{Result, Usage};

use crate::{
    daemon::read,
    proto::{Any, Metric, MetricsV1, MetricsV2},
};

/// A sample of a task's usage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Time of the sample by the daemon's clock, since the epoch.
    at: Duration,
    /// CPU time so far.
    cpu: Option<Duration>,
    /// Memory in bytes, without the page cache that the kernel drops first.
    memory: Option<u64>,
}

// === impl Sample ===

impl Sample {
    /// Parses the daemon's metrics of a task.
    pub(crate) fn of(metric: &Metric) -> Result<Self> {
        let at = metric.timestamp.as_ref().map(crate::proto::Timestamp::since_epoch);
        let (cpu, memory) = match &metric.data {
            Some(data) => used(data)?,
            None => (None, None),
        };
        Ok(Self { at: at.unwrap_or_default(), cpu, memory })
    }

    /// Usage between this sample and a later one.
    pub(crate) fn until(&self, later: &Self) -> Usage {
        Usage { cpu_percent: self.cpu_percent(later), memory: later.memory, attributes: Vec::new() }
    }

    /// Percent of one core. None without CPU time, or if another instance started in between.
    fn cpu_percent(&self, later: &Self) -> Option<f64> {
        let passed = later.at.checked_sub(self.at).filter(|passed| !passed.is_zero())?;
        let used = later.cpu?.checked_sub(self.cpu?)?;
        Some(used.as_secs_f64() / passed.as_secs_f64() * 100.0)
    }
}

/// CPU time and memory for either version of control groups. None outside control groups, such as
/// in virtual machines.
fn used(data: &Any) -> Result<(Option<Duration>, Option<u64>)> {
    let kind = data.type_url.rsplit('/').next().unwrap_or_default();
    Ok(match kind {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics: MetricsV1 = read("Metrics", &data.value)?;
            let cpu = metrics.cpu.and_then(|cpu| cpu.usage).map(|usage| usage.total);
            let memory = metrics
                .memory
                .and_then(|memory| Some(without(memory.usage?.usage, memory.total_inactive_file)));
            (cpu.map(Duration::from_nanos), memory)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let metrics: MetricsV2 = read("Metrics", &data.value)?;
            let cpu = metrics.cpu.map(|cpu| Duration::from_micros(cpu.usage_usec));
            (cpu, metrics.memory.map(|memory| without(memory.usage, memory.inactive_file)))
        }
        _ => (None, None),
    })
}

/// The two values are not read at the same moment.
fn without(usage: u64, cache: u64) -> u64 {
    if cache < usage { usage - cache } else { usage }
}
