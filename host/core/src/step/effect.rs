//! Effects of the phase machine.

use std::{sync::Arc, time::Duration};

use super::{Operation, Priority};
use crate::{
    journal::{Cause, OperationKind},
    names::Generation,
    provider::{Failure, Observation},
};

/// An action of the engine. The effects of a step are carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Begin an operation record.
    BeginRecord(OperationKind, Arc<Cause>),
    /// End the operation record with this outcome.
    EndRecord(Result<(), Arc<Failure>>),
    /// Request a slot of the pool for this generation; answer with `Input::SlotGranted` or
    /// `Input::SlotRefused`.
    RequestSlot(Generation),
    /// Take a slot even if the pool is full: the target runs already.
    ClaimSlot,
    /// Give the slot back and keep the memory: the target sleeps lightly.
    KeepMemoryOnly,
    /// Give slot and memory back, or withdraw the request.
    ReleaseSlot,
    /// Hold exactly the needs of this generation awake; answer with `Input::NeedsMet` or
    /// `Input::NeedsFailed`.
    TakeNeeds(Generation),
    /// Hold exactly the needs of this generation awake, without waiting for them and without
    /// running jobs: the target runs already.
    KeepNeeds(Generation),
    /// Release the needs.
    ReleaseNeeds,
    /// Call the provider; answer with `Input::OperationResult`.
    Operate(u64, Operation),
    /// Cancel the provider call in flight.
    CancelOperation,
    /// Query the status from the provider; answer with `Input::StatusResult`. An urgent query
    /// replaces a routine one in flight.
    QueryStatus(u64, Priority),
    /// Probe this generation until it is ready; answer with `Input::Ready`.
    Probe(Generation, Arc<Observation>),
    /// Probe now: a provider event arrived.
    ProbeNow,
    /// Stop probing.
    StopProbe,
    /// Open the gate to this instance; answer with `Input::GateBusy`.
    OpenGate(ReadyInstance),
    /// Close the gate; answer with `Input::Drained` if no visit is inside.
    CloseGate,
    /// Close the gate if no visit is inside; answer with `Input::GateClosed` or
    /// `Input::GateBusy`.
    CloseGateIfEmpty,
    /// If there was no visit for the idle time, check the vetoes; answer with
    /// `Input::StillBusy`, `Input::Vetoed` or `Input::MaySleep`.
    CheckSleep(u64),
    /// Cancel the sleep check.
    CancelSleepCheck,
    /// Close the gate if there was no visit for the idle time; answer with `Input::GateClosed`
    /// or `Input::GateBusy`.
    CloseGateIfIdle,
    /// Restart the idle time.
    RestartIdleTime,
    /// Send `Input::Timer` with this ticket after this time; replaces the timer.
    ArmTimer(u64, Duration),
    /// Cancel the timer.
    DisarmTimer,
    /// Send `Input::QueryTimer` with this ticket after this time; replaces the query timer.
    ArmQueryTimer(u64, Duration),
    /// Cancel the query timer.
    DisarmQueryTimer,
    /// Publish a snapshot: phase, generation, stage or failure has changed.
    Publish,
}

/// The instance that an open gate leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyInstance {
    /// Generation of the workload.
    pub generation: Generation,
    /// Last observation before it was ready.
    pub observation: Arc<Observation>,
    /// How it came to run.
    pub origin: Origin,
}

/// How an instance came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Started by this router.
    Started,
    /// Found running.
    Adopted,
    /// The previous generation's instance, changed or restarted by its platform.
    Continued,
}
