//! The phase machine of one workload, as a pure function: no clock, no I/O, no lock.
//!
//! [`step`] takes what the workload is, what happened and when, and says what it is now and what
//! the engine must do. Whatever waits outside (provider calls, probes, looks, the timer) is named
//! by a number, and an answer to a number that no longer counts changes nothing.
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
//! Events from a provider are hints only: they may be late, doubled or wrong. They lead to a look
//! (`status`), and the look counts only if no operation began since it was asked for.

use std::{sync::Arc, time::Duration};

use crate::{
    provider::{ErrorCode, Failure, Observation, Status},
    words::{Generation, Phase},
};

/// Time since an arbitrary beginning.
pub type Moment = Duration;

/// What the operator wants, as far as phases are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Sleeps after so long without visits; never when absent.
    pub idle: Option<Duration>,
    /// From a wake's begin until ready.
    pub wake_timeout: Duration,
    /// Visitors are told of a failed wake for so long before it is tried again.
    pub cooldown: Duration,
    /// An operator's sleep waits so long for the visits inside.
    pub drain: Duration,
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
    /// Numbers operations, looks and timers; never reused.
    tickets: u64,
    /// The number of the last operation begun; a look asked for before it is stale.
    last_operation: u64,
    timer: Option<u64>,
    look: Option<u64>,
    /// Something happened while looking: look again.
    look_again: bool,
    /// Somebody came while it was on its way to sleep.
    wake_wanted: bool,
    /// This life was found running, not started by us: a failure does not stop it.
    adopted: bool,
    /// This wake has started it a second time already.
    restarted: bool,
    failure: Option<Arc<Failure>>,
    rest_until: Option<Moment>,
    failed_stops: u32,
    /// What the last probe saw instead of readiness.
    seen: Option<String>,
}

/// A provider call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Make it run.
    Start,
    /// Put it to sleep, by whatever method the operator chose.
    Sleep,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A visitor wants it awake.
    Wake,
    /// An operator wants it awake: no cool-down.
    OperatorWake,
    /// An operator wants it asleep.
    OperatorSleep,
    /// The timer of this number is over.
    Timer(u64),
    /// Answer to [`Effect::CloseGateIfIdle`]: closed, nobody is inside.
    GateClosed,
    /// Answer to [`Effect::CloseGateIfIdle`]: somebody was inside lately; ask again after this.
    GateBusy(Duration),
    /// The last visit has left through the closed gate.
    Drained,
    /// The provider answered this operation.
    Answered(u64, Result<Observation, Failure>),
    /// The workload of this generation is truly ready.
    Ready(Generation),
    /// A probe of this generation saw this instead.
    NotReady(Generation, String),
    /// The provider reports a change. A hint.
    Changed(Observation),
    /// Something suggests that this generation is gone. A hint.
    Suspected(Generation),
    /// Look what the provider says, whatever is believed.
    Look,
    /// Answer to the look of this number.
    Looked(u64, Result<Observation, Failure>),
}

/// What the engine must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Call the provider; answer with [`Input::Answered`].
    Operate(u64, Operation),
    /// Drop the provider call in flight.
    CancelOperation,
    /// Ask the provider for the status; answer with [`Input::Looked`].
    Look(u64),
    /// Probe this life until it is ready; answer with [`Input::Ready`].
    Probe(Generation, Arc<Observation>),
    /// Something changed: probe at once.
    Nudge,
    /// Stop probing.
    StopProbe,
    /// Let visitors in, to this life.
    OpenGate(Generation, Arc<Observation>),
    /// Let nobody in any more; answer with [`Input::Drained`] if nobody is inside.
    CloseGate,
    /// Close the gate if nobody has been inside for the idle time; answer with
    /// [`Input::GateClosed`] or [`Input::GateBusy`].
    CloseGateIfIdle,
    /// Send [`Input::Timer`] with this number after this time; the timer before is off.
    Arm(u64, Duration),
    /// The timer is off.
    Disarm,
    /// Phase, generation or failure changed: tell everybody.
    Publish,
}

/// The next state, and what to do.
pub fn step(policy: &Policy, state: State, input: Input, now: Moment) -> (State, Vec<Effect>) {
    let before = (state.phase(), state.generation, state.failure.clone());
    let mut machine = Machine { policy, state, now, effects: Vec::new() };
    machine.take(input);
    let Machine { state, mut effects, .. } = machine;
    if before != (state.phase(), state.generation, state.failure.clone()) {
        effects.push(Effect::Publish);
    }
    (state, effects)
}

