//! The phase machine of one workload, as a pure function: no clock, no I/O, no lock.
//!
//! [`step`] takes what the workload is, what happened and when, and says what it is now and what
//! the engine must do. Whatever waits outside (provider calls, probes, looks, the timer) is named
//! by a number or a generation, and an answer to one that no longer counts changes nothing.
//!
//! ```text
//!          wake             ready             idle or sleep         nobody inside
//! Asleep ───────► Waking ───────────► Ready ───────────────► Draining ─────────► Stopping ──► Asleep
//!    ▲              │ error, deadline   │ gone by itself            ▲                │ error
//!    └──────────────┼───────────────────┘                           └── a visitor ───┤ and again
//!                   ▼                                                   waits for    ▼
//!                Failed, Missing ◄── the next due wake tries again      the next  Failed
//! ```
//!
//! A wake goes through four stages: a place in its pool, what it needs, the start, the probe.
//! Needs are counted on the workload that is needed; while one is held it does not go to sleep by
//! itself, and when it dies it is woken again. Place and needs are given back in one spot: when
//! the machine has come to rest and nothing of it runs any more.
//!
//! Events from a provider are hints only: they may be late, doubled or wrong. They lead to a look
//! (`status`), and the look counts only if no operation began since it was asked for. A look that
//! fails is owed: it is repeated, less and less often, until one succeeds.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    journal::{Cause, Kind},
    provider::{Failure, Observation},
    spec::Adopt,
    words::{Generation, Phase, WorkloadName},
};

mod event;
mod machine;
mod observe;
mod sleep;
mod target;
mod wake;

pub use event::{Effect, Force, Input, Operation, Origin, Priority, ReadyInstance, Renewal};

use machine::Machine;

/// Time since an arbitrary beginning.
pub type Moment = Duration;

/// What the operator wants, as far as phases are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Sleeps after so long without visits; never when absent.
    pub idle: Option<Duration>,
    /// From the start until ready.
    pub wake_timeout: Duration,
    /// A wake waits so long for a place in its pool.
    pub queue_timeout: Duration,
    /// A wake waits so long for what it needs.
    pub needs_timeout: Duration,
    /// Visitors are told of a failed wake for so long before it is tried again.
    pub cooldown: Duration,
    /// An operator's sleep waits so long for the visits inside.
    pub drain_timeout: Duration,
    /// The sleep is light, and becomes deep after so long.
    pub deep_after: Option<Duration>,
    /// When something spoke against sleeping it is asked again after so long.
    pub veto_retry: Duration,
    /// What happens when it is found running.
    pub adopt: Adopt,
    /// It runs and ends by itself; its gate never opens.
    pub job: bool,
}

