//! Sleep: idle time, vetoes, draining, and the provider call that stops or pauses the target.

use std::{sync::Arc, time::Duration};

use super::{
    Effect, Force, Operation, Priority, Renewal,
    failure::backoff,
    machine::Machine,
    observe::{is_down, is_up, resting_phase},
    phase::{Draining, PhaseState, Recovery, SleepCall, SleepOrder, WakeStage},
};
use crate::{
    journal::{Cause, Kind, Source},
    provider::{ErrorCode, Failure, Observation, Status},
    words::Phase,
};

impl Machine<'_> {
    // --- idle time

    pub(super) fn idle_timer_fired(&mut self) {
        let Some(idle) = self.policy.idle else { return };
        if self.is_kept_awake() {
            return self.arm(idle);
        }
        let ticket = self.ticket();
        if let Some(ready) = self.state.phase.ready_mut() {
            ready.sleep_check = Some(ticket);
            self.effects.push(Effect::CheckSleep(ticket));
        }
    }

    /// Ends the sleep check with this ticket. Returns whether it was in flight.
    pub(super) fn end_sleep_check(&mut self, ticket: u64) -> bool {
        let ready = self.state.phase.ready_mut();
        ready.is_some_and(|ready| ready.sleep_check.take_if(|own| *own == ticket).is_some())
    }

    pub(super) fn may_sleep(&mut self) {
        match self.policy.idle {
            Some(idle) if self.is_kept_awake() => self.arm(idle),
            _ => self.close_gate(Arc::new(Cause::new(Source::Idle)), Effect::CloseGateIfIdle),
        }
    }

    /// Closes the gate on a condition; the answer is [`Input::GateClosed`](super::Input) or
    /// [`Input::GateBusy`](super::Input).
    fn close_gate(&mut self, cause: Arc<Cause>, effect: Effect) {
        if let Some(ready) = self.state.phase.ready_mut() {
            ready.closing = Some(cause);
            self.effects.push(effect);
        }
    }

    pub(super) fn gate_closed(&mut self) {
        if let Some(ready) = self.state.phase.ready_mut() {
            let cause = ready.closing.take();
            let cause = cause.unwrap_or_else(|| Arc::new(Cause::new(Source::Idle)));
            self.begin_sleep(Operation::Sleep, cause);
        }
    }

    pub(super) fn gate_busy(&mut self, idle_ends_in: Duration) {
        let Some(ready) = self.state.phase.ready_mut() else { return };
        ready.closing = None;
        let waits = self.state.timer.is_some() || ready.sleep_check.is_some();
        if !waits && self.policy.idle.is_some() {
            self.arm(idle_ends_in);
        }
    }

    // --- orders of the pool and of operators

    pub(super) fn evict(&mut self, cause: Arc<Cause>) {
        if self.is_kept_awake() {
            return;
        }
        if self.state.sleeps_lightly() {
            return self.begin_sleep(Operation::DeepSleep, cause);
        }
        self.close_gate(cause, Effect::CloseGateIfEmpty);
    }

    pub(super) fn operator_sleep(&mut self, cause: Arc<Cause>, force: Force) {
        self.state.holds.overrule(force);
        if self.is_needed() {
            return;
        }
        if self.state.sleeps_lightly() {
            return self.begin_sleep(Operation::DeepSleep, cause);
        }
        let may_run = self.state.ownership.may_run;
        match &mut self.state.phase {
            PhaseState::Asleep | PhaseState::Missing => self.query_status(Priority::Urgent),
            PhaseState::Draining(draining) => {
                (draining.wake_wanted, draining.renewal) = (None, None);
                if force == Force::AtOnce {
                    self.drained();
                }
            }
            PhaseState::Stopping(call) | PhaseState::Failed(Recovery::CleaningUp(call)) => {
                call.wake_wanted = None;
            }
            PhaseState::Ready(_) => {
                self.drain(force, Draining { cause, renewal: None, wake_wanted: None })
            }
            PhaseState::Waking(waking)
                if !may_run
                    && matches!(waking.stage, WakeStage::Queued(_) | WakeStage::Needs(_)) =>
            {
                let why = "an operator put it to sleep before it was started";
                self.end_record(Err(Arc::new(Failure::new(ErrorCode::Conflict, why))));
                self.enter(PhaseState::Asleep);
            }
            PhaseState::Waking(_) | PhaseState::Failed(_) => {
                self.cancel_start();
                self.begin_sleep(Operation::DeepSleep, cause);
            }
        }
    }

    pub(super) fn renew(&mut self, cause: Arc<Cause>, force: Force, renewal: Renewal) {
        if !self.state.may_be_renewed() {
            return;
        }
        let wakes = match renewal {
            Renewal::Restart => true,
            Renewal::Recreate { .. } => {
                matches!(self.state.phase(), Phase::Ready | Phase::Waking)
            }
        };
        let wake_wanted = wakes.then(|| cause.clone());
        if self.state.phase() == Phase::Ready {
            return self.drain(force, Draining { cause, renewal: Some(renewal), wake_wanted });
        }
        self.cancel_start();
        let operation = Operation::Renew(renewal);
        self.call_sleep(SleepOrder { operation, cause }, 0, wake_wanted);
    }

    fn drain(&mut self, force: Force, draining: Draining) {
        self.enter(PhaseState::Draining(draining));
        self.arm(force.drain_timeout(self.policy));
        self.effects.push(Effect::CloseGate);
    }

    /// No visit is left inside, or the visits are cut off.
    pub(super) fn drained(&mut self) {
        let PhaseState::Draining(draining) = &self.state.phase else { return };
        let Draining { cause, renewal, wake_wanted } = draining.clone();
        let operation = renewal.map_or(Operation::Sleep, Operation::Renew);
        self.call_sleep(SleepOrder { operation, cause }, 0, wake_wanted);
    }

    // --- the provider call

    /// Begins a sleep that no wake follows.
    pub(super) fn begin_sleep(&mut self, operation: Operation, cause: Arc<Cause>) {
        self.call_sleep(SleepOrder { operation, cause }, 0, None);
    }

    /// Calls the provider for a sleep or renewal.
    pub(super) fn call_sleep(
        &mut self,
        order: SleepOrder,
        failed_attempts: u32,
        wake_wanted: Option<Arc<Cause>>,
    ) {
        let operation = order.operation;
        let kind = if operation.is_renewal() { Kind::Restart } else { Kind::Sleep };
        if self.state.phase() == Phase::Waking {
            let why = match kind {
                Kind::Sleep => "it was put to sleep before it was ready",
                _ => "it was restarted or recreated before it was ready",
            };
            self.end_record(Err(Arc::new(Failure::new(ErrorCode::Conflict, why))));
        }
        self.begin_record(kind, order.cause.clone());
        self.leave_queue();
        let ticket = self.ticket();
        let call = SleepCall { ticket, order, failed_attempts, wake_wanted };
        self.enter(PhaseState::Stopping(call));
        self.operate(ticket, operation);
    }

    pub(super) fn sleep_result(&mut self, result: Result<Observation, Failure>) {
        let (PhaseState::Stopping(call) | PhaseState::Failed(Recovery::CleaningUp(call))) =
            &self.state.phase
        else {
            return;
        };
        let SleepCall { order, failed_attempts, wake_wanted, .. } = call.clone();
        let operation = order.operation;
        let failure = match result {
            Ok(seen) => {
                self.record(&seen);
                return self.sleeps(operation, &seen.status, wake_wanted);
            }
            Err(failure) => failure,
        };
        if failure.code == ErrorCode::NotFound {
            self.record_missing();
            if !operation.is_recreation() {
                return self.sleeps(operation, &Status::Missing, wake_wanted);
            }
        }
        self.state.ownership.may_run = true;
        match wake_wanted {
            // The target is unchanged or half changed: a query follows. An order is not repeated.
            None if operation.is_renewal() => {
                self.end_record(Err(Arc::new(failure)));
                self.enter(PhaseState::Asleep);
                self.state.queries.defer();
            }
            // A start makes the target run in whatever state the failed sleep left it.
            Some(cause) => {
                self.end_sleep_record(Err(Arc::new(failure)));
                self.begin_wake(cause);
            }
            None => {
                let attempts = failed_attempts.saturating_add(1);
                let again = backoff(attempts);
                let message = format!("{}; the sleep is retried in {again:?}", failure.message);
                let failure = Arc::new(Failure::new(failure.code, message));
                let recorded = self.state.phase() == Phase::Stopping;
                self.enter(PhaseState::Failed(Recovery::StopFailed { attempts, order }));
                self.state.failures.sleep_failed(failure.clone());
                self.arm(again);
                if recorded {
                    self.end_record(Err(failure));
                }
                // The target may sleep all the same, or there was nothing to put to sleep.
                self.query_status(Priority::Urgent);
            }
        }
    }

    /// Takes the status of a target that the provider failed to put to sleep.
    pub(super) fn verify_sleep(&mut self, operation: Operation, status: &Status) {
        let still_light = operation == Operation::DeepSleep && *status == Status::Paused;
        if is_down(status) && !still_light {
            self.sleeps(operation, status, None);
        }
    }

    /// The target sleeps.
    fn sleeps(&mut self, operation: Operation, status: &Status, wake_wanted: Option<Arc<Cause>>) {
        let cleaned_up = matches!(self.state.phase, PhaseState::Failed(Recovery::CleaningUp(_)));
        self.end_sleep_record(Ok(()));
        self.state.ownership.started = false;
        self.state.ownership.may_run = false;
        // A recreated target may run as it did before.
        self.state.queries.defer_if(operation.is_renewal() && is_up(status));
        let keeps_memory = !is_down(status) || *status == Status::Paused;
        self.state.light_sleep =
            operation == Operation::Sleep && self.policy.deep_after.is_some() && keeps_memory;
        if let Some(cause) = wake_wanted {
            self.begin_wake(cause);
        } else if cleaned_up {
            self.state.phase = PhaseState::Failed(Recovery::Settled);
        } else {
            self.state.failures.clear();
            self.enter(resting_phase(status));
        }
    }

    /// Ends the record of a sleep or renewal. A clean-up has none, nor has a failed sleep.
    fn end_sleep_record(&mut self, outcome: Result<(), Arc<Failure>>) {
        if self.state.phase() == Phase::Stopping {
            self.end_record(outcome);
        }
    }
}
