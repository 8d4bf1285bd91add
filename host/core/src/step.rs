//! The phase machine of one workload, as a pure function: no clock, no I/O, no lock.
//!
//! [`step`] takes the state of a workload, an input and the current time. It returns the next
//! state and the effects that the engine carries out. Provider calls, status queries, probes and
//! timers run outside the machine. Each carries a ticket or a generation, and an input with an
//! outdated one changes nothing.
//!
//! ```text
//!          wake             ready             idle or sleep         no visit left
//! Asleep ───────► Waking ───────────► Ready ───────────────► Draining ─────────► Stopping ──► Asleep
//!    ▲              │ error, deadline   │ instance ended            ▲                │ error
//!    └──────────────┼───────────────────┘                           └── a visitor ───┤ and retry
//!                   ▼                                                   waits for    ▼
//!                Failed, Missing ◄── the next due wake tries again      the next  Failed
//! ```
//!
//! A wake has four stages: slot in the pool, needs, start, readiness probe. Needs are counted on
//! the dependency: while one is held, the dependency does not go to sleep when idle, and it is
//! woken again when its instance ends. Slot and needs are released in one place, `settle`: when
//! the workload is at rest and no operation is in flight.
//!
//! Provider events are hints: they may be late, duplicated or wrong. An event leads to a status
//! query, and the query's result counts only if no operation began after the query was sent. A
//! failed query is repeated with increasing intervals until one succeeds.
//!
//! In [`State`], each phase's variant holds the data of that phase (module `phase`). Data that
//! outlives a phase has its own structure (modules `query`, `hold`, `failure`, `target`).

use std::time::Duration;

use crate::spec::Adopt;

mod effect;
mod failure;
mod hold;
mod input;
mod machine;
mod observe;
mod operation;
mod phase;
mod query;
mod sleep;
mod stage;
mod state;
mod target;
mod wake;

pub use effect::{Effect, Origin, ReadyInstance};
pub use input::{Force, Input, Priority};
pub use operation::{Operation, Renewal};
pub use stage::Stage;
pub use state::State;

use machine::Machine;

/// Time since an arbitrary origin.
pub type Moment = Duration;

/// The settings of a workload that the phase machine follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Idle time after which the workload sleeps; never when absent.
    pub idle: Option<Duration>,
    /// Limit from the start call until ready.
    pub wake_timeout: Duration,
    /// Longest wait of a wake for a slot in its pool.
    pub queue_timeout: Duration,
    /// Longest wait of a wake for its needs.
    pub needs_timeout: Duration,
    /// Time after a failed wake during which visitors get the failure instead of a new wake.
    pub cooldown: Duration,
    /// Time that an operator's sleep leaves to the visits inside.
    pub drain_timeout: Duration,
    /// Time in the light sleep before the deep sleep; absent when there is only one sleep.
    pub deep_after: Option<Duration>,
    /// Interval between sleep checks while something vetoes the sleep.
    pub veto_retry: Duration,
    /// Treatment of a target that is found running.
    pub adopt: Adopt,
    /// The workload is a job: it runs and exits, and its gate never opens.
    pub job: bool,
}

/// Returns the next state, and the effects to carry out in order.
pub fn step(policy: &Policy, state: State, input: Input, now: Moment) -> (State, Vec<Effect>) {
    let before = state.clone();
    let mut machine = Machine { policy, state, now, effects: Vec::new() };
    machine.take(input);
    machine.settle();
    let Machine { state, mut effects, .. } = machine;
    if !before.looks_like(&state) {
        effects.push(Effect::Publish);
    }
    (state, effects)
}

#[cfg(all(test, not(drowse_loom)))]
mod tests;
