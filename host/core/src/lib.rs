//! The core of drowse: workloads, the [`gate`] in front of each, the pure phase machine ([`step`])
//! and the [`engine`] that runs it. This crate contains no socket, no WASM and no SQL: providers and
//! probes are given to it as [`Provider`] and [`Prober`], and operations are recorded by
//! [`Journal`].

#![forbid(unsafe_code)]

pub mod dial;
pub mod engine;
pub mod gate;
pub mod journal;
pub mod names;
pub mod need;
pub mod probe;
pub mod provider;
pub mod schedule;
pub mod spec;
pub mod step;
mod sync;
pub mod text;

pub use dial::DialPolicy;
pub use engine::{
    AdmitError, Clock, Confirmation, Engine, EngineDeps, Instance, InstanceRecord, PhaseChange,
    PoolStatus, Snapshot, Visit, Workload, WorkloadStatus, find_cycle,
};
pub use journal::{Cause, Correlation, Entry, Journal, MemoryJournal, OperationKind, Trigger};
pub use names::{Generation, Phase, PoolName, ProviderName, WorkloadName};
pub use need::{Need, Service, Until};
pub use probe::Prober;
pub use provider::{
    Ability, Address, ErrorCode, Exit, FETCH, Failure, Health, Observation, Provider,
    ProviderEvent, ProviderState, Reason, RecreateOptions, RemoveOptions, STARTED_AT, Status,
    StopOptions, Target, Usage,
};
pub use schedule::{Alarm, InvalidSchedule, Window};
pub use spec::{
    Adopt, DeepSleep, Membership, PoolSpec, ReadyCheck, SleepMethod, SleepPlan, Veto, WakePlan,
    WorkloadSpec,
};
pub use step::{Force, Renewal, Stage};
