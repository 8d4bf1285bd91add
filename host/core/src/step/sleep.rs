//! From the last who left until it sleeps, lightly or deeply.

use std::{sync::Arc, time::Duration};

use super::{
    Effect, Force, Operation, Priority, Renewal,
    machine::Machine,
    observe::{gone, resting_phase, runs},
};
use crate::{
    journal::{Cause, Kind, Source},
    provider::{ErrorCode, Failure, Observation, Status},
    words::Phase,
};

impl Machine<'_> {
    /// The idle time may be over.
    pub(super) fn idle_timer(&mut self) {
        let Some(idle) = self.policy.idle else { return };
        if self.is_kept() {
            return self.arm(idle);
        }
        let ticket = self.ticket();
        self.state.question = Some(ticket);
        self.effects.push(Effect::CheckSleep(ticket));
    }

    pub(super) fn may_sleep(&mut self) {
        match self.policy.idle {
            Some(idle) if self.is_kept() => self.arm(idle),
            _ => {
                self.state.closing = Some(Arc::new(Cause::new(Source::Idle)));
                self.effects.push(Effect::CloseGateIfIdle);
            }
        }
    }

    pub(super) fn gate_busy(&mut self, again: Duration) {
        self.state.closing = None;
        let waits = self.state.timer.is_some() || self.state.question.is_some();
        if !waits && self.policy.idle.is_some() {
            self.arm(again);
        }
    }

    pub(super) fn released(&mut self, source: Source) {
        self.state.held = self.state.held.saturating_sub(1);
        if source == Source::Schedule {
            self.state.scheduled = None;
            self.state.overruled = false;
        }
        if self.is_kept() {
            return;
        }
        match self.state.phase() {
            Phase::Ready => self.effects.push(Effect::RestartIdleTime),
            _ if !self.state.is_settled() => {}
            // The timer was for the next try.
            Phase::Asleep | Phase::Failed | Phase::Missing => self.disarm(),
            Phase::Waking | Phase::Draining | Phase::Stopping => {}
        }
    }

    pub(super) fn evict(&mut self, cause: Arc<Cause>) {
        match self.state.phase() {
            _ if self.is_kept() => {}
            Phase::Ready => {
                self.state.closing = Some(cause);
                self.effects.push(Effect::CloseGateIfEmpty);
            }
            _ if self.state.sleeps_lightly() => {
                self.state.closing = Some(cause);
                self.begin_sleep(Operation::DeepSleep);
            }
            _ => {}
        }
    }

    pub(super) fn operator_sleep(&mut self, cause: Arc<Cause>, force: Force) {
        if self.state.scheduled.is_some() && !self.state.is_kept_awake(force) {
            self.state.overruled = true;
        }
        match self.state.phase() {
            _ if self.needed() => {}
            _ if self.state.sleeps_lightly() => {
                self.state.closing = Some(cause);
                self.begin_sleep(Operation::DeepSleep);
            }
            Phase::Asleep | Phase::Missing => self.look(Priority::Urgent),
            Phase::Draining => {
                self.state.wake_wanted = None;
                self.state.renewal = None;
                if force == Force::AtOnce {
                    self.begin_sleep(Operation::Sleep);
                }
            }
            Phase::Stopping => self.state.wake_wanted = None,
            Phase::Ready => {
                self.state.closing = Some(cause);
                self.enter(Phase::Draining);
                self.arm(force.drain(self.policy));
                self.effects.push(Effect::CloseGate);
            }
            Phase::Waking if !self.state.began && !self.state.adopted && !self.state.may_run => {
                let why = "an operator put it to sleep before it was started";
                self.end(Err(Arc::new(Failure::new(ErrorCode::Conflict, why))));
                self.enter(Phase::Asleep);
            }
            Phase::Waking => {
                self.cancel_operation();
                self.state.closing = Some(cause);
                self.begin_sleep(Operation::DeepSleep);
            }
            Phase::Failed if self.state.operation.is_none() => {
                self.state.closing = Some(cause);
                self.begin_sleep(Operation::DeepSleep);
            }
            Phase::Failed => self.state.wake_wanted = None,
        }
    }

    pub(super) fn renew(&mut self, cause: Arc<Cause>, force: Force, renewal: Renewal) {
        let phase = self.state.phase();
        if !self.state.may_be_renewed() {
            return;
        }
        let wakes = match renewal {
            Renewal::Restart => true,
            Renewal::Recreate { .. } => matches!(phase, Phase::Ready | Phase::Waking),
        };
        self.state.closing = Some(cause.clone());
        self.state.renewal = Some(renewal);
        if phase == Phase::Ready {
            self.enter(Phase::Draining);
            self.arm(force.drain(self.policy));
            self.effects.push(Effect::CloseGate);
        } else {
            self.cancel_operation();
            self.begin_sleep(Operation::DeepSleep);
        }
        self.state.wake_wanted = wakes.then_some(cause);
    }

    /// Nobody is inside, or an operator would not wait any longer.
    pub(super) fn begin_sleep(&mut self, operation: Operation) {
        let cause = self.state.closing.take();
        let cause = cause.unwrap_or_else(|| Arc::new(Cause::new(Source::Idle)));
        let (kind, operation) = match self.state.renewal.take() {
            Some(renewal) => (Kind::Restart, Operation::Renew(renewal)),
            None => (Kind::Sleep, operation),
        };
        self.begin(kind, cause.clone());
        self.ask_no_more();
        self.enter(Phase::Stopping);
        self.state.last_sleep = Some((operation, cause));
        self.operate(operation);
    }

    pub(super) fn slept(&mut self, operation: Operation, result: Result<Observation, Failure>) {
        let phase = self.state.phase();
        match &result {
            Ok(seen) => self.record(seen),
            Err(failure) if failure.code == ErrorCode::NotFound => self.record_missing(),
            Err(_) => {}
        }
        match result {
            _ if !matches!(phase, Phase::Stopping | Phase::Failed) => {}
            Ok(seen) => self.sleeps(operation, &seen.status),
            Err(Failure { code: ErrorCode::NotFound, .. }) if !operation.is_recreation() => {
                self.sleeps(operation, &Status::Missing);
            }
            // It is as it was, or half of it is done: a look tells, and nothing is tried again.
            Err(failure) if operation.is_renewal() && self.state.wake_wanted.is_none() => {
                self.state.may_run = true;
                self.end(Err(Arc::new(failure)));
                self.enter(Phase::Asleep);
                self.state.missed = true;
            }
            // A start makes it run from whatever state the failed stop left.
            Err(failure) if self.state.wake_wanted.is_some() => {
                self.state.may_run = true;
                self.end(Err(Arc::new(failure)));
                if let Some(cause) = self.state.wake_wanted.take() {
                    self.begin_wake(cause);
                }
            }
            Err(failure) => {
                self.state.may_run = true;
                let attempts = self.state.failed_stops.saturating_add(1);
                let again = backoff(attempts);
                let message =
                    format!("{}; going to sleep is tried again in {again:?}", failure.message);
                let failure = Arc::new(Failure::new(failure.code, message));
                self.enter(Phase::Failed);
                self.state.failed_stops = attempts;
                self.state.failure = Some(failure.clone());
                self.arm(again);
                self.end(Err(failure));
                // It may sleep all the same, or there was nothing to put to sleep.
                self.look(Priority::Urgent);
            }
        }
    }

    /// The provider could not put it to sleep, and this is what was seen then.
    pub(super) fn slept_after_all(&mut self, seen: &Observation) {
        let last = self.state.last_sleep.as_ref().map(|(operation, _)| *operation);
        let operation = last.unwrap_or(Operation::Sleep);
        let still_light = operation == Operation::DeepSleep && seen.status == Status::Paused;
        if gone(&seen.status) && !still_light {
            self.sleeps(operation, &seen.status);
        }
    }

    fn sleeps(&mut self, operation: Operation, status: &Status) {
        let rests = self.state.phase() == Phase::Stopping || self.state.failed_stops > 0;
        self.end(Ok(()));
        self.state.failed_stops = 0;
        self.state.began = false;
        self.state.may_run = false;
        // Made anew, it may run as it did before.
        self.state.missed |= operation.is_renewal() && runs(status);
        self.state.light =
            operation == Operation::Sleep && self.policy.deep_after.is_some() && !ended(status);
        if let Some(cause) = self.state.wake_wanted.take() {
            self.begin_wake(cause);
        } else if rests {
            self.state.failure = None;
            self.state.rest_until = None;
            self.enter(resting_phase(status));
        }
    }
}

// === impl Operation ===

impl Operation {
    /// It rests afterwards, unless somebody comes.
    pub(crate) fn is_sleep(self) -> bool {
        matches!(self, Self::Sleep | Self::DeepSleep)
    }

    pub(super) fn is_renewal(self) -> bool {
        matches!(self, Self::Renew(_))
    }

    fn is_recreation(self) -> bool {
        matches!(self, Self::Renew(Renewal::Recreate { .. }))
    }
}

/// It keeps nothing, not even its memory.
fn ended(status: &Status) -> bool {
    gone(status) && *status != Status::Paused
}

/// 1 s, doubling to 5 min.
pub(super) fn backoff(attempts: u32) -> Duration {
    doubled(Duration::from_secs(1), attempts.saturating_sub(1))
}

/// Doubled so many times, up to 5 min or what it was.
pub(super) fn doubled(first: Duration, times: u32) -> Duration {
    let most = Duration::from_secs(300).max(first);
    first.saturating_mul(1 << times.min(16)).min(most)
}
