//! What the provider says by itself.

use std::sync::Arc;

use super::{Effect, Operation, Priority, machine::Machine, sleep::backoff};
use crate::{
    provider::{Observation, Status},
    spec::Adopt,
    words::Phase,
};

impl Machine<'_> {
    pub(super) fn changed(&mut self, seen: &Observation) {
        if let Some((_, operation)) = self.state.operation {
            // The answer may be older than this.
            self.state.missed |= match operation {
                Operation::Start => gone(&seen.status),
                Operation::Sleep | Operation::DeepSleep | Operation::Renew(_) => runs(&seen.status),
            };
            return;
        }
        let look = match self.state.phase() {
            Phase::Draining | Phase::Stopping => false,
            Phase::Waking if self.state.is_absent() => {
                if !matches!(seen.status, Status::Missing | Status::Stopping) {
                    self.target_is_back();
                }
                false
            }
            Phase::Waking if self.state.life.is_none() => {
                self.state.missed = runs(&seen.status);
                false
            }
            Phase::Waking => {
                self.effects.push(Effect::ProbeNow);
                self.differs(seen)
            }
            Phase::Ready => self.differs(seen),
            Phase::Asleep => !matches!(seen.status, Status::Stopped | Status::Paused),
            Phase::Failed => {
                let retries = self.state.failed_stops > 0;
                runs(&seen.status) || retries || self.state.target.differs(seen)
            }
            Phase::Missing => seen.status != Status::Missing,
        };
        if look {
            self.look(Priority::Urgent);
        }
    }

    fn differs(&self, seen: &Observation) -> bool {
        self.state.life.as_ref().is_none_or(|life| {
            !runs(&seen.status) && life.status != seen.status
                || life.native_id != seen.native_id
                || life.addresses != seen.addresses
        })
    }

    pub(super) fn look(&mut self, priority: Priority) {
        if self.state.operation.is_some() {
            // What is seen now may be older than the answer to come.
            self.state.missed = true;
            return;
        }
        // An urgent query does not wait for a routine one, which may wait for its turn.
        if self.state.look.is_some_and(|(_, asked)| asked >= priority) {
            self.state.look_again = self.state.look_again.max(Some(priority));
            return;
        }
        let ticket = self.ticket();
        self.state.look = Some((ticket, priority));
        self.state.look_again = None;
        self.state.missed = false;
        self.disarm_look();
        self.effects.push(Effect::QueryStatus(ticket, priority));
    }

    /// The provider could not say what it is. It is asked again until it can.
    pub(super) fn not_looked(&mut self) {
        self.state.owed = self.state.owed.saturating_add(1);
        self.arm_look(backoff(self.state.owed));
    }

    pub(super) fn looked(&mut self, seen: Observation) {
        let adopts = self.policy.adopt != Adopt::Ignore && !self.policy.job;
        let (ours, status) = (self.state.is_owned(), seen.status.clone());
        let (restarted, replaced) = (self.is_restarted(&seen), self.is_replaced(&seen));
        let removed = seen.status == Status::Missing && self.state.target.exists();
        self.record(&seen);
        self.state.owed = 0;
        self.state.unsure = false;
        self.state.may_run &= !gone(&seen.status);
        match self.state.phase() {
            Phase::Draining | Phase::Stopping => {}
            Phase::Waking if self.state.is_absent() => self.looked_for_target(&seen),
            // Before the start it does not matter what it is, unless there will be none.
            Phase::Waking if self.state.life.is_none() => self.state.missed = runs(&seen.status),
            Phase::Waking if gone(&seen.status) => self.died_waking(&seen),
            Phase::Waking if self.differs(&seen) && runs(&seen.status) => {
                self.effects.push(Effect::StopProbe);
                self.probe(seen);
            }
            Phase::Waking => {}
            Phase::Ready if gone(&seen.status) || seen.status == Status::Stopping => {
                self.record_stopped();
                self.effects.push(Effect::CloseGate);
                self.enter(resting_phase(&seen.status));
            }
            Phase::Ready if self.differs(&seen) => {
                // Another life under the same name: it must show that it is ready.
                self.effects.push(Effect::CloseGate);
                self.adopt(seen);
            }
            Phase::Ready => self.state.life = Some(Arc::new(seen)),
            Phase::Failed if self.state.failed_stops > 0 => self.slept_after_all(&seen),
            Phase::Failed if runs(&seen.status) && self.state.is_owned() && !self.policy.job => {
                self.adopt(seen);
            }
            Phase::Asleep | Phase::Missing | Phase::Failed
                if runs(&seen.status) && (adopts || restarted) =>
            {
                self.adopt(seen);
            }
            // The failure was that of a target that is gone.
            Phase::Failed if removed => {
                self.state.light = false;
                self.lift_cooldown(Phase::Missing);
            }
            Phase::Failed if replaced => self.lift_cooldown(Phase::Asleep),
            Phase::Asleep if seen.status == Status::Missing => {
                self.state.light = false;
                self.enter(Phase::Missing);
            }
            Phase::Missing if seen.status != Status::Missing => {
                self.state.failure = None;
                self.state.rest_until = None;
                self.enter(Phase::Asleep);
            }
            Phase::Asleep | Phase::Failed | Phase::Missing => {}
        }
        if matches!(self.state.phase(), Phase::Asleep | Phase::Failed) {
            match status {
                Status::Paused => {
                    self.state.light |= (adopts || ours) && self.policy.deep_after.is_some();
                }
                Status::Stopped | Status::Failed => self.state.light = false,
                _ => {}
            }
        }
    }
}

/// It does not serve and will not by itself.
pub(super) fn gone(status: &Status) -> bool {
    matches!(status, Status::Stopped | Status::Paused | Status::Failed | Status::Missing)
}

/// Where one rests that the provider says this of.
pub(super) fn resting_phase(status: &Status) -> Phase {
    match status {
        Status::Missing => Phase::Missing,
        _ => Phase::Asleep,
    }
}

pub(super) fn runs(status: &Status) -> bool {
    matches!(status, Status::Running | Status::Starting)
}
