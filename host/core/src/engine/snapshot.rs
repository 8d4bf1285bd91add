//! The public state of a workload.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use crate::{
    names::{Generation, Phase, PoolName, ProviderName, WorkloadName},
    provider::{Failure, Observation},
    step::{Stage, State},
};

/// The public state of a workload at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its phase.
    pub phase: Phase,
    /// Generation of its current or last instance.
    pub generation: Generation,
    /// Stage of its wake; present while waking.
    pub stage: Option<Stage>,
    /// Expected duration of a wake, from its begin until ready; absent before the first one.
    pub expected: Option<Duration>,
    /// Why the last wake or sleep failed.
    pub failure: Option<Arc<Failure>>,
    /// When it entered the phase.
    pub since: std::time::Instant,
    /// A wake was requested while it was going to sleep; it is woken once it sleeps.
    pub wake_wanted: bool,
    /// End of the cool-down, until which visitors get the failure instead of another wake.
    pub rest_until: Option<std::time::Instant>,
    /// The last generation that ran to its end, if it is a job.
    pub completed: Option<Generation>,
}

/// A workload changed its phase, began another generation, or failed again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseChange {
    /// The workload.
    pub workload: WorkloadName,
    /// Phase before.
    pub from: Phase,
    /// Phase now.
    pub to: Phase,
    /// Generation now.
    pub generation: Generation,
    /// Why it failed, if it did.
    pub reason: Option<String>,
}

/// The state of a workload for operators.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Stable name.
    pub name: WorkloadName,
    /// Provider that controls it.
    pub provider: ProviderName,
    /// The provider's handle for it.
    pub target: String,
    /// Its phase.
    pub phase: Phase,
    /// It sleeps in the lighter of its two ways.
    pub light: bool,
    /// Generation of its current or last instance.
    pub generation: Generation,
    /// Stage of its wake, in words.
    pub stage: Option<String>,
    /// The provider's report on its call in flight, such as the progress of an image pull.
    pub progress: Option<String>,
    /// Visits inside.
    pub visits: u64,
    /// Visitors held at the gate.
    pub waiting: usize,
    /// Number of holds by dependents and schedules.
    pub held: u32,
    /// It was found running, and no visitor has entered it since.
    pub unrequested: bool,
    /// Direct dependencies.
    pub needs: Vec<WorkloadName>,
    /// Pool that it belongs to.
    pub pool: Option<PoolName>,
    /// Seconds in this phase.
    pub phase_seconds: f64,
    /// Seconds until it sleeps without another visit; absent while it is kept awake.
    pub sleeps_in_seconds: Option<f64>,
    /// Expected duration of a wake in seconds.
    pub expected_seconds: Option<f64>,
    /// Why the last attempt to sleep was vetoed.
    pub veto: Option<String>,
    /// Why the last wake or sleep failed.
    pub failure: Option<Failure>,
    /// Last observation of the current instance.
    pub observed: Option<Observation>,
}

// === impl WorkloadStatus ===

impl WorkloadStatus {
    /// Stage of its wake with the provider's own report, for people.
    pub fn doing(&self) -> Option<String> {
        match (&self.stage, &self.progress) {
            (Some(stage), Some(progress)) => Some(format!("{stage}: {progress}")),
            (word, None) | (None, word) => word.clone(),
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Returns whether it is awake, waking, or woken next after it has gone to sleep.
    pub fn is_coming(&self) -> bool {
        self.wake_wanted || matches!(self.phase, Phase::Waking | Phase::Ready)
    }

    /// Returns whether a wake is on its way, so that a held visitor has only to wait.
    pub(super) fn is_wake_pending(&self) -> bool {
        self.is_coming() && self.phase != Phase::Ready
    }

    pub(super) fn of(shared: &Shared, state: &State, expected: Option<Duration>) -> Self {
        let at = |moment| shared.uptime.at(moment);
        Self {
            phase: state.phase(),
            generation: state.generation(),
            stage: state.stage(),
            expected,
            failure: state.failure().cloned(),
            since: at(state.since()),
            wake_wanted: state.wake_wanted(),
            rest_until: state.cooldown_until().map(at),
            completed: state.completed(),
        }
    }

    /// Time left of the cool-down; none when it is over.
    pub fn retry_in(&self) -> Option<Duration> {
        let until = self.rest_until?;
        Some(until.saturating_duration_since(Instant::now().into_std()))
            .filter(|left| !left.is_zero())
    }
}
