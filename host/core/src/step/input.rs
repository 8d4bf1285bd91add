//! Inputs of the phase machine.

use std::{sync::Arc, time::Duration};

use super::{Policy, Renewal};
use crate::{
    journal::{Cause, Trigger},
    names::{Generation, WorkloadName},
    provider::{Failure, Observation},
};

/// An event that the machine reacts to.
#[derive(Clone, Debug)]
pub enum Input {
    /// A wake is wanted. An operator's wake ignores the cool-down.
    Wake(Arc<Cause>),
    /// An operator orders a sleep.
    Sleep(Arc<Cause>, Force),
    /// An operator orders a renewal. Ignored while the workload drains or stops.
    Renew(Arc<Cause>, Force, Renewal),
    /// The pool needs the slot: the workload sleeps if it has no visit and nothing needs it.
    Evict(Arc<Cause>),
    /// A dependent or schedule window needs the workload awake, until an [`Input::Release`] with
    /// the same trigger.
    Hold(Arc<Cause>),
    /// One dependent, or the schedule window, no longer needs the workload.
    Release(Trigger),
    /// The pool grants a slot to this generation.
    SlotGranted(Generation),
    /// The pool has no slot for this generation, and its queue is full.
    SlotRefused(Generation, Failure),
    /// Position in the pool's queue, from 1, and the queue's length.
    QueuePosition(usize, usize),
    /// The needs that this generation still waits for.
    MissingNeeds(Generation, Arc<[WorkloadName]>),
    /// The needs of this generation are met.
    NeedsMet(Generation),
    /// The configured needs have changed.
    NeedsChanged,
    /// The needs of this generation cannot be met.
    NeedsFailed(Generation, Failure),
    /// The timer with this ticket has fired.
    Timer(u64),
    /// The query timer with this ticket has fired.
    QueryTimer(u64),
    /// Answer to an effect that closes the gate: it is closed and no visit is inside.
    GateClosed,
    /// Answer to an effect that opens the gate, or closes it on a condition: it is open, because of
    /// a current or recent visit; the idle time ends after this.
    GateBusy(Duration),
    /// Answer to [`Effect::CheckSleep`](super::Effect::CheckSleep): a current or recent visit;
    /// the idle time ends after this.
    StillBusy(u64, Duration),
    /// Answer to [`Effect::CheckSleep`](super::Effect::CheckSleep): vetoed, for this reason.
    Vetoed(u64, String),
    /// Answer to [`Effect::CheckSleep`](super::Effect::CheckSleep): no veto.
    MaySleep(u64),
    /// The last visit has left, and the gate is closed.
    Drained,
    /// Result of the operation with this ticket.
    OperationResult(u64, Result<Observation, Failure>),
    /// The readiness probe of this generation has passed.
    Ready(Generation),
    /// A readiness probe of this generation has failed, for this reason.
    NotReady(Generation, Arc<str>),
    /// A provider event. A hint.
    Changed(Observation),
    /// A visitor could not connect to this generation. A hint.
    Suspected(Generation),
    /// A status query is due, whatever the phase.
    QueryStatus(Priority),
    /// The provider reports events again after a gap. The engine queries the status of all of the
    /// provider's workloads afterwards.
    Resynced,
    /// Result of the status query with this ticket.
    StatusResult(u64, Result<Observation, Failure>),
}

/// Urgency of a status query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Regular polling.
    Routine,
    /// Visitors wait for the result, or may soon.
    Urgent,
}

/// How an operator's order treats the visits inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// They have [`Policy::drain_timeout`] to end.
    Drain,
    /// They are cut off.
    AtOnce,
}

// === impl Force ===

impl Force {
    /// Time that the visits inside have.
    pub(super) fn drain_timeout(self, policy: &Policy) -> Duration {
        match self {
            Self::Drain => policy.drain_timeout,
            Self::AtOnce => Duration::ZERO,
        }
    }
}