/// What a workload is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    phase: Option<Phase>,
    since: Moment,
    generation: Generation,
    /// What this life looks like from outside; present while waking after the start, and in Ready.
    life: Option<Arc<Observation>>,
    /// The provider call in flight.
    operation: Option<(u64, Operation)>,
    /// Numbers operations, looks, timers and questions; never reused.
    tickets: u64,
    /// The number of the last operation begun; a look asked for before it is stale.
    last_operation: u64,
    timer: Option<u64>,
    look: Option<(u64, Priority)>,
    /// So many looks have failed, one after the other.
    owed: u32,
    /// The next look is due when this timer fires.
    look_timer: Option<u64>,
    /// Something happened while looking: look again.
    look_again: Option<Priority>,
    /// Something happened that did not matter at the time: during an operation, whose answer may
    /// not know of it, or before the start.
    missed: bool,
    /// The question in flight whether something speaks against sleeping.
    question: Option<u64>,
    /// Somebody came while it was on its way to sleep.
    wake_wanted: Option<Arc<Cause>>,
    /// Why the gate is being closed.
    closing: Option<Arc<Cause>>,
    /// It does not go to sleep then: this is done to it.
    renewal: Option<Renewal>,
    /// The story being told to the journal, and why it is.
    story: Option<Kind>,
    cause: Option<Arc<Cause>>,
    /// When this life began.
    born: Moment,
    /// This life was found running, not started by us: a failure does not stop it.
    adopted: bool,
    /// It is the life before under another number: it had changed, or was restarted by its
    /// platform, while it was ready.
    continued: bool,
    /// This wake has asked the provider to start it, and nobody has put it to sleep since.
    began: bool,
    /// This wake has started it a second time already.
    restarted: bool,
    slot: Slot,
    /// It holds what it needs awake.
    needs: bool,
    /// How many others need it awake.
    held: u32,
    /// The schedule that is one of those, and which of its windows is open.
    scheduled: Option<Arc<Cause>>,
    /// An operator put it to sleep in spite of its schedule, and nobody has wanted it since.
    overruled: bool,
    /// It was put into the light sleep, and nobody has asked the provider to start it since.
    light: bool,
    /// How it was last put to sleep, and why.
    last_sleep: Option<(Operation, Arc<Cause>)>,
    failure: Option<Arc<Failure>>,
    rest_until: Option<Moment>,
    /// While it is needed it is not woken again before this.
    again_at: Option<Moment>,
    failed_stops: u32,
    failed_wakes: u32,
    /// An operation has failed, and may have worked all the same or left it running; nothing has
    /// been seen of it since.
    may_run: bool,
    /// It has failed and may run: it must be looked at.
    unsure: bool,
    /// Where it stands in its pool's queue: place and length.
    place: Option<(usize, usize)>,
    /// What it still waits for.
    missing_needs: Arc<[WorkloadName]>,
    /// What the last probe saw instead of readiness.
    seen: Option<Arc<str>>,
    /// The last life in which it ran to its end, if it is a job.
    completed: Option<Generation>,
    target: target::Target,
    /// The wake waits for a removed target to be recreated; how its absence was found.
    absent: Option<Arc<str>>,
    /// Deadline of the wake, from its first start.
    wake_until: Moment,
}

/// Its place among those that share a ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Slot {
    #[default]
    None,
    Asked,
    Held,
    /// It sleeps lightly: it uses memory, but no place.
    Light,
}

/// What a wake is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// It waits for its turn in the pool; the next one has place 1.
    Queued {
        /// Its place.
        place: usize,
        /// How many wait.
        of: usize,
    },
    /// It waits for what it needs: for these.
    Needs(Arc<[WorkloadName]>),
    /// The provider starts it.
    Starting,
    /// It was removed a moment ago, and another target of its name is waited for.
    Absent,
    /// It runs and is looked at; what was seen last instead of readiness, in operators' words.
    Probing(Option<Arc<str>>),
}

/// The next state, and what to do.
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

// === impl State ===

