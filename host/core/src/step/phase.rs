//! Phases with what exists only in them.
//!
//! An operation is in flight in three places only: a wake that starts its target, Stopping, and
//! Failed while it cleans up. An operation record is open in Waking and Stopping, and nowhere else.

use std::sync::Arc;

use super::{Moment, Operation, Renewal, Stage};
use crate::{
    journal::Cause,
    names::{Phase, WorkloadName},
    provider::Observation,
};

/// A phase and its data.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum PhaseState {
    #[default]
    Asleep,
    Waking(Waking),
    Ready(Ready),
    Draining(Draining),
    Stopping(Stopping),
    Failed(Recovery),
    Missing,
}

/// A wake, or the adoption of a running target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waking {
    /// Cause of the operation record.
    pub(super) cause: Arc<Cause>,
    pub(super) stage: WakeStage,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum WakeStage {
    /// Waits for a slot; queue position and length once the pool has reported them.
    Queued(Option<(usize, usize)>),
    /// Waits for these needs.
    Needs(Arc<[WorkloadName]>),
    Launched(Launch),
    Adopted(Adoption),
}

/// A wake from the first start call on. Includes a running target that is taken over as started by
/// this router.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Launch {
    /// It is the previous generation's instance, changed or restarted by its platform.
    pub(super) continued: bool,
    /// Deadline for readiness, counted from the first start call.
    pub(super) deadline: Moment,
    /// The instance exited once, and was started again.
    pub(super) restarted: bool,
    pub(super) progress: Progress,
}

/// A target that was found running, not started by this router: it is only probed, and not stopped
/// when it does not get ready.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adoption {
    /// As [`Launch::continued`].
    pub(super) continued: bool,
    pub(super) probe: Probe,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Progress {
    /// The start with this ticket is in flight.
    Starting(u64),
    /// Waits for another target in place of a removed one; how its absence was found.
    Absent(Arc<str>),
    Probing(Probe),
}

/// A running instance that is probed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probe {
    pub(super) observation: Arc<Observation>,
    /// Failure of the last probe.
    pub(super) unready: Option<Arc<str>>,
}

/// The gate is open.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ready {
    pub(super) observation: Arc<Observation>,
    pub(super) adopted: bool,
    /// Ticket of the sleep check in flight.
    pub(super) sleep_check: Option<u64>,
    /// Cause of a sleep that begins if the gate can be closed.
    pub(super) closing: Option<Arc<Cause>>,
}

/// The gate is closed on an operator's order, and visits are inside.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draining {
    pub(super) cause: Arc<Cause>,
    /// Follows instead of a sleep.
    pub(super) renewal: Option<Renewal>,
    /// Cause of the wake that follows.
    pub(super) wake_wanted: Option<Arc<Cause>>,
}

/// A sleep or renewal is in flight.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stopping {
    pub(super) ticket: u64,
    pub(super) ending: Ending,
    pub(super) cause: Arc<Cause>,
    /// Cause of the wake that follows.
    pub(super) wake_wanted: Option<Arc<Cause>>,
}

/// How an instance is ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    Sleep {
        depth: Depth,
        /// Attempts that have failed before this one.
        failed_attempts: u32,
    },
    Renew(Renewal),
}

/// Depth of a sleep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Depth {
    /// The configured sleep: the light one of two, or the only one.
    Light,
    Deep,
}

/// Remaining work after a failed wake or sleep.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recovery {
    /// Nothing.
    Settled,
    /// Query the status: the target of the failed wake may run.
    Unverified,
    /// Deep sleep after a wake that timed out, in flight.
    CleaningUp(CleanUp),
    /// Repeat a sleep that has failed `attempts` times, when the timer fires.
    SleepFailed { attempts: u32, depth: Depth, cause: Arc<Cause> },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct CleanUp {
    pub(super) ticket: u64,
    /// Cause of the failed wake.
    pub(super) cause: Arc<Cause>,
    /// Cause of the wake that follows.
    pub(super) wake_wanted: Option<Arc<Cause>>,
}

// === impl PhaseState ===

