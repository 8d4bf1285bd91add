//! What each input means in each phase, and the small steps that the others are made of.

use std::{sync::Arc, time::Duration};

use super::{Effect, Force, Input, Moment, Operation, Policy, Priority, Slot, State};
use crate::{
    journal::{Cause, Kind, Source},
    provider::{ErrorCode, Failure},
    words::Phase,
};

/// One that is needed and dies younger than this is not woken again at once.
const SHORT_LIFE: Duration = Duration::from_secs(10);

/// One step being taken.
pub(super) struct Machine<'a> {
    pub(super) policy: &'a Policy,
    pub(super) state: State,
    pub(super) now: Moment,
    pub(super) effects: Vec<Effect>,
}

impl Machine<'_> {
    pub(super) fn take(&mut self, input: Input) {
        let (phase, generation) = (self.state.phase(), self.state.generation);
        match input {
            Input::Wake(cause) => self.wake(cause),
            Input::Sleep(cause, force) => self.operator_sleep(cause, force),
            Input::Renew(cause, force, renewal) => self.renew(cause, force, renewal),
            Input::Evict(cause) => self.evict(cause),
            Input::Hold(cause) => self.hold(cause),
            Input::Release(source) => self.released(source),
            Input::SlotGranted(of) if of == generation && self.queued() => self.granted(),
            Input::SlotRefused(of, failure) if of == generation && self.queued() => {
                self.fail(failure);
                self.find_out();
            }
            Input::QueuePosition(place, of) if self.queued() => {
                self.state.place = Some((place, of))
            }
            Input::MissingNeeds(of, left) if of == generation && self.waits_for_needs() => {
                self.state.missing_needs = left;
            }
            Input::NeedsMet(of) if of == generation && self.waits_for_needs() => self.start(),
            Input::NeedsFailed(of, failure) if of == generation && self.waits_for_needs() => {
                self.fail(failure);
                self.find_out();
            }
            Input::NeedsChanged if self.waits_for_needs() => {
                self.effects.push(Effect::TakeNeeds(generation));
            }
            Input::NeedsChanged if self.state.needs => {
                self.effects.push(Effect::KeepNeeds(generation));
            }
            Input::Timer(ticket) if self.state.timer == Some(ticket) => {
                self.state.timer = None;
                self.timer();
            }
            Input::QueryTimer(ticket) if self.state.look_timer == Some(ticket) => {
                self.state.look_timer = None;
                self.look_timer();
            }
            Input::GateClosed if phase == Phase::Ready => self.begin_sleep(Operation::Sleep),
            Input::GateBusy(again) if phase == Phase::Ready => self.gate_busy(again),
            Input::Vetoed(ticket, _) if self.state.question == Some(ticket) => {
                self.state.question = None;
                self.arm(self.policy.veto_retry);
            }
            Input::StillBusy(ticket, again) if self.state.question == Some(ticket) => {
                self.state.question = None;
                self.arm(again);
            }
            Input::MaySleep(ticket) if self.state.question == Some(ticket) => {
                self.state.question = None;
                self.may_sleep();
            }
            Input::Drained if phase == Phase::Draining => self.begin_sleep(Operation::Sleep),
            Input::OperationResult(ticket, result) => {
                let ours = |operation: &mut (u64, Operation)| operation.0 == ticket;
                match self.state.operation.take_if(ours) {
                    Some((_, Operation::Start)) => self.started(result),
                    Some((_, operation)) => self.slept(operation, result),
                    None => return,
                }
                if std::mem::take(&mut self.state.missed) && self.state.operation.is_none() {
                    self.look(Priority::Urgent);
                }
            }
            Input::Ready(of) if of == generation && self.probing() => self.ready(),
            Input::NotReady(of, seen) if of == generation && self.probing() => {
                self.state.seen = Some(seen);
            }
            Input::Changed(observation) => self.changed(&observation),
            Input::Suspected(of) if of == generation && phase == Phase::Ready => {
                self.look(Priority::Urgent);
            }
            Input::QueryStatus(priority) => self.look(priority),
            Input::Resynced => {
                self.end_cooldown();
                self.look(Priority::Routine);
            }
            Input::StatusResult(ticket, result) if self.state.awaits_look(ticket) => {
                self.state.look = None;
                // Counts even if something has happened since: where much happens and looks are
                // slow there would never be one that does.
                let again = self.state.look_again.take();
                let stale = self.state.last_operation > ticket || self.state.operation.is_some();
                match result {
                    _ if stale => {}
                    Ok(observation) => self.looked(observation),
                    Err(_) => self.not_looked(),
                }
                if let Some(priority) = again {
                    self.look(priority);
                }
            }
            // An answer that no longer counts.
            Input::SlotGranted(_)
            | Input::SlotRefused(..)
            | Input::QueuePosition(..)
            | Input::MissingNeeds(..)
            | Input::NeedsMet(_)
            | Input::NeedsFailed(..)
            | Input::NeedsChanged
            | Input::Timer(_)
            | Input::QueryTimer(_)
            | Input::GateClosed
            | Input::GateBusy(_)
            | Input::StillBusy(..)
            | Input::Vetoed(..)
            | Input::MaySleep(_)
            | Input::Drained
            | Input::Ready(_)
            | Input::NotReady(..)
            | Input::Suspected(_)
            | Input::StatusResult(..) => {}
        }
    }

    /// What holds at the end of every step, whatever it was: one that rests gives back what it
    /// holds, one that is needed does not rest for long, and one that sleeps lightly sleeps
    /// deeply later.
    pub(super) fn settle(&mut self) {
        let phase = self.state.phase();
        let rests = matches!(phase, Phase::Asleep | Phase::Failed | Phase::Missing);
        if !rests || !self.state.is_settled() {
            return;
        }
        self.give_back();
        // Whoever starts it from here on, it is not us.
        self.state.began &= self.state.may_run;
        if std::mem::take(&mut self.state.missed) {
            self.look(Priority::Urgent);
        }
        let needed = self.needed();
        if let (false, true, None, Some(after)) =
            (needed, self.state.light, self.state.timer, self.policy.deep_after)
        {
            self.arm(after);
        }
        if needed {
            let short = self.now.saturating_sub(self.state.born) < SHORT_LIFE;
            let left = self.state.rest_until.max(self.state.again_at).unwrap_or_default();
            let left = left.saturating_sub(self.now);
            if phase == Phase::Asleep && left.is_zero() && !short {
                self.begin_wake(self.needed_by());
            } else if self.state.timer.is_none() {
                self.arm(if left.is_zero() { self.policy.cooldown } else { left });
            }
        }
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.state.needs) {
            self.effects.push(Effect::ReleaseNeeds);
        }
        match (self.state.slot, self.state.light) {
            (Slot::None, false) | (Slot::Light, true) => {}
            (_, true) => {
                self.state.slot = Slot::Light;
                self.effects.push(Effect::KeepMemoryOnly);
            }
            (_, false) => {
                self.state.slot = Slot::None;
                self.effects.push(Effect::ReleaseSlot);
            }
        }
    }

    /// It does not wait for a place any more.
    pub(super) fn ask_no_more(&mut self) {
        if self.state.slot == Slot::Asked {
            self.give_back();
        }
    }

    fn timer(&mut self) {
        match self.state.phase() {
            Phase::Waking => self.wake_timed_out(),
            Phase::Ready => self.idle_timer(),
            Phase::Draining => self.begin_sleep(Operation::Sleep),
            Phase::Failed if self.state.operation.is_some() => {}
            // A start makes it run from whatever state the failed stop left.
            Phase::Failed if self.state.failed_stops > 0 && self.needed() => {
                match self.state.rest_until.filter(|until| self.now < *until) {
                    Some(until) => self.arm(until - self.now),
                    None => self.begin_wake(self.needed_by()),
                }
            }
            Phase::Failed if self.state.failed_stops > 0 => {
                let attempts = self.state.failed_stops;
                let last = self.state.last_sleep.take();
                let (operation, cause) = last.unzip();
                self.state.closing = cause;
                self.begin_sleep(operation.unwrap_or(Operation::Sleep));
                self.state.failed_stops = attempts;
            }
            Phase::Failed | Phase::Missing | Phase::Asleep if self.needed() => {
                if !self.resting() {
                    self.begin_wake(self.needed_by());
                }
            }
            Phase::Asleep | Phase::Failed if self.state.light => {
                self.begin_sleep(Operation::DeepSleep)
            }
            Phase::Failed | Phase::Asleep | Phase::Stopping | Phase::Missing => {}
        }
    }

    /// The next look is due. A start makes it run whatever it is.
    fn look_timer(&mut self) {
        match self.state.unsure && self.needed() && !self.resting() {
            true => self.begin_wake(self.needed_by()),
            false if self.state.is_absent() => self.look(Priority::Urgent),
            false => self.look(Priority::Routine),
        }
    }

    fn hold(&mut self, cause: Arc<Cause>) {
        self.state.held += 1;
        if cause.source == Source::Schedule {
            self.state.scheduled = Some(cause.clone());
        }
        self.wake(cause);
        let rests = matches!(self.state.phase(), Phase::Asleep | Phase::Failed | Phase::Missing);
        // The timer was for the deeper sleep; now it is for the next try.
        if rests && self.state.held == 1 && self.state.is_settled() {
            self.disarm();
        }
    }

    // --- small steps

    pub(super) fn enter(&mut self, phase: Phase) {
        if self.state.phase() == Phase::Waking && self.state.life.is_some() {
            self.effects.push(Effect::StopProbe);
        }
        self.disarm();
        if self.state.question.take().is_some() {
            self.effects.push(Effect::CancelSleepCheck);
        }
        self.state.phase = Some(phase);
        self.state.since = self.now;
        self.state.life = None;
        self.state.absent = None;
        self.state.seen = None;
        self.state.place = None;
        self.state.missing_needs = Arc::default();
        self.state.failed_stops = 0;
        self.state.unsure = false;
    }

    pub(super) fn begin(&mut self, kind: Kind, cause: Arc<Cause>) {
        if self.state.story.is_some() {
            let why = match kind {
                Kind::Sleep => "it was put to sleep before it was ready",
                _ => "something else began before this had ended",
            };
            self.end(Err(Arc::new(Failure::new(ErrorCode::Conflict, why))));
        }
        self.state.story = Some(kind);
        self.state.cause = Some(cause.clone());
        self.effects.push(Effect::BeginRecord(kind, cause));
    }

    pub(super) fn end(&mut self, outcome: Result<(), Arc<Failure>>) {
        if self.state.story.take().is_some() {
            self.effects.push(Effect::EndRecord(outcome));
        }
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        let ticket = self.ticket();
        self.state.last_operation = ticket;
        self.state.missed = false;
        // Its answer says what a look would have said.
        self.state.owed = 0;
        self.disarm_look();
        self.state.operation = Some((ticket, operation));
        self.effects.push(Effect::Operate(ticket, operation));
    }

    pub(super) fn cancel_operation(&mut self) {
        if self.state.operation.take().is_some() {
            self.effects.push(Effect::CancelOperation);
        }
    }

    pub(super) fn arm(&mut self, after: Duration) {
        let ticket = self.ticket();
        self.state.timer = Some(ticket);
        self.effects.push(Effect::ArmTimer(ticket, after));
    }

    pub(super) fn disarm(&mut self) {
        if self.state.timer.take().is_some() {
            self.effects.push(Effect::DisarmTimer);
        }
    }

    pub(super) fn arm_look(&mut self, after: Duration) {
        let ticket = self.ticket();
        self.state.look_timer = Some(ticket);
        self.effects.push(Effect::ArmQueryTimer(ticket, after));
    }

    pub(super) fn disarm_look(&mut self) {
        if self.state.look_timer.take().is_some() {
            self.effects.push(Effect::DisarmQueryTimer);
        }
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.state.tickets += 1;
        self.state.tickets
    }

    pub(super) fn resting(&self) -> bool {
        self.state.rest_until.is_some_and(|until| self.now < until)
    }

    /// Somebody needs it awake. A job is not: it runs and ends.
    pub(super) fn needed(&self) -> bool {
        self.is_kept() && !self.policy.job
    }

    /// Somebody keeps it awake. A schedule that an operator has overruled does not.
    pub(super) fn is_kept(&self) -> bool {
        self.state.is_kept_awake(Force::Drain)
    }

    /// The cause of a wake because it is needed.
    fn needed_by(&self) -> Arc<Cause> {
        match &self.state.scheduled {
            Some(window) if self.state.held == 1 => window.clone(),
            _ => Arc::new(Cause::new(Source::Dependency)),
        }
    }

    fn queued(&self) -> bool {
        self.state.phase() == Phase::Waking && self.state.slot == Slot::Asked
    }

    fn waits_for_needs(&self) -> bool {
        self.state.phase() == Phase::Waking
            && self.state.needs
            && !self.state.began
            && !self.state.adopted
    }

    fn probing(&self) -> bool {
        self.state.phase() == Phase::Waking && self.state.life.is_some()
    }
}

// === impl State ===

impl State {
    fn awaits_look(&self, ticket: u64) -> bool {
        self.look.is_some_and(|(asked, _)| asked == ticket)
    }
}

// === impl Force ===

impl Force {
    /// How long the visits inside have.
    pub(super) fn drain(self, policy: &Policy) -> Duration {
        match self {
            Self::Drain => policy.drain_timeout,
            Self::AtOnce => Duration::ZERO,
        }
    }
}
