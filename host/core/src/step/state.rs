//! The state of a workload.

use std::sync::Arc;

use super::{
    Force, Input, Moment, Operation, Stage,
    failure::Failures,
    hold::Holds,
    phase::{PhaseState, Recovery},
    query::Queries,
    target::Target,
};
use crate::{
    names::{Generation, Phase},
    provider::{Failure, Observation},
};

/// The state of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(super) phase: PhaseState,
    /// When the phase was entered.
    pub(super) since: Moment,
    pub(super) generation: Generation,
    /// When the generation began.
    pub(super) generation_since: Moment,
    /// Last ticket issued. Tickets number operations, status queries, timers and sleep checks, and
    /// are never reused.
    pub(super) tickets: u64,
    /// Ticket of the timer: deadline of the phase, idle time, deep sleep or next attempt.
    pub(super) timer: Option<u64>,
    pub(super) queries: Queries,
    pub(super) slot: Slot,
    /// The needs are held awake.
    pub(super) holds_needs: bool,
    pub(super) holds: Holds,
    pub(super) ownership: Ownership,
    /// The target is in the light sleep, and no start was requested since.
    pub(super) light_sleep: bool,
    pub(super) failures: Failures,
    /// Last generation that ran to its end, for a job.
    pub(super) completed: Option<Generation>,
    pub(super) target: Target,
}

/// The workload's share of its pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Slot {
    #[default]
    None,
    Requested,
    Held,
    /// Memory without a slot: the light sleep.
    MemoryOnly,
}

/// Whether a running target runs because of this router. All four combinations exist.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ownership {
    /// A start was requested in this generation, and no sleep has succeeded since.
    pub(super) started: bool,
    /// An operation failed that may have worked, or may have left the target running, and the
    /// status is not known since.
    pub(super) may_run: bool,
}

// === impl State ===

impl State {
    /// The phase.
    pub fn phase(&self) -> Phase {
        self.phase.phase()
    }

    /// When the phase was entered.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// The generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Why the last wake or sleep failed.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        self.failures.last()
    }

    /// Visitors get the failure instead of a new wake until then.
    pub fn cooldown_until(&self) -> Option<Moment> {
        self.failures.cooldown_until()
    }

    /// The operation in flight.
    pub fn operation(&self) -> Option<Operation> {
        self.phase.operation().map(|(_, operation)| operation)
    }

    /// A renewal may begin now: none is under way, and the workload does not go to sleep.
    pub fn may_be_renewed(&self) -> bool {
        !matches!(
            self.phase,
            PhaseState::Draining(_)
                | PhaseState::Stopping(_)
                | PhaseState::Failed(Recovery::CleaningUp(_))
        )
    }

    /// A renewal waits for visits to end, or is in flight.
    pub fn is_renewed(&self) -> bool {
        match &self.phase {
            PhaseState::Draining(draining) => draining.renewal.is_some(),
            phase => phase.operation().is_some_and(|(_, operation)| operation.is_renewal()),
        }
    }

    /// Last observation of the instance that is probed or ready.
    pub fn observation(&self) -> Option<&Arc<Observation>> {
        self.phase.observation()
    }

    /// Number of dependents and schedule windows that need the workload awake.
    pub fn needed_by(&self) -> u32 {
        self.holds.count()
    }

    /// A dependent or schedule window keeps the workload awake against an operator's order.
    /// [`Force::AtOnce`] overrules a schedule.
    pub fn is_kept_awake(&self, force: Force) -> bool {
        self.holds.keep_awake(force)
    }

    /// The workload is in the light sleep, from which a wake takes milliseconds, and at rest.
    pub fn sleeps_lightly(&self) -> bool {
        let at_rest = matches!(self.phase, PhaseState::Asleep)
            || matches!(self.phase, PhaseState::Failed(Recovery::Settled));
        self.light_sleep && at_rest
    }

    /// If the target runs, or is about to, it does so because of this router.
    pub fn is_owned(&self) -> bool {
        self.ownership.started || self.ownership.may_run
    }

    /// Lowest ticket of a status query in flight or due after it that covers all that has happened
    /// so far.
    pub fn pending_query(&self) -> Option<u64> {
        self.queries.pending()
    }

    /// Lowest ticket that a status query can have that covers all that has happened so far.
    pub(crate) fn next_query(&self) -> u64 {
        self.pending_query().unwrap_or(self.tickets + 1)
    }

    /// The ticket and observation of an operation's or query's result, if the result counts.
    pub(crate) fn counted_result<'a>(&self, input: &'a Input) -> Option<(u64, &'a Observation)> {
        match input {
            Input::OperationResult(ticket, Ok(seen)) => {
                let awaited = self.phase.operation().is_some_and(|(own, _)| own == *ticket);
                awaited.then_some((*ticket, seen))
            }
            Input::StatusResult(ticket, Ok(seen)) => {
                self.queries.awaits(*ticket).then_some((*ticket, seen))
            }
            _ => None,
        }
    }

    /// The needs are held awake.
    pub fn holds_needs(&self) -> bool {
        self.holds_needs
    }

    /// A wake was wanted while the workload drained or stopped, and follows.
    pub fn wake_wanted(&self) -> bool {
        self.phase.wake_wanted().is_some()
    }

    /// Last generation that ran to its end, for a job.
    pub fn completed(&self) -> Option<Generation> {
        self.completed
    }

    /// Stage of the wake.
    pub fn stage(&self) -> Option<Stage> {
        self.phase.stage().map(super::phase::WakeStage::shown)
    }

    /// Both states have the same snapshot.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        let shown = |state: &Self| {
            let phase = (state.phase(), state.generation, state.stage(), state.completed);
            (phase, state.failure().cloned(), state.cooldown_until(), state.wake_wanted())
        };
        shown(self) == shown(other)
    }
}