impl State {
    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        self.phase.unwrap_or(Phase::Asleep)
    }

    /// When it entered this phase.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Its life's number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Why the last wake or sleep went wrong.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        self.failure.as_ref()
    }

    /// Until when visitors are told of the failure instead of a new try.
    pub fn cooldown_until(&self) -> Option<Moment> {
        self.rest_until
    }

    /// The provider call in flight.
    pub fn operation(&self) -> Option<Operation> {
        self.operation.map(|(_, operation)| operation)
    }

    /// It may be renewed now: nothing takes it to sleep, and nothing renews it.
    pub fn may_be_renewed(&self) -> bool {
        let starts = self.operation().is_none_or(|operation| operation == Operation::Start);
        starts && !matches!(self.phase(), Phase::Draining | Phase::Stopping)
    }

    /// It is about to be renewed, or is being renewed.
    pub fn is_renewed(&self) -> bool {
        self.renewal.is_some() || matches!(self.operation(), Some(Operation::Renew(_)))
    }

    /// What this life looks like from outside.
    pub fn observation(&self) -> Option<&Arc<Observation>> {
        self.life.as_ref()
    }

    /// How many others need it awake.
    pub fn needed_by(&self) -> u32 {
        self.held
    }

    /// Something keeps it awake that an operator's order does not overrule. [`Force::AtOnce`]
    /// overrules a schedule.
    pub fn is_kept_awake(&self, force: Force) -> bool {
        let spared = self.overruled || force == Force::AtOnce && self.scheduled.is_some();
        self.held > u32::from(spared)
    }

    /// It sleeps, and a wake from there takes milliseconds.
    pub fn sleeps_lightly(&self) -> bool {
        self.light && matches!(self.phase(), Phase::Asleep | Phase::Failed) && self.is_settled()
    }

    /// Nothing is done with it, and nothing is left to do.
    fn is_settled(&self) -> bool {
        self.operation.is_none() && self.failed_stops == 0 && !self.unsure
    }

    /// If it runs, or is about to, then because of us.
    pub fn is_owned(&self) -> bool {
        self.began || self.may_run
    }

    /// The first look that will know of everything that has happened so far, if one is on its
    /// way.
    pub fn pending_query(&self) -> Option<u64> {
        self.look.map(|(ticket, _)| ticket + u64::from(self.look_again.is_some()))
    }

    /// The number of the first look that will know of everything that has happened so far, whether
    /// it is on its way or not.
    pub(crate) fn next_query(&self) -> u64 {
        self.pending_query().unwrap_or(self.tickets + 1)
    }

    /// What the provider has answered by this input, and the number of the question, if the answer
    /// counts.
    pub(crate) fn counted_result<'a>(&self, input: &'a Input) -> Option<(u64, &'a Observation)> {
        let (ticket, seen) = match input {
            Input::OperationResult(ticket, Ok(seen)) | Input::StatusResult(ticket, Ok(seen)) => {
                (*ticket, seen)
            }
            _ => return None,
        };
        let counts = match input {
            Input::OperationResult(..) => self.operation.is_some_and(|(own, _)| own == ticket),
            _ => {
                let stale = self.last_operation > ticket || self.operation.is_some();
                self.look.is_some_and(|(own, _)| own == ticket) && !stale
            }
        };
        counts.then_some((ticket, seen))
    }

    /// It keeps awake what it needs.
    pub fn holds_needs(&self) -> bool {
        self.needs
    }

    /// Somebody came while it was on its way to sleep: it is woken next.
    pub fn wake_wanted(&self) -> bool {
        self.wake_wanted.is_some()
    }

    /// The last life in which it ran to its end, if it is a job.
    pub fn completed(&self) -> Option<Generation> {
        self.completed
    }

    /// What its wake is doing.
    pub fn stage(&self) -> Option<Stage> {
        if self.phase() != Phase::Waking {
            return None;
        }
        Some(if self.life.is_some() {
            Stage::Probing(self.seen.clone())
        } else if self.slot == Slot::Asked {
            let (place, of) = self.place.unwrap_or((1, 1));
            Stage::Queued { place, of }
        } else if self.is_absent() {
            Stage::Absent
        } else if self.began {
            Stage::Starting
        } else {
            Stage::Needs(self.missing_needs.clone())
        })
    }

    /// Nobody outside could tell the difference.
    fn looks_like(&self, other: &Self) -> bool {
        let shown = |state: &Self| {
            let phase = (state.phase(), state.generation, state.stage(), state.completed);
            (phase, state.failure.clone(), state.rest_until, state.wake_wanted())
        };
        shown(self) == shown(other)
    }
}

// === impl Stage ===

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { place, of } => write!(f, "waits for a place, {place} of {of}"),
            Self::Needs(names) => {
                let names: Vec<_> = names.iter().map(WorkloadName::as_str).collect();
                write!(f, "waits for {}", names.join(", "))
            }
            Self::Starting => f.write_str("is being started"),
            Self::Absent => f.write_str("was removed; waits for a new one of its name"),
            Self::Probing(None) => f.write_str("runs and is looked at"),
            Self::Probing(Some(seen)) => write!(f, "runs, not ready: {seen}"),
        }
    }
}

#[cfg(all(test, not(drowse_loom)))]
mod tests;
