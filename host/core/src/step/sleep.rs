//! Sleep: idle time, vetoes, draining, and the provider call that stops or pauses the target.

use std::{sync::Arc, time::Duration};

use super::{
    Effect, Force, Priority, Renewal,
    failure::backoff,
    machine::Machine,
    observe::{is_down, is_up, resting_phase},
    phase::{Depth, Draining, Ending, PhaseState, Recovery, Stopping, WakeStage},
};
use crate::{
    journal::{Cause, OperationKind, Trigger},
    names::Phase,
    provider::{ErrorCode, Failure, Observation, Status},
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
            _ => self.close_gate(Arc::new(Cause::new(Trigger::Idle)), Effect::CloseGateIfIdle),
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
            let cause = cause.unwrap_or_else(|| Arc::new(Cause::new(Trigger::Idle)));
            self.begin_sleep(Depth::Light, cause);
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
            return self.begin_sleep(Depth::Deep, cause);
        }
        self.close_gate(cause, Effect::CloseGateIfEmpty);
    }

    pub(super) fn operator_sleep(&mut self, cause: Arc<Cause>, force: Force) {
        self.state.holds.overrule(force);
        if self.is_needed() {
            return;
        }
        if self.state.sleeps_lightly() {
            return self.begin_sleep(Depth::Deep, cause);
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
            PhaseState::Stopping(stopping) => stopping.wake_wanted = None,
            PhaseState::Failed(Recovery::CleaningUp(clean_up)) => clean_up.wake_wanted = None,
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
                self.begin_sleep(Depth::Deep, cause);
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
        self.end_instance(Ending::Renew(renewal), cause, wake_wanted);
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
        let ending = renewal.map_or(Ending::sleep(Depth::Light), Ending::Renew);
        self.end_instance(ending, cause, wake_wanted);
    }

    // --- the provider call

    /// Begins a sleep that no wake follows.
    pub(super) fn begin_sleep(&mut self, depth: Depth, cause: Arc<Cause>) {
        self.end_instance(Ending::sleep(depth), cause, None);
    }

    /// Calls the provider for a sleep or renewal.
    pub(super) fn end_instance(
        &mut self,
        ending: Ending,
        cause: Arc<Cause>,
        wake_wanted: Option<Arc<Cause>>,
    ) {
        let (kind, interrupts) = match ending {
            Ending::Sleep { .. } => {
                (OperationKind::Sleep, "it was put to sleep before it was ready")
            }
            Ending::Renew(_) => {
                (OperationKind::Restart, "it was restarted or recreated before it was ready")
            }
        };
        if self.state.phase() == Phase::Waking {
            self.end_record(Err(Arc::new(Failure::new(ErrorCode::Conflict, interrupts))));
        }
        self.begin_record(kind, cause.clone());
        self.leave_queue();
        let ticket = self.ticket();
        self.enter(PhaseState::Stopping(Stopping { ticket, ending, cause, wake_wanted }));
        self.operate(ticket, ending.operation());
    }

    pub(super) fn sleep_result(&mut self, result: Result<Observation, Failure>) {
        let (ending, cause, wake_wanted) = match &self.state.phase {
            PhaseState::Stopping(stopping) => {
                (stopping.ending, stopping.cause.clone(), stopping.wake_wanted.clone())
            }
            PhaseState::Failed(Recovery::CleaningUp(clean_up)) => {
                let ending = Ending::sleep(Depth::Deep);
                (ending, clean_up.cause.clone(), clean_up.wake_wanted.clone())
            }
            _ => return,
        };
        let failure = match result {
            Ok(seen) => {
                self.record(&seen);
                return self.sleeps(ending, &seen.status, wake_wanted);
            }
            Err(failure) => failure,
        };
        if failure.code == ErrorCode::NotFound {
            self.record_missing();
            // A missing target sleeps, and cannot be recreated.
            if !matches!(ending, Ending::Renew(Renewal::Recreate { .. })) {
                return self.sleeps(ending, &Status::Missing, wake_wanted);
            }
        }
        self.state.ownership.may_run = true;
        match (ending, wake_wanted) {
            // The target is unchanged or half changed: a query follows. An order is not repeated.
            (Ending::Renew(_), None) => {
                self.end_record(Err(Arc::new(failure)));
                self.enter(PhaseState::Asleep);
                self.state.queries.defer();
            }
            // A start makes the target run in whatever state the failed sleep left it.
            (_, Some(wanted)) => {
                self.end_sleep_record(Err(Arc::new(failure)));
                self.begin_wake(wanted);
            }
            (Ending::Sleep { depth, failed_attempts }, None) => {
                self.sleep_failed(depth, failed_attempts.saturating_add(1), cause, failure);
            }
        }
    }

    /// Shows the failure of a sleep, and repeats the sleep with increasing intervals.
    fn sleep_failed(&mut self, depth: Depth, attempts: u32, cause: Arc<Cause>, failure: Failure) {
        let again = backoff(attempts);
        let message = format!("{}; the sleep is retried in {again:?}", failure.message);
        let failure = Arc::new(Failure::new(failure.code, message));
        let recorded = self.state.phase() == Phase::Stopping;
        self.enter(PhaseState::Failed(Recovery::SleepFailed { attempts, depth, cause }));
        self.state.failures.sleep_failed(failure.clone());
        self.arm(again);
        if recorded {
            self.end_record(Err(failure));
        }
        // The target may sleep all the same, or there was nothing to put to sleep.
        self.query_status(Priority::Urgent);
    }

    /// Takes the status of a target that the provider failed to put to sleep.
    pub(super) fn verify_sleep(&mut self, depth: Depth, status: &Status) {
        let still_light = depth == Depth::Deep && *status == Status::Paused;
        if is_down(status) && !still_light {
            self.sleeps(Ending::sleep(depth), status, None);
        }
    }

    /// The target sleeps, or was renewed.
    fn sleeps(&mut self, ending: Ending, status: &Status, wake_wanted: Option<Arc<Cause>>) {
        let cleaned_up = matches!(self.state.phase, PhaseState::Failed(Recovery::CleaningUp(_)));
        self.end_sleep_record(Ok(()));
        self.state.ownership.started = false;
        self.state.ownership.may_run = false;
        self.state.light_sleep = match ending {
            Ending::Sleep { depth: Depth::Light, .. } => {
                let keeps_memory = !is_down(status) || *status == Status::Paused;
                self.policy.deep_after.is_some() && keeps_memory
            }
            Ending::Sleep { depth: Depth::Deep, .. } => false,
            Ending::Renew(_) => {
                // A recreated target may run as it did before.
                self.state.queries.defer_if(is_up(status));
                false
            }
        };
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
