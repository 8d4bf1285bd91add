//! What goes into the machine and what comes out of it.

use std::{sync::Arc, time::Duration};

use crate::{
    journal::{Cause, Kind, Source},
    provider::{Failure, Observation},
    words::{Generation, WorkloadName},
};

/// A provider call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Make it run.
    Start,
    /// Put it to sleep, by whatever method the operator chose.
    Sleep,
    /// Put it into the deepest sleep it has: not even its memory is kept.
    DeepSleep,
    /// An operator has it renewed.
    Renew(Renewal),
}

/// What an operator has done to a workload that is meant to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is stopped, and woken next.
    Restart,
    /// It is made anew from what it was made of; and woken next, if it was awake or on its way.
    Recreate {
        /// What it is made of is fetched again before.
        refresh: bool,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody wants it awake. A cool-down does not count for an operator.
    Wake(Arc<Cause>),
    /// An operator wants it asleep; at once, whoever is inside, when forced.
    Sleep(Arc<Cause>, Force),
    /// An operator wants it renewed. Changes nothing while it is on its way to sleep.
    Renew(Arc<Cause>, Force, Renewal),
    /// Its place is needed: it goes to sleep if nobody is inside and nobody needs it.
    Evict(Arc<Cause>),
    /// Somebody needs it awake from now on. Each is answered by one [`Input::Release`] of the same kind.
    Hold(Arc<Cause>),
    /// Somebody of this kind does not need it any more.
    Release(Source),
    /// The pool has a place for this life.
    SlotGranted(Generation),
    /// The pool has none and no room to wait in.
    SlotRefused(Generation, Failure),
    /// Its place in the queue, and how many wait.
    QueuePosition(usize, usize),
    /// What this life still waits for.
    MissingNeeds(Generation, Arc<[WorkloadName]>),
    /// What this life needs is there.
    NeedsMet(Generation),
    /// It needs others than before.
    NeedsChanged,
    /// What this life needs will not come.
    NeedsFailed(Generation, Failure),
    /// The timer of this number is over.
    Timer(u64),
    /// The time until the next look is over; its number.
    QueryTimer(u64),
    /// Answer to an effect that closes the gate: closed, nobody is inside.
    GateClosed,
    /// Answer to an effect that opens the gate, or closes it if that may be: somebody is or was
    /// inside lately; the idle time is over after this.
    GateBusy(Duration),
    /// Answer to [`Effect::CheckSleep`]: somebody is or was inside lately; the idle time is over
    /// after this.
    StillBusy(u64, Duration),
    /// Answer to [`Effect::CheckSleep`]: this speaks against it.
    Vetoed(u64, String),
    /// Answer to [`Effect::CheckSleep`]: nothing speaks against it.
    MaySleep(u64),
    /// The last visit has left through the closed gate.
    Drained,
    /// The provider answered this operation.
    OperationResult(u64, Result<Observation, Failure>),
    /// The workload of this generation is truly ready.
    Ready(Generation),
    /// A probe of this generation saw this instead.
    NotReady(Generation, Arc<str>),
    /// The provider reports a change. A hint.
    Changed(Observation),
    /// Something suggests that this generation is gone. A hint.
    Suspected(Generation),
    /// Look what the provider says, whatever is believed.
    QueryStatus(Priority),
    /// The provider reports again after a gap: its platform was away, or the way to it.
    Resynced,
    /// Answer to the look of this number.
    StatusResult(u64, Result<Observation, Failure>),
}

/// What waits for the answer of a status query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Nothing: the router polls.
    Routine,
    /// Visitors, or soon.
    Urgent,
}

/// How an operator's order treats the visits inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// They have [`Policy::drain`] to end.
    Drain,
    /// They are cut off.
    AtOnce,
}

/// What the engine must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A story begins.
    BeginRecord(Kind, Arc<Cause>),
    /// The story ends, well or not.
    EndRecord(Result<(), Arc<Failure>>),
    /// Ask the pool for a place for this life; answer with [`Input::SlotGranted`] or
    /// [`Input::SlotRefused`].
    RequestSlot(Generation),
    /// It runs already: it has its place whether there is one or not.
    ClaimSlot,
    /// It uses memory and no place.
    KeepMemoryOnly,
    /// It uses nothing, and asks for nothing any more.
    ReleaseSlot,
    /// Hold awake what this life needs, and nothing else; answer with [`Input::NeedsMet`] or
    /// [`Input::NeedsFailed`].
    TakeNeeds(Generation),
    /// Hold awake what this life needs, and nothing else. It runs already: nothing is waited for,
    /// no job is run.
    KeepNeeds(Generation),
    /// What it needed may sleep.
    ReleaseNeeds,
    /// Call the provider; answer with [`Input::OperationResult`].
    Operate(u64, Operation),
    /// Drop the provider call in flight.
    CancelOperation,
    /// Ask the provider for the status; answer with [`Input::StatusResult`]. An urgent query replaces a
    /// routine one that is not answered yet.
    QueryStatus(u64, Priority),
    /// Probe this life until it is ready; answer with [`Input::Ready`].
    Probe(Generation, Arc<Observation>),
    /// Something changed: probe at once.
    ProbeNow,
    /// Stop probing.
    StopProbe,
    /// Let visitors in, to this life; answer with [`Input::GateBusy`].
    OpenGate(ReadyInstance),
    /// Let nobody in any more; answer with [`Input::Drained`] if nobody is inside.
    CloseGate,
    /// Close the gate if nobody is inside; answer with [`Input::GateClosed`] or
    /// [`Input::GateBusy`].
    CloseGateIfEmpty,
    /// If nobody has been inside for the idle time, ask what may speak against sleeping; answer
    /// with [`Input::StillBusy`], [`Input::Vetoed`] or [`Input::MaySleep`].
    CheckSleep(u64),
    /// The question does not matter any more.
    CancelSleepCheck,
    /// Close the gate if nobody has been inside for the idle time; answer with
    /// [`Input::GateClosed`] or [`Input::GateBusy`].
    CloseGateIfIdle,
    /// The idle time begins now.
    RestartIdleTime,
    /// Send [`Input::Timer`] with this number after this time; the timer before is off.
    ArmTimer(u64, Duration),
    /// The timer is off.
    DisarmTimer,
    /// Send [`Input::QueryTimer`] with this number after this time; the one before is off.
    ArmQueryTimer(u64, Duration),
    /// The timer for the next look is off.
    DisarmQueryTimer,
    /// Phase, generation, failure or stage changed: tell everybody.
    Publish,
}

/// One life of a workload that visitors may enter.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyInstance {
    /// Which.
    pub generation: Generation,
    /// What it looks like from outside.
    pub observation: Arc<Observation>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a life comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was started here.
    Started,
    /// It was found running.
    Adopted,
    /// It is the life before under another number.
    Continued,
}
