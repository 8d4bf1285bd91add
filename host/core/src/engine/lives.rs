//! What must be known of the lives that go on when the router begins anew.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Engine, Workload};
use crate::{
    provider::Observation,
    words::{Phase, WorkloadName},
};

/// After a restart even one whose idle time is over stays so long: visitors could not come while
/// there was no router.
const WELCOME: Duration = Duration::from_secs(10);

/// A life that somebody here asked for, and when it was used last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifeNote {
    /// Which workload.
    pub workload: WorkloadName,
    /// The platform's identity of this incarnation.
    pub native_id: Option<String>,
    /// When the last visitor left, or when the note was made if somebody was inside.
    pub used: SystemTime,
}

// === impl Engine ===

impl Engine {
    /// Notes on the lives that are ready now and that somebody asked for.
    pub fn lives(&self) -> Vec<LifeNote> {
        let now = (self.shared.clock)();
        self.workloads().iter().filter_map(|workload| workload.note(now)).collect()
    }

    /// Recalls notes of an earlier router, before [`Engine::reconcile`]: such a life goes on with
    /// the idle time that it had left, although nobody here started it.
    pub fn recall(&self, notes: Vec<LifeNote>) {
        for note in notes {
            if let Some(workload) = self.workload(note.workload.as_str()) {
                *super::lock(&workload.recalled) = Some(note);
            }
        }
    }
}

// === impl Workload ===

impl Workload {
    fn note(&self, now: SystemTime) -> Option<LifeNote> {
        if self.phase() != Phase::Ready || self.is_unasked() {
            return None;
        }
        let life = self.life.load_full()?;
        let quiet = if self.users() == 0 { self.quiet() } else { Duration::ZERO };
        Some(LifeNote {
            workload: self.name().clone(),
            native_id: life.observation.native_id.clone(),
            used: now.checked_sub(quiet)?,
        })
    }

    /// This is a life that we noted.
    pub(super) fn recalls(&self, observation: &Observation) -> bool {
        let note = super::lock(&self.recalled);
        note.as_ref().is_some_and(|note| note.native_id == observation.native_id)
    }

    /// How long this life had not been used when it was found, if it is one that we noted.
    pub(super) fn recalled_quiet(&self, observation: &Arc<Observation>) -> Option<Duration> {
        let note = super::lock(&self.recalled).take()?;
        if note.native_id != observation.native_id {
            return None;
        }
        let quiet = (self.shared.clock)().duration_since(note.used).unwrap_or_default();
        let idle = self.idle()?;
        Some(quiet.min(idle.saturating_sub(WELCOME.min(idle))))
    }
}
