//! From the first who wants it until ready: place, needs, start, probe.

use std::sync::Arc;

use super::{
    Effect, Life, Operation, Slot,
    machine::Machine,
    seen::{gone, resting_phase},
};
use crate::{
    journal::{Cause, Kind, Source},
    provider::{ErrorCode, Failure, Observation, Status},
    words::Phase,
};

impl Machine<'_> {
    pub(super) fn wake(&mut self, cause: Arc<Cause>) {
        match self.state.phase() {
            Phase::Waking | Phase::Ready => {}
            Phase::Draining | Phase::Stopping => self.want(cause),
            Phase::Asleep | Phase::Failed | Phase::Missing => {
                if !cause.source.is_operator() && self.resting() {
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
        self.arm(self.policy.queue);
        self.effects.push(Effect::AskSlot(self.state.generation));
    }

    pub(super) fn granted(&mut self) {
        self.state.slot = Slot::Held;
        self.arm(self.policy.needs);
        self.state.needs = true;
        self.effects.push(Effect::TakeNeeds(self.state.generation));
    }

    pub(super) fn start(&mut self) {
        self.state.began = true;
        self.state.light = false;
        self.arm(self.policy.wake_timeout);
        self.operate(Operation::Start);
    }

    /// It runs although nobody here started it, or although its start seemed to have failed.
    pub(super) fn adopt(&mut self, observation: Observation) {
        self.begin(Kind::Adopt, Arc::new(Cause::new(Source::Reconciler)));
        let ours = self.state.phase() == Phase::Failed && self.is_ours();
        self.new_life(!ours);
        self.state.began = ours;
        self.state.light = false;
        self.arm(self.policy.wake_timeout);
        if self.state.slot != Slot::Held {
            self.state.slot = Slot::Held;
            self.effects.push(Effect::ClaimSlot);
        }
        self.state.needs = true;
        self.effects.push(Effect::KeepNeeds);
        self.probe(observation);
    }

    /// If it runs although it has failed, then because of us.
    pub(super) fn is_ours(&self) -> bool {
        self.state.began || self.state.may_run
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
        self.state.began = false;
        self.state.restarted = false;
        self.state.wake_wanted = None;
        self.state.closing = None;
        self.state.failure = None;
        self.state.rest_until = None;
    }

    pub(super) fn started(&mut self, result: Result<Observation, Failure>) {
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
                self.state.may_run &= failure.code != ErrorCode::NotFound;
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
        self.state.life = Some(observation.clone());
        self.effects.push(Effect::OpenGate(Life {
            generation: self.state.generation,
            observation,
            adopted: self.state.adopted,
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
        let again = !self.policy.job && !self.state.restarted;
        if again && observation.status != Status::Missing {
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
        let exit = exit.map(|status| format!(" with exit status {status}")).unwrap_or_default();
        let detail = observation.detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default();
        self.fail(Failure::new(code, format!("it was started and is {word} again{exit}{detail}")));
    }

    /// Nobody here is to blame, and the next visitor wakes it.
    fn died_adopted(&mut self, observation: &Observation) {
        let why = format!("it is {} before it was ready", observation.native_status);
        self.end(Err(Arc::new(Failure::new(ErrorCode::Unavailable, why))));
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
        self.state.failure = Some(failure.clone());
        // Who is needed and cannot be woken is tried again less and less often.
        let cooldown = match self.state.held {
            0 => self.policy.cooldown,
            _ => super::sleep::doubled(self.policy.cooldown, self.state.failed_wakes),
        };
        self.state.failed_wakes = self.state.failed_wakes.saturating_add(1);
        self.state.rest_until = Some(self.now + cooldown);
        self.end(Err(failure));
    }

    pub(super) fn wake_timed_out(&mut self) {
        let (limit, what) = if self.state.slot == Slot::Asked {
            (self.policy.queue, "there was no place for it in its pool".to_owned())
        } else if !self.state.began && !self.state.adopted {
            let names: Vec<_> = self.state.missing_needs.iter().map(ToString::to_string).collect();
            (self.policy.needs, format!("what it needs was not there: {}", names.join(", ")))
        } else {
            let what = match (&self.state.operation, &self.state.seen) {
                (Some(_), _) => "the provider has not answered the start".to_owned(),
                (None, Some(seen)) => format!("last seen: {seen}"),
                (None, None) => "no probe has come back".to_owned(),
            };
            (self.policy.wake_timeout, what)
        };
        let stop = self.state.began;
        self.cancel_operation();
        let message = format!("it was not ready within {limit:?}; {what}");
        self.fail(Failure::new(ErrorCode::Timeout, message));
        match stop {
            true => self.operate(Operation::Sleep),
            false => self.find_out(),
        }
    }

    /// It has failed. If it may run somebody must look.
    pub(super) fn find_out(&mut self) {
        if self.state.may_run {
            self.ask_no_more();
            self.state.unsure = 1;
            self.look();
        }
    }
}
