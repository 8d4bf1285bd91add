//! What must be known of the lives that go on when the router begins anew.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Engine, Workload};
use crate::{
    names::{Phase, WorkloadName},
    provider::{Observation, Status},
};

/// After a restart even one whose idle time is over stays so long: visitors could not come while
/// there was no router.
const WELCOME: Duration = Duration::from_secs(10);

/// A life that somebody here asked for, and when it was used last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Which workload.
    pub workload: WorkloadName,
    /// The platform's identity of this incarnation; whatever runs is meant when absent.
    pub native_id: Option<String>,
    /// When it was started, in the provider's own words; absent when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When the last visitor left, or when the note was made if somebody was inside or something
    /// needed it.
    pub used: SystemTime,
}

const STARTED: &str = "started-at";

// === impl Engine ===

impl Engine {
    /// Notes on the lives that somebody asked for and that go on, or may: on what is ready, on
    /// what is being woken or put to sleep, and on what was restored and not found again so far.
    pub fn instance_records(&self) -> Vec<InstanceRecord> {
        let now = (self.shared.clock)();
        self.workloads().iter().filter_map(|workload| workload.note(now)).collect()
    }

    /// Recalls notes of an earlier router, before there is any provider: such a life goes on with
    /// the idle time that it had left, although nobody here started it.
    pub fn restore(&self, notes: Vec<InstanceRecord>) {
        for note in notes {
            if let Some(workload) = self.workload(note.workload.as_str()) {
                *super::lock(&workload.restored) = Some(note);
            }
        }
    }
}

// === impl Workload ===

impl Workload {
    fn note(&self, now: SystemTime) -> Option<InstanceRecord> {
        let restored = || super::lock(&self.restored).clone();
        let state = self.state();
        let ready = match state.phase() {
            Phase::Ready if self.is_unrequested() => return None,
            Phase::Ready => true,
            // It is to end.
            Phase::Draining | Phase::Stopping => false,
            Phase::Waking | Phase::Failed if state.is_owned() => false,
            _ => return restored(),
        };
        let used = !ready || self.tracked_visits() > 0 || state.needed_by() > 0;
        let quiet = if used { Duration::ZERO } else { self.idle_for() };
        let life = state.observation();
        Some(InstanceRecord {
            workload: self.name().clone(),
            native_id: life.and_then(|life| life.native_id.clone()),
            started: life.and_then(|life| life.attributes.get(STARTED).cloned()),
            used: now.checked_sub(quiet)?,
        })
    }

    /// This is a life that we noted.
    pub(super) fn is_restored(&self, observation: &Observation) -> bool {
        let note = super::lock(&self.restored);
        note.as_ref().is_some_and(|note| note.is_of(observation))
    }

    /// What was noted has ended if the provider says that it does not run.
    pub(super) fn forget_record_if_gone(&self, observation: &Observation) {
        if matches!(observation.status, Status::Stopped | Status::Failed | Status::Missing) {
            super::lock(&self.restored).take();
        }
    }

    /// How long this life had not been used when it was found, if it is one that we noted.
    pub(super) fn restored_idle_time(&self, observation: &Observation) -> Option<Duration> {
        let note = super::lock(&self.restored).take().filter(|note| note.is_of(observation))?;
        let quiet = (self.shared.clock)().duration_since(note.used).unwrap_or_default();
        let idle = self.idle()?;
        Some(quiet.min(idle.saturating_sub(WELCOME.min(idle))))
    }
}

// === impl InstanceRecord ===

impl InstanceRecord {
    /// The same incarnation, not started again since.
    fn is_of(&self, seen: &Observation) -> bool {
        let same = |noted: &Option<String>, seen: Option<&String>| {
            noted.as_ref().is_none_or(|noted| Some(noted) == seen)
        };
        same(&self.native_id, seen.native_id.as_ref())
            && same(&self.started, seen.attributes.get(STARTED))
    }
}
