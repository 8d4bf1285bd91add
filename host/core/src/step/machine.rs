//! Dispatch of the inputs, what holds after every step, and the small steps shared by all phases.

use std::{sync::Arc, time::Duration};

use super::{
    Effect, Force, Input, Moment, Operation, Policy, Priority, State,
    phase::{Depth, Ending, PhaseState, Recovery, WakeStage},
    state::Slot,
};
use crate::{
    journal::{Cause, OperationKind, Trigger},
    names::{Generation, Phase},
    provider::{Failure, Observation},
};

/// A workload that is needed and whose generation ended younger than this is not woken again at
/// once.
const SHORT_LIFE: Duration = Duration::from_secs(10);

/// One step in progress.
pub(super) struct Machine<'a> {
    pub(super) policy: &'a Policy,
    pub(super) state: State,
    pub(super) now: Moment,
    pub(super) effects: Vec<Effect>,
}

impl Machine<'_> {
    /// Takes an input. One with an outdated ticket or generation, or for another phase, changes
    /// nothing.
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Wake(cause) => self.wake(cause),
            Input::Sleep(cause, force) => self.operator_sleep(cause, force),
            Input::Renew(cause, force, renewal) => self.renew(cause, force, renewal),
            Input::Evict(cause) => self.evict(cause),
            Input::Hold(cause) => self.hold(cause),
            Input::Release(trigger) => self.release(trigger),
            Input::SlotGranted(of) => {
                if self.is_current(of) && self.state.phase.is_queued() {
                    self.slot_granted();
                }
            }
            Input::SlotRefused(of, failure) => {
                if self.is_current(of) && self.state.phase.is_queued() {
                    self.fail(failure);
                    self.verify();
                }
            }
            Input::QueuePosition(position, length) => {
                if let Some(WakeStage::Queued(known)) = self.state.phase.stage_mut() {
                    *known = Some((position, length));
                }
            }
            Input::MissingNeeds(of, left) => {
                if self.is_current(of)
                    && let Some(WakeStage::Needs(missing)) = self.state.phase.stage_mut()
                {
                    *missing = left;
                }
            }
            Input::NeedsMet(of) => {
                if self.is_current(of) && self.state.phase.waits_for_needs() {
                    self.launch();
                }
            }
            Input::NeedsFailed(of, failure) => {
                if self.is_current(of) && self.state.phase.waits_for_needs() {
                    self.fail(failure);
                    self.verify();
                }
            }
            Input::NeedsChanged => self.needs_changed(),
            Input::Timer(ticket) => {
                if self.state.timer.take_if(|armed| *armed == ticket).is_some() {
                    self.timer_fired();
                }
            }
            Input::QueryTimer(ticket) => {
                if self.state.queries.fired(ticket) {
                    self.query_timer_fired();
                }
            }
            Input::GateClosed => self.gate_closed(),
            Input::GateBusy(idle_ends_in) => self.gate_busy(idle_ends_in),
            Input::StillBusy(ticket, idle_ends_in) => {
                if self.end_sleep_check(ticket) {
                    self.arm(idle_ends_in);
                }
            }
            Input::Vetoed(ticket, _) => {
                if self.end_sleep_check(ticket) {
                    self.arm(self.policy.veto_retry);
                }
            }
            Input::MaySleep(ticket) => {
                if self.end_sleep_check(ticket) {
                    self.may_sleep();
                }
            }
            Input::Drained => self.drained(),
            Input::OperationResult(ticket, result) => self.operation_result(ticket, result),
            Input::Ready(of) => {
                if self.is_current(of) && !self.policy.job {
                    self.ready();
                }
            }
            Input::NotReady(of, reason) => {
                if self.is_current(of)
                    && let Some(probe) = self.state.phase.probe_mut()
                {
                    probe.unready = Some(reason);
                }
            }
            Input::Changed(observation) => self.changed(&observation),
            Input::Suspected(of) => {
                if self.is_current(of) && self.state.phase() == Phase::Ready {
                    self.query_status(Priority::Urgent);
                }
            }
            Input::QueryStatus(priority) => self.query_status(priority),
            Input::Resynced => self.resynced(),
            Input::StatusResult(ticket, result) => self.status_result(ticket, result),
        }
    }

    /// Brings about what holds after every step: a workload at rest holds neither slot nor needs,
    /// is woken again while it is needed, and goes from the light into the deep sleep.
    pub(super) fn settle(&mut self) {
        if !self.state.phase.is_at_rest() {
            return;
        }
        self.release_resources();
        // A later start is not this router's.
        self.state.ownership.started &= self.state.ownership.may_run;
        if self.state.queries.take_deferred() {
            self.query_status(Priority::Urgent);
        }
        let needed = self.is_needed();
        if let (false, true, None, Some(after)) =
            (needed, self.state.light_sleep, self.state.timer, self.policy.deep_after)
        {
            self.arm(after);
        }
        if needed {
            let short_lived = self.now.saturating_sub(self.state.generation_since) < SHORT_LIFE;
            let wait = self.state.failures.retry_in(self.now);
            if self.state.phase() == Phase::Asleep && wait.is_zero() && !short_lived {
                self.begin_wake(self.state.holds.wake_cause());
            } else if self.state.timer.is_none() {
                self.arm(if wait.is_zero() { self.policy.cooldown } else { wait });
            }
        }
    }

    /// Releases needs and slot; the light sleep keeps its memory.
    fn release_resources(&mut self) {
        self.release_needs();
        match (self.state.slot, self.state.light_sleep) {
            (Slot::None, false) | (Slot::MemoryOnly, true) => {}
            (_, true) => {
                self.state.slot = Slot::MemoryOnly;
                self.effects.push(Effect::KeepMemoryOnly);
            }
            (_, false) => {
                self.state.slot = Slot::None;
                self.effects.push(Effect::ReleaseSlot);
            }
        }
    }

    pub(super) fn release_needs(&mut self) {
        if std::mem::take(&mut self.state.holds_needs) {
            self.effects.push(Effect::ReleaseNeeds);
        }
    }

    /// Withdraws a request for a slot.
    pub(super) fn leave_queue(&mut self) {
        if self.state.slot == Slot::Requested {
            self.release_resources();
        }
    }

    fn timer_fired(&mut self) {
        let needed = self.is_needed();
        match &self.state.phase {
            PhaseState::Waking(_) => self.wake_timed_out(),
            PhaseState::Ready(_) => self.idle_timer_fired(),
            PhaseState::Draining(_) => self.drained(),
            PhaseState::Failed(Recovery::CleaningUp(_)) | PhaseState::Stopping(_) => {}
            // A start makes the target run in whatever state the failed sleep left it.
            PhaseState::Failed(Recovery::SleepFailed { .. }) if needed => {
                let until = self.state.failures.cooldown_until();
                match until.filter(|until| self.now < *until) {
                    Some(until) => self.arm(until - self.now),
                    None => self.begin_wake(self.state.holds.wake_cause()),
                }
            }
            PhaseState::Failed(Recovery::SleepFailed { attempts, depth, cause }) => {
                let ending = Ending::Sleep { depth: *depth, failed_attempts: *attempts };
                let cause = cause.clone();
                self.end_instance(ending, cause, None);
            }
            PhaseState::Failed(_) | PhaseState::Missing | PhaseState::Asleep if needed => {
                if !self.is_cooling_down() {
                    self.begin_wake(self.state.holds.wake_cause());
                }
            }
            PhaseState::Asleep | PhaseState::Failed(_) if self.state.light_sleep => {
                self.begin_sleep(Depth::Deep, Arc::new(Cause::new(Trigger::Idle)));
            }
            PhaseState::Asleep | PhaseState::Failed(_) | PhaseState::Missing => {}
        }
    }

    fn query_timer_fired(&mut self) {
        let unverified = matches!(self.state.phase, PhaseState::Failed(Recovery::Unverified));
        // A start makes the target run in whatever state it is.
        if unverified && self.is_needed() && !self.is_cooling_down() {
            return self.begin_wake(self.state.holds.wake_cause());
        }
        self.query_status(match self.state.phase.is_absent() {
            true => Priority::Urgent,
            false => Priority::Routine,
        });
    }

    fn hold(&mut self, cause: Arc<Cause>) {
        self.state.holds.add(&cause);
        self.wake(cause);
        // The timer was for the deep sleep; from now on it is for the next attempt.
        if self.state.phase.is_at_rest() && self.state.holds.count() == 1 {
            self.disarm();
        }
    }

    fn release(&mut self, trigger: Trigger) {
        self.state.holds.remove(trigger);
        if self.is_kept_awake() {
            return;
        }
        if self.state.phase() == Phase::Ready {
            self.effects.push(Effect::RestartIdleTime);
        } else if self.state.phase.is_at_rest() {
            // The timer was for the next attempt.
            self.disarm();
        }
    }

    fn needs_changed(&mut self) {
        let generation = self.state.generation;
        if self.state.phase.waits_for_needs() {
            self.effects.push(Effect::TakeNeeds(generation));
        } else if self.state.holds_needs {
            self.effects.push(Effect::KeepNeeds(generation));
        }
    }

    fn operation_result(&mut self, ticket: u64, result: Result<Observation, Failure>) {
        match self.state.phase.operation() {
            Some((own, Operation::Start)) if own == ticket => self.start_result(result),
            Some((own, _)) if own == ticket => self.sleep_result(result),
            _ => return,
        }
        if self.state.queries.take_deferred() && self.state.operation().is_none() {
            self.query_status(Priority::Urgent);
        }
    }

    // --- small steps

    pub(super) fn enter(&mut self, phase: PhaseState) {
        if self.state.phase.probe().is_some() {
            self.effects.push(Effect::StopProbe);
        }
        self.disarm();
        if self.state.phase.ready_mut().is_some_and(|ready| ready.sleep_check.is_some()) {
            self.effects.push(Effect::CancelSleepCheck);
        }
        self.state.phase = phase;
        self.state.since = self.now;
    }

    pub(super) fn begin_record(&mut self, kind: OperationKind, cause: Arc<Cause>) {
        self.effects.push(Effect::BeginRecord(kind, cause));
    }

    pub(super) fn end_record(&mut self, outcome: Result<(), Arc<Failure>>) {
        self.effects.push(Effect::EndRecord(outcome));
    }

    /// Calls the provider. The phase already holds the ticket.
    pub(super) fn operate(&mut self, ticket: u64, operation: Operation) {
        self.state.queries.supersede();
        self.disarm_query_timer();
        self.effects.push(Effect::Operate(ticket, operation));
    }

    /// Cancels the start in flight. The caller enters another phase.
    pub(super) fn cancel_start(&mut self) {
        if self.state.operation() == Some(Operation::Start) {
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

    pub(super) fn arm_query_timer(&mut self, after: Duration) {
        let ticket = self.ticket();
        self.state.queries.arm(ticket);
        self.effects.push(Effect::ArmQueryTimer(ticket, after));
    }

    pub(super) fn disarm_query_timer(&mut self) {
        if self.state.queries.disarm() {
            self.effects.push(Effect::DisarmQueryTimer);
        }
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.state.tickets += 1;
        self.state.tickets
    }

    fn is_current(&self, generation: Generation) -> bool {
        self.state.generation == generation
    }

    pub(super) fn is_cooling_down(&self) -> bool {
        self.state.cooldown_until().is_some_and(|until| self.now < until)
    }

    /// A hold keeps the workload awake. It does not keep a job awake: a job runs and exits.
    pub(super) fn is_needed(&self) -> bool {
        self.is_kept_awake() && !self.policy.job
    }

    /// A hold keeps the workload awake, other than a schedule that an operator has overruled.
    pub(super) fn is_kept_awake(&self) -> bool {
        self.state.is_kept_awake(Force::Drain)
    }
}
