//! What others may know of a workload.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use crate::{
    names::{Generation, Phase, PoolName, ProviderName, WorkloadName},
    provider::{Failure, Observation},
    step::{Stage, State},
};

/// What everybody may know of a workload at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where it is in its life.
    pub phase: Phase,
    /// Which life.
    pub generation: Generation,
    /// What its wake is doing; present while waking.
    pub stage: Option<Stage>,
    /// From a wake's begin until ready, by the wakes before; absent before the first.
    pub expected: Option<Duration>,
    /// Why the last wake or sleep went wrong.
    pub failure: Option<Arc<Failure>>,
    /// When it entered the phase.
    pub since: std::time::Instant,
    /// Somebody came while it was on its way to sleep: it is woken when it has got there.
    pub wake_wanted: bool,
    /// Until then visitors are told of the failure and nothing is tried.
    pub rest_until: Option<std::time::Instant>,
    /// The last life in which it ran to its end, if it is a job.
    pub completed: Option<Generation>,
}

/// A workload went from one phase to another, began another life or failed anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseChange {
    /// Which workload.
    pub workload: WorkloadName,
    /// Where it was.
    pub from: Phase,
    /// Where it is.
    pub to: Phase,
    /// Which life.
    pub generation: Generation,
    /// What went wrong, if something did.
    pub reason: Option<String>,
}

/// A workload as an operator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Stable name.
    pub name: WorkloadName,
    /// Who controls it.
    pub provider: ProviderName,
    /// The provider's handle for it.
    pub target: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// It sleeps in the lighter of its two ways.
    pub light: bool,
    /// Which life.
    pub generation: Generation,
    /// What its wake is doing, in words.
    pub stage: Option<String>,
    /// What the provider says that it is doing for it just now: how far it has pulled an image.
    pub progress: Option<String>,
    /// Visits inside.
    pub visits: u64,
    /// Visitors held at the gate.
    pub waiting: usize,
    /// Workloads and schedules that need it awake.
    pub held: u32,
    /// It was found running and nobody has wanted it yet, so it stays awake.
    pub unrequested: bool,
    /// What it needs.
    pub needs: Vec<WorkloadName>,
    /// The ceiling that it shares.
    pub pool: Option<PoolName>,
    /// Seconds in this phase.
    pub phase_seconds: f64,
    /// Seconds until it sleeps if nobody comes; absent while it is kept awake.
    pub sleeps_in_seconds: Option<f64>,
    /// Seconds from a wake's begin until ready, by the wakes before.
    pub expected_seconds: Option<f64>,
    /// What spoke against sleeping when it was last asked.
    pub veto: Option<String>,
    /// Why the last wake or sleep went wrong.
    pub failure: Option<Failure>,
    /// What the provider said of this life last.
    pub observed: Option<Observation>,
}

// === impl WorkloadStatus ===

impl WorkloadStatus {
    /// What is being done for it, for people: the stage of its wake and the provider's own words.
    pub fn doing(&self) -> Option<String> {
        match (&self.stage, &self.progress) {
            (Some(stage), Some(said)) => Some(format!("{stage}: {said}")),
            (word, None) | (None, word) => word.clone(),
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// It is awake or on its way there, if only after it has stopped.
    pub fn is_coming(&self) -> bool {
        self.wake_wanted || matches!(self.phase, Phase::Waking | Phase::Ready)
    }

    pub(super) fn of(shared: &Shared, state: &State, expected: Option<Duration>) -> Self {
        Self {
            phase: state.phase(),
            generation: state.generation(),
            stage: state.stage(),
            expected,
            failure: state.failure().cloned(),
            since: shared.at(state.since()),
            wake_wanted: state.wake_wanted(),
            rest_until: state.cooldown_until().map(|until| shared.at(until)),
            completed: state.completed(),
        }
    }

    /// What is left of the time in which nothing is tried.
    pub fn retry_in(&self) -> Option<Duration> {
        let until = self.rest_until?;
        Some(until.saturating_duration_since(Instant::now().into_std()))
            .filter(|left| !left.is_zero())
    }
}
