//! What a visitor holds while inside, and what it is told when it is not let in.

use std::{fmt, sync::Arc, time::Duration};

use super::{Workload, workload::Life};
use crate::{
    provider::Failure,
    words::{Generation, Phase},
};

/// One pass through the gate, held until the visitor's last byte. Dropping it is leaving.
pub struct Visit {
    workload: Arc<Workload>,
    life: Arc<Life>,
}

/// Why a visitor was not let in.
#[derive(Clone, Debug)]
pub enum Turned {
    /// The wake failed, lately; and when it is worth trying again.
    Failed(Arc<Failure>, Option<Duration>),
    /// The visitor's own time was over while the workload was in this phase.
    TimedOut(Phase),
}

// === impl Visit ===

impl Visit {
    pub(super) fn new(workload: Arc<Workload>, life: Arc<Life>) -> Self {
        Self { workload, life }
    }

    /// The life that was entered.
    pub fn generation(&self) -> Generation {
        self.life.generation
    }

    /// The workload that was entered.
    pub fn workload(&self) -> &Arc<Workload> {
        &self.workload
    }

    /// Where the workload's own `port` is reached in this life: host and port.
    pub fn upstream(&self, port: u16) -> Option<(&str, u16)> {
        self.life.observation.addresses.iter().find_map(|address| address.socket(port))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.workload.left();
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("workload", self.workload.name())
            .field("generation", &self.life.generation)
            .finish()
    }
}

// === impl Turned ===

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure, _) => failure.fmt(f),
            Self::TimedOut(phase) => write!(f, "it is still {phase}"),
        }
    }
}
