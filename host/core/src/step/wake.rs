//! From the first who wants it until ready: place, needs, start, probe.

use std::sync::Arc;

use super::{
    Effect, Operation, Origin, Priority, ReadyInstance, Slot,
    machine::Machine,
    observe::{gone, resting_phase},
};
use crate::{
    journal::{Cause, Kind, Source},
    provider::{ErrorCode, Failure, Observation, Reason, Status},
    words::Phase,
};

impl Machine<'_> {
    pub(super) fn wake(&mut self, cause: Arc<Cause>) {
        let source = cause.source;
        self.state.overruled = false;
        match self.state.phase() {
            // They want it awake from now on, though nobody is inside.
            Phase::Ready if source.is_operator() || source == Source::Schedule => {
                self.effects.push(Effect::RestartIdleTime);
            }
            Phase::Waking | Phase::Ready => {}
            Phase::Draining | Phase::Stopping => self.want(cause),
            Phase::Asleep | Phase::Failed | Phase::Missing => {
                if !source.is_operator() && self.resting() {
                    return;
                }
                if self.state.operation.is_some() {
                    self.want(cause);
                } else {
                    self.begin_wake(cause);
                }
            }
        }
    }

    fn want(&mut self, cause: Arc<Cause>) {
        self.state.wake_wanted.get_or_insert(cause);
    }

    pub(super) fn begin_wake(&mut self, cause: Arc<Cause>) {
        self.begin(Kind::Wake, cause);
        self.new_life(false);
        if self.state.slot == Slot::Held {
            return self.granted();
        }
        self.state.slot = Slot::Asked;
        self.arm(self.policy.queue_timeout);
        self.effects.push(Effect::RequestSlot(self.state.generation));
    }

    pub(super) fn granted(&mut self) {
        self.state.slot = Slot::Held;
        self.arm(self.policy.needs_timeout);
        self.state.needs = true;
        self.effects.push(Effect::TakeNeeds(self.state.generation));
    }

    pub(super) fn start(&mut self) {
        self.state.began = true;
        self.state.light = false;
        self.state.wake_until = self.now + self.policy.wake_timeout;
        self.arm(self.policy.wake_timeout);
        self.operate(Operation::Start);
    }

    /// It runs although nobody here started it, or although its start seemed to have failed; or it
    /// has changed while it was ready.
    pub(super) fn adopt(&mut self, observation: Observation) {
        self.begin(Kind::Adopt, Arc::new(Cause::new(Source::Reconciler)));
        let same = |life: &Arc<Observation>| {
            life.native_id.is_some() && life.native_id == observation.native_id
        };
        let restarted = self.restarted_adopted(&observation);
        let continued = self.state.life.as_ref().is_some_and(same) || restarted.is_some();
        let ours = match self.state.phase() {
            Phase::Ready => continued && !self.state.adopted,
            Phase::Failed if self.state.is_owned() => true,
            _ => restarted == Some(false),
        };
        self.new_life(!ours);
        self.state.continued = continued;
        self.state.began = ours;
        self.state.light = false;
        self.state.wake_until = self.now + self.policy.wake_timeout;
        self.arm(self.policy.wake_timeout);
        if self.state.slot != Slot::Held {
            self.state.slot = Slot::Held;
            self.effects.push(Effect::ClaimSlot);
        }
        self.state.needs = true;
        self.effects.push(Effect::KeepNeeds(self.state.generation));
        self.probe(observation);
    }

    fn new_life(&mut self, adopted: bool) {
        // What an earlier life held goes back first: this one takes what it needs anew.
        if std::mem::take(&mut self.state.needs) {
            self.effects.push(Effect::ReleaseNeeds);
        }
        self.enter(Phase::Waking);
        self.state.generation = self.state.generation.next();
        self.state.born = self.now;
        self.state.adopted = adopted;
        self.state.continued = false;
        self.state.last_sleep = None;
        self.state.target.forget_stopped();
        self.state.began = false;
        self.state.restarted = false;
        self.state.wake_wanted = None;
        self.state.closing = None;
        self.state.renewal = None;
        self.state.failure = None;
        self.state.rest_until = None;
        self.state.again_at = None;
    }

    pub(super) fn started(&mut self, result: Result<Observation, Failure>) {
        if let Ok(seen) = &result {
            self.record(seen);
        }
        match result {
            _ if self.state.phase() != Phase::Waking => {}
            Ok(observation) if gone(&observation.status) => self.died_waking(&observation),
            Ok(observation) => self.probe(observation),
            Err(failure) => {
                // The platform may have done it all the same.
                self.state.may_run |= !matches!(
                    failure.code,
                    ErrorCode::InvalidRequest | ErrorCode::Unsupported | ErrorCode::Denied
                );
                if failure.code == ErrorCode::NotFound {
                    self.state.may_run = false;
                    self.record_missing();
                    if self.await_target(&failure.message) {
                        return;
                    }
                }
                self.fail(failure);
                self.find_out();
            }
        }
    }

    pub(super) fn probe(&mut self, observation: Observation) {
        let life = Arc::new(observation);
        self.state.may_run = false;
        self.state.seen = None;
        self.state.life = Some(life.clone());
        self.effects.push(Effect::Probe(self.state.generation, life));
    }

    pub(super) fn ready(&mut self) {
        if self.policy.job {
            return;
        }
        let Some(observation) = self.state.life.clone() else { return };
        self.enter(Phase::Ready);
        self.state.failed_wakes = 0;
        self.state.target.succeeded();
        self.state.life = Some(observation.clone());
        let origin = match (self.state.continued, self.state.adopted) {
            (true, _) => Origin::Continued,
            (false, true) => Origin::Adopted,
            (false, false) => Origin::Started,
        };
        self.effects.push(Effect::OpenGate(ReadyInstance {
            generation: self.state.generation,
            observation,
            origin,
        }));
        self.end(Ok(()));
    }

    /// It was started and does not run any more. A job may have ended well; anything else is
    /// started once more, and then the wake has failed.
    pub(super) fn died_waking(&mut self, observation: &Observation) {
        self.state.may_run = false;
        let exit = observation.attributes.get("exit-status").map(String::as_str);
        if self.policy.job && observation.status == Status::Stopped && matches!(exit, Some("0")) {
            return self.completed();
        }
        if self.state.adopted {
            return self.died_adopted(observation);
        }
        let removed = "it was removed while it was woken";
        if observation.status == Status::Missing && self.await_target(removed) {
            return;
        }
        let again = !self.policy.job && !self.state.restarted;
        if again && observation.status != Status::Missing {
            self.state.restarted = true;
            self.state.life = None;
            self.effects.push(Effect::StopProbe);
            self.operate(Operation::Start);
            return;
        }
        let (code, reason) = match observation.status {
            Status::Missing => (ErrorCode::NotFound, Reason::Removed),
            _ if self.policy.job => (ErrorCode::Unavailable, Reason::JobFailed),
            _ => (ErrorCode::Unavailable, Reason::Exited),
        };
        let word = &observation.native_status;
        let exit = exit.map(|status| format!(" with exit status {status}")).unwrap_or_default();
        let detail = observation.detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default();
        let message = format!("it was started and is {word} again{exit}{detail}");
        self.fail(Failure::new(code, message).because(reason));
    }

    /// Nobody here is to blame, and the next visitor wakes it.
    fn died_adopted(&mut self, observation: &Observation) {
        let why = format!("it is {} before it was ready", observation.native_status);
        let failure = Failure::new(ErrorCode::Unavailable, why).because(Reason::Exited);
        self.end(Err(Arc::new(failure)));
        self.enter(resting_phase(&observation.status));
    }

    fn completed(&mut self) {
        self.enter(Phase::Asleep);
        self.state.failed_wakes = 0;
        self.state.completed = Some(self.state.generation);
        self.end(Ok(()));
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        let phase = match failure.code {
            ErrorCode::NotFound if self.state.began => Phase::Missing,
            _ => Phase::Failed,
        };
        let failure = Arc::new(failure);
        self.enter(phase);
        self.record_failure();
        self.state.failure = Some(failure.clone());
        self.state.rest_until = Some(self.now + self.policy.cooldown);
        // Who is needed and cannot be woken is tried again less and less often; whoever comes
        // does not wait for that.
        let again = super::sleep::doubled(self.policy.cooldown, self.state.failed_wakes);
        self.state.again_at = Some(self.now + again);
        self.state.failed_wakes = self.state.failed_wakes.saturating_add(1);
        self.end(Err(failure));
    }

    pub(super) fn wake_timed_out(&mut self) {
        if let Some(absence) = self.state.absent.take() {
            return self.target_stays_away(&absence);
        }
        let queued = self.state.slot == Slot::Asked;
        let (limit, what) = if queued {
            (self.policy.queue_timeout, "there was no place for it in its pool".to_owned())
        } else if !self.state.began && !self.state.adopted {
            let names: Vec<_> = self.state.missing_needs.iter().map(ToString::to_string).collect();
            (
                self.policy.needs_timeout,
                format!("what it needs was not there: {}", names.join(", ")),
            )
        } else {
            let what = match (&self.state.operation, &self.state.seen) {
                (Some(_), _) => "the provider has not answered the start".to_owned(),
                (None, Some(seen)) => format!("last seen: {seen}"),
                (None, None) => "no probe has come back".to_owned(),
            };
            (self.policy.wake_timeout, what)
        };
        let stop = self.state.began;
        let cause = self.state.cause.clone();
        self.cancel_operation();
        let message = format!("it was not ready within {limit:?}; {what}");
        let failure = Failure::new(ErrorCode::Timeout, message);
        self.fail(match queued {
            true => failure.because(Reason::PoolFull),
            false => failure,
        });
        if !stop {
            return self.find_out();
        }
        // What hangs must not be kept in memory: it would hang again.
        self.state.last_sleep = cause.map(|cause| (Operation::DeepSleep, cause));
        self.operate(Operation::DeepSleep);
    }

    /// It has failed. If it may run somebody must look.
    pub(super) fn find_out(&mut self) {
        if self.state.may_run {
            self.ask_no_more();
            self.state.unsure = true;
            self.look(Priority::Urgent);
        }
    }
}