impl PhaseState {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Asleep => Phase::Asleep,
            Self::Waking(_) => Phase::Waking,
            Self::Ready(_) => Phase::Ready,
            Self::Draining(_) => Phase::Draining,
            Self::Stopping(_) => Phase::Stopping,
            Self::Failed(_) => Phase::Failed,
            Self::Missing => Phase::Missing,
        }
    }

    /// The provider call in flight, and its ticket.
    pub(super) fn operation(&self) -> Option<(u64, Operation)> {
        match self {
            Self::Stopping(stopping) => Some((stopping.ticket, stopping.ending.operation())),
            Self::Failed(Recovery::CleaningUp(clean_up)) => {
                Some((clean_up.ticket, Operation::DeepSleep))
            }
            _ => match self.launch()?.progress {
                Progress::Starting(ticket) => Some((ticket, Operation::Start)),
                Progress::Absent(_) | Progress::Probing(_) => None,
            },
        }
    }

    /// No operation is in flight, and nothing is left to do.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self, Self::Asleep | Self::Missing | Self::Failed(Recovery::Settled))
    }

    pub(super) fn stage(&self) -> Option<&WakeStage> {
        match self {
            Self::Waking(waking) => Some(&waking.stage),
            _ => None,
        }
    }

    pub(super) fn stage_mut(&mut self) -> Option<&mut WakeStage> {
        match self {
            Self::Waking(waking) => Some(&mut waking.stage),
            _ => None,
        }
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.stage(), Some(WakeStage::Queued(_)))
    }

    pub(super) fn waits_for_needs(&self) -> bool {
        matches!(self.stage(), Some(WakeStage::Needs(_)))
    }

    pub(super) fn launch(&self) -> Option<&Launch> {
        match self.stage()? {
            WakeStage::Launched(launch) => Some(launch),
            WakeStage::Queued(_) | WakeStage::Needs(_) | WakeStage::Adopted(_) => None,
        }
    }

    pub(super) fn launch_mut(&mut self) -> Option<&mut Launch> {
        match self.stage_mut()? {
            WakeStage::Launched(launch) => Some(launch),
            WakeStage::Queued(_) | WakeStage::Needs(_) | WakeStage::Adopted(_) => None,
        }
    }

    /// The wake waits for another target in place of a removed one.
    pub(super) fn is_absent(&self) -> bool {
        self.launch().is_some_and(|launch| matches!(launch.progress, Progress::Absent(_)))
    }

    pub(super) fn probe(&self) -> Option<&Probe> {
        match self.stage()? {
            WakeStage::Launched(Launch { progress: Progress::Probing(probe), .. })
            | WakeStage::Adopted(Adoption { probe, .. }) => Some(probe),
            WakeStage::Queued(_) | WakeStage::Needs(_) | WakeStage::Launched(_) => None,
        }
    }

    pub(super) fn probe_mut(&mut self) -> Option<&mut Probe> {
        match self.stage_mut()? {
            WakeStage::Launched(Launch { progress: Progress::Probing(probe), .. })
            | WakeStage::Adopted(Adoption { probe, .. }) => Some(probe),
            WakeStage::Queued(_) | WakeStage::Needs(_) | WakeStage::Launched(_) => None,
        }
    }

    pub(super) fn ready_mut(&mut self) -> Option<&mut Ready> {
        match self {
            Self::Ready(ready) => Some(ready),
            _ => None,
        }
    }

    /// Observation of the instance that is probed or ready.
    pub(super) fn observation(&self) -> Option<&Arc<Observation>> {
        match self {
            Self::Ready(ready) => Some(&ready.observation),
            _ => self.probe().map(|probe| &probe.observation),
        }
    }

    pub(super) fn wake_wanted(&self) -> Option<&Arc<Cause>> {
        match self {
            Self::Draining(draining) => draining.wake_wanted.as_ref(),
            Self::Stopping(stopping) => stopping.wake_wanted.as_ref(),
            Self::Failed(Recovery::CleaningUp(clean_up)) => clean_up.wake_wanted.as_ref(),
            _ => None,
        }
    }

    /// The cause of the wake that follows a sleep in progress; absent in other phases.
    pub(super) fn wake_wanted_mut(&mut self) -> Option<&mut Option<Arc<Cause>>> {
        match self {
            Self::Draining(draining) => Some(&mut draining.wake_wanted),
            Self::Stopping(stopping) => Some(&mut stopping.wake_wanted),
            Self::Failed(Recovery::CleaningUp(clean_up)) => Some(&mut clean_up.wake_wanted),
            _ => None,
        }
    }
}

// === impl WakeStage ===

impl WakeStage {
    pub(super) fn shown(&self) -> Stage {
        match self {
            Self::Queued(position) => {
                let (position, length) = position.unwrap_or((1, 1));
                Stage::Queued { position, length }
            }
            Self::Needs(missing) => Stage::Needs(missing.clone()),
            Self::Launched(launch) => match &launch.progress {
                Progress::Starting(_) => Stage::Starting,
                Progress::Absent(_) => Stage::Absent,
                Progress::Probing(probe) => Stage::Probing(probe.unready.clone()),
            },
            Self::Adopted(adoption) => Stage::Probing(adoption.probe.unready.clone()),
        }
    }
}

// === impl Ending ===

impl Ending {
    /// The first attempt of a sleep.
    pub(super) fn sleep(depth: Depth) -> Self {
        Self::Sleep { depth, failed_attempts: 0 }
    }

    pub(super) fn operation(self) -> Operation {
        match self {
            Self::Sleep { depth: Depth::Light, .. } => Operation::Sleep,
            Self::Sleep { depth: Depth::Deep, .. } => Operation::DeepSleep,
            Self::Renew(renewal) => Operation::Renew(renewal),
        }
    }
}

// === impl Probe ===

impl Probe {
    pub(super) fn new(observation: Arc<Observation>) -> Self {
        Self { observation, unready: None }
    }
}
