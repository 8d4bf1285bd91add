//! The heart of drowse: what a workload is, the [`gate`] in front of it, the pure phase machine
//! ([`step`]) and the [`engine`] that runs it. This crate knows no socket, no WASM and no SQL:
//! providers and probes come in through the traits [`Provider`] and [`Prober`].

#![forbid(unsafe_code)]

pub mod engine;
pub mod gate;
pub mod probe;
pub mod provider;
pub mod spec;
pub mod step;
mod sync;
pub mod words;

pub use engine::{Engine, PhaseChange, Snapshot, Turned, Visit, Workload, WorkloadStatus};
pub use probe::Prober;
pub use provider::{
    Ability, Address, ErrorCode, Failure, Health, Observation, Provider, ProviderEvent,
    ProviderState, Status, StopOptions, Target,
};
pub use spec::{ReadyCheck, SleepMethod, SleepPlan, WakePlan, WorkloadSpec};
pub use words::{Generation, Phase, ProviderName, WorkloadName};