struct Machine<'a> {
    policy: &'a Policy,
    state: State,
    now: Moment,
    effects: Vec<Effect>,
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
    pub fn rest_until(&self) -> Option<Moment> {
        self.rest_until
    }

    /// The provider call in flight.
    pub fn operation(&self) -> Option<Operation> {
        self.operation.map(|(_, operation)| operation)
    }

    /// What this life looks like from outside.
    pub fn life(&self) -> Option<&Arc<Observation>> {
        self.life.as_ref()
    }
}

// === impl Machine ===

impl Machine<'_> {
    fn take(&mut self, input: Input) {
        match input {
            Input::Wake => self.wake(false),
            Input::OperatorWake => self.wake(true),
            Input::OperatorSleep => self.operator_sleep(),
            Input::Timer(ticket) if self.state.timer == Some(ticket) => {
                self.state.timer = None;
                self.timer();
            }
            Input::GateClosed if self.state.phase() == Phase::Ready => self.begin_sleep(),
            Input::GateBusy(again) if self.state.phase() == Phase::Ready => self.arm(again),
            Input::Drained if self.state.phase() == Phase::Draining => self.begin_sleep(),
            Input::Answered(ticket, result) => {
                if let Some((_, operation)) =
                    self.state.operation.take_if(|(number, _)| *number == ticket)
                {
                    match operation {
                        Operation::Start => self.started(result),
                        Operation::Sleep => self.slept(result),
                    }
                }
            }
            Input::Ready(generation) if self.probing(generation) => self.ready(),
            Input::NotReady(generation, seen) if self.probing(generation) => {
                self.state.seen = Some(seen);
            }
            Input::Changed(observation) => self.changed(&observation),
            Input::Suspected(generation)
                if generation == self.state.generation && self.state.phase() == Phase::Ready =>
            {
                self.look();
            }
            Input::Look => self.look(),
            Input::Looked(ticket, result) if self.state.look == Some(ticket) => {
                self.state.look = None;
                let stale = self.state.last_operation > ticket || self.state.operation.is_some();
                if std::mem::take(&mut self.state.look_again) {
                    self.look();
                } else if let (false, Ok(observation)) = (stale, result) {
                    self.looked(observation);
                }
            }
            // An answer that no longer counts.
            Input::Timer(_)
            | Input::GateClosed
            | Input::GateBusy(_)
            | Input::Drained
            | Input::Ready(_)
            | Input::NotReady(..)
            | Input::Suspected(_)
            | Input::Looked(..) => {}
        }
    }

    // --- waking

    fn wake(&mut self, operator: bool) {
        match self.state.phase() {
            Phase::Waking | Phase::Ready => {}
            Phase::Draining | Phase::Stopping => self.state.wake_wanted = true,
            Phase::Asleep | Phase::Failed | Phase::Missing => {
                if !operator && self.resting() {
                    return;
                }
                if self.state.operation.is_some() {
                    self.state.wake_wanted = true;
                } else {
                    self.begin_wake();
                }
            }
        }
    }

    fn resting(&self) -> bool {
        self.state.rest_until.is_some_and(|until| self.now < until)
    }

    fn begin_wake(&mut self) {
        self.new_life(false);
        self.operate(Operation::Start);
    }

    /// It runs although nobody here started it.
    fn adopt(&mut self, observation: Observation) {
        self.new_life(true);
        self.probe(observation);
    }

    fn new_life(&mut self, adopted: bool) {
        self.state.generation = self.state.generation.next();
        self.state.adopted = adopted;
        self.state.restarted = false;
        self.state.wake_wanted = false;
        self.state.failure = None;
        self.state.rest_until = None;
        self.state.failed_stops = 0;
        self.enter(Phase::Waking);
        self.arm(self.policy.wake_timeout);
    }

    fn started(&mut self, result: Result<Observation, Failure>) {
        match result {
            _ if self.state.phase() != Phase::Waking => {}
            Ok(observation) if gone(&observation.status) => self.died_waking(&observation),
            Ok(observation) => self.probe(observation),
            Err(failure) => {
                // The platform may have done it all the same: see what became of it.
                let look = matches!(failure.code, ErrorCode::Timeout | ErrorCode::Internal);
                self.fail(failure);
                if look {
                    self.look();
                }
            }
        }
    }

    fn probe(&mut self, observation: Observation) {
        let life = Arc::new(observation);
        self.state.seen = None;
        self.state.life = Some(life.clone());
        self.effects.push(Effect::Probe(self.state.generation, life));
    }

    fn probing(&self, generation: Generation) -> bool {
        self.state.phase() == Phase::Waking
            && self.state.generation == generation
            && self.state.life.is_some()
    }

    fn ready(&mut self) {
        let Some(life) = self.state.life.clone() else { return };
        self.enter(Phase::Ready);
        self.state.life = Some(life.clone());
        self.effects.push(Effect::OpenGate(self.state.generation, life));
        if let Some(idle) = self.policy.idle {
            self.arm(idle);
        }
    }

    /// It was started and does not run any more: once more, then the wake has failed.
    fn died_waking(&mut self, observation: &Observation) {
        if !self.state.restarted && !self.state.adopted && observation.status != Status::Missing {
            self.state.restarted = true;
            self.state.life = None;
            self.effects.push(Effect::StopProbe);
            self.operate(Operation::Start);
            return;
        }
        let code = match observation.status {
            Status::Missing => ErrorCode::NotFound,
            _ => ErrorCode::Unavailable,
        };
        let word = &observation.native_status;
        let detail = observation.detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default();
        self.fail(Failure::new(code, format!("it was started and is {word} again{detail}")));
    }

    fn fail(&mut self, failure: Failure) {
        let phase = match failure.code {
            ErrorCode::NotFound => Phase::Missing,
            _ => Phase::Failed,
        };
        self.enter(phase);
        self.state.failure = Some(Arc::new(failure));
        self.state.rest_until = Some(self.now + self.policy.cooldown);
    }

    fn wake_timed_out(&mut self) {
        let what = match (&self.state.operation, &self.state.seen) {
            (Some(_), _) => "the provider has not answered the start".to_owned(),
            (None, Some(seen)) => format!("last seen: {seen}"),
            (None, None) => "no probe has come back".to_owned(),
        };
        if self.state.operation.take().is_some() {
            self.effects.push(Effect::CancelOperation);
        }
        let timeout = self.policy.wake_timeout;
        self.fail(Failure::new(
            ErrorCode::Timeout,
            format!("it was not ready within {timeout:?}; {what}"),
        ));
        if !self.state.adopted {
            self.operate(Operation::Sleep);
        }
    }

    // --- going to sleep

    fn operator_sleep(&mut self) {
        match self.state.phase() {
            Phase::Asleep | Phase::Missing => self.look(),
            Phase::Draining | Phase::Stopping => self.state.wake_wanted = false,
            Phase::Ready => {
                self.enter(Phase::Draining);
                self.arm(self.policy.drain);
                self.effects.push(Effect::CloseGate);
            }
            Phase::Waking => {
                if self.state.operation.take().is_some() {
                    self.effects.push(Effect::CancelOperation);
                }
                self.begin_sleep();
            }
            Phase::Failed if self.state.operation.is_none() => self.begin_sleep(),
            Phase::Failed => {}
        }
    }

    /// Nobody is inside, or an operator would not wait any longer.
    fn begin_sleep(&mut self) {
        self.enter(Phase::Stopping);
        self.operate(Operation::Sleep);
    }

    fn slept(&mut self, result: Result<Observation, Failure>) {
        let phase = self.state.phase();
        match result {
            _ if !matches!(phase, Phase::Stopping | Phase::Failed) => {}
            Ok(_) | Err(Failure { code: ErrorCode::NotFound, .. }) => {
                self.state.failed_stops = 0;
                if self.state.wake_wanted {
                    self.begin_wake();
                } else if phase == Phase::Stopping {
                    let missing = !matches!(&result, Ok(seen) if seen.status != Status::Missing);
                    self.state.failure = None;
                    self.state.rest_until = None;
                    self.enter(if missing { Phase::Missing } else { Phase::Asleep });
                }
            }
            // A start makes it run from whatever state the failed stop left.
            Err(_) if self.state.wake_wanted => self.begin_wake(),
            Err(failure) => {
                let attempts = self.state.failed_stops + 1;
                self.enter(Phase::Failed);
                self.state.failed_stops = attempts;
                let again = stop_backoff(attempts);
                self.state.failure = Some(Arc::new(Failure::new(
                    failure.code,
                    format!("{}; going to sleep is tried again in {again:?}", failure.message),
                )));
                self.arm(again);
            }
        }
    }

    // --- the timer

    fn timer(&mut self) {
        match self.state.phase() {
            Phase::Waking => self.wake_timed_out(),
            Phase::Ready => self.effects.push(Effect::CloseGateIfIdle),
            Phase::Draining => self.begin_sleep(),
            Phase::Failed if self.state.failed_stops > 0 && self.state.operation.is_none() => {
                let attempts = self.state.failed_stops;
                self.begin_sleep();
                self.state.failed_stops = attempts;
            }
            Phase::Failed | Phase::Asleep | Phase::Stopping | Phase::Missing => {}
        }
    }

    // --- what the provider says by itself

    fn changed(&mut self, seen: &Observation) {
        if self.state.operation.is_some() {
            return;
        }
        let look = match self.state.phase() {
            Phase::Draining | Phase::Stopping => false,
            Phase::Waking => {
                self.effects.push(Effect::Nudge);
                self.differs(seen)
            }
            Phase::Ready => self.differs(seen),
            Phase::Asleep => !matches!(seen.status, Status::Stopped | Status::Paused),
            Phase::Failed => runs(&seen.status),
            Phase::Missing => seen.status != Status::Missing,
        };
        if look {
            self.look();
        }
    }

    fn differs(&self, seen: &Observation) -> bool {
        self.state.life.as_ref().is_none_or(|life| {
            !runs(&seen.status)
                || life.native_id != seen.native_id
                || life.addresses != seen.addresses
        })
    }

    fn look(&mut self) {
        if self.state.look.is_some() {
            self.state.look_again = true;
            return;
        }
        let ticket = self.ticket();
        self.state.look = Some(ticket);
        self.effects.push(Effect::Look(ticket));
    }

    fn looked(&mut self, seen: Observation) {
        match self.state.phase() {
            Phase::Draining | Phase::Stopping => {}
            Phase::Waking if gone(&seen.status) => self.died_waking(&seen),
            Phase::Waking if self.differs(&seen) && runs(&seen.status) => {
                self.effects.push(Effect::StopProbe);
                self.probe(seen);
            }
            Phase::Waking => {}
            Phase::Ready if gone(&seen.status) => {
                self.effects.push(Effect::CloseGate);
                self.enter(match seen.status {
                    Status::Missing => Phase::Missing,
                    _ => Phase::Asleep,
                });
            }
            Phase::Ready if self.differs(&seen) => {
                // Another life under the same name: it must show that it is ready.
                self.effects.push(Effect::CloseGate);
                self.adopt(seen);
            }
            Phase::Ready => {}
            Phase::Failed if self.state.failed_stops > 0 => {}
            Phase::Asleep | Phase::Failed | Phase::Missing if runs(&seen.status) => {
                self.adopt(seen);
            }
            Phase::Asleep if seen.status == Status::Missing => self.enter(Phase::Missing),
            Phase::Missing if seen.status != Status::Missing => {
                self.state.failure = None;
                self.state.rest_until = None;
                self.enter(Phase::Asleep);
            }
            Phase::Asleep | Phase::Failed | Phase::Missing => {}
        }
    }

    // --- small steps

    fn enter(&mut self, phase: Phase) {
        if self.state.phase() == Phase::Waking && self.state.life.is_some() {
            self.effects.push(Effect::StopProbe);
        }
        if self.state.timer.take().is_some() {
            self.effects.push(Effect::Disarm);
        }
        self.state.phase = Some(phase);
        self.state.since = self.now;
        self.state.life = None;
        self.state.seen = None;
        self.state.failed_stops = 0;
    }

    fn operate(&mut self, operation: Operation) {
        let ticket = self.ticket();
        self.state.last_operation = ticket;
        self.state.operation = Some((ticket, operation));
        self.effects.push(Effect::Operate(ticket, operation));
    }

    fn arm(&mut self, after: Duration) {
        let ticket = self.ticket();
        self.state.timer = Some(ticket);
        self.effects.push(Effect::Arm(ticket, after));
    }

    fn ticket(&mut self) -> u64 {
        self.state.tickets += 1;
        self.state.tickets
    }
}

/// It does not serve and will not by itself.
fn gone(status: &Status) -> bool {
    matches!(status, Status::Stopped | Status::Paused | Status::Failed | Status::Missing)
}

fn runs(status: &Status) -> bool {
    matches!(status, Status::Running | Status::Starting)
}

/// 1 s, doubling to 5 min.
fn stop_backoff(attempts: u32) -> Duration {
    Duration::from_secs(1 << (attempts.saturating_sub(1)).min(8)).min(Duration::from_secs(300))
}

#[cfg(all(test, not(drowse_loom)))]
mod tests;
