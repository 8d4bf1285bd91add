//! Records of instances that go on while the router restarts.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Engine, Workload, lock};
use crate::{
    names::{Phase, WorkloadName},
    provider::{Observation, STARTED_AT, Status},
};

/// Minimum time before a restored instance sleeps: visitors could not arrive while there was no
/// router.
const GRACE: Duration = Duration::from_secs(10);

/// An instance that was requested, and when it was used last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// The workload.
    pub workload: WorkloadName,
    /// The platform's identity of the instance; any running instance matches when absent.
    pub native_id: Option<String>,
    /// When it was started, as reported by the provider; absent when the provider does not report
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When the last visitor left, or when the record was made if a visitor was inside or another
    /// workload needed it.
    pub used: SystemTime,
}

/// The record that an earlier router left of one workload, until its instance is found or known
/// to be gone.
#[derive(Default)]
pub(super) struct Restored(Mutex<Option<InstanceRecord>>);

// === impl Engine ===

impl Engine {
    /// Records of the instances that were requested and that go on, or may: ready, waking or going
    /// to sleep, and restored ones that have not been found again so far.
    pub fn instance_records(&self) -> Vec<InstanceRecord> {
        let now = (self.shared.clock)();
        self.workloads().iter().filter_map(|workload| workload.instance_record(now)).collect()
    }

    /// Restores the records of an earlier router; called before providers are added. A recorded
    /// instance that is found running goes on with the idle time that it had left.
    pub fn restore(&self, records: Vec<InstanceRecord>) {
        for record in records {
            if let Some(workload) = self.workload(record.workload.as_str()) {
                workload.restored.set(record);
            }
        }
    }
}

// === impl Restored ===

impl Restored {
    fn set(&self, record: InstanceRecord) {
        *lock(&self.0) = Some(record);
    }

    fn get(&self) -> Option<InstanceRecord> {
        lock(&self.0).clone()
    }

    /// Returns whether this is the recorded instance.
    pub(super) fn matches(&self, observation: &Observation) -> bool {
        lock(&self.0).as_ref().is_some_and(|record| record.matches(observation))
    }

    /// Forgets the record when the provider reports that the target does not run.
    pub(super) fn forget_if_gone(&self, observation: &Observation) {
        if matches!(observation.status, Status::Stopped | Status::Failed | Status::Missing) {
            lock(&self.0).take();
        }
    }

    /// Takes the record, and returns it if this is the recorded instance.
    fn take(&self, observation: &Observation) -> Option<InstanceRecord> {
        lock(&self.0).take().filter(|record| record.matches(observation))
    }
}

// === impl Workload ===

impl Workload {
    fn instance_record(&self, now: SystemTime) -> Option<InstanceRecord> {
        let state = self.state();
        let ready = match state.phase() {
            Phase::Ready if self.admission.is_unrequested() => return None,
            Phase::Ready => true,
            // It may still run when the next router starts, which then puts it to sleep.
            Phase::Draining | Phase::Stopping => false,
            Phase::Waking | Phase::Failed if state.is_owned() => false,
            _ => return self.restored.get(),
        };
        let used = !ready || self.admission.tracked_visits() > 0 || state.needed_by() > 0;
        let idle_for = if used { Duration::ZERO } else { self.admission.idle_for() };
        let life = state.observation();
        Some(InstanceRecord {
            workload: self.name().clone(),
            native_id: life.and_then(|life| life.native_id.clone()),
            started: life.and_then(|life| life.attributes.get(STARTED_AT).cloned()),
            used: now.checked_sub(idle_for)?,
        })
    }

    /// Time for which the instance had been idle when it was found, if it is the recorded one.
    pub(super) fn restored_idle_time(&self, observation: &Observation) -> Option<Duration> {
        let record = self.restored.take(observation)?;
        let idle_for = (self.shared.clock)().duration_since(record.used).unwrap_or_default();
        let idle = self.idle()?;
        Some(idle_for.min(idle.saturating_sub(GRACE.min(idle))))
    }
}

// === impl InstanceRecord ===

impl InstanceRecord {
    /// The same incarnation, not restarted since.
    fn matches(&self, seen: &Observation) -> bool {
        let same = |recorded: &Option<String>, seen: Option<&String>| {
            recorded.as_ref().is_none_or(|recorded| Some(recorded) == seen)
        };
        same(&self.native_id, seen.native_id.as_ref())
            && same(&self.started, seen.attributes.get(STARTED_AT))
    }
}
