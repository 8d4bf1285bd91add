//! What the provider's answers say about the target itself: whether it exists, whether it was
//! replaced, and whether an instance that stopped was started again by hand.
//!
//! Only answers of the provider count here. Events are hints and change nothing of it.

use std::time::Duration;

use super::{Effect, Moment, Operation, State, machine::Machine, observe::runs};
use crate::{
    provider::{ErrorCode, Failure, Observation, Reason, Status},
    words::Phase,
};

/// A target that was removed may be recreated under its name: a wake waits this long for it.
pub(super) const ABSENCE: Duration = Duration::from_secs(3);
/// Interval of the status queries while a wake waits for a removed target.
const ABSENCE_POLL: Duration = Duration::from_millis(250);
/// An instance that stops and is started again by hand within this time is the same instance.
const RESTART: Duration = Duration::from_secs(60);

/// The target as the provider last described it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Target {
    exists: bool,
    native_id: Option<String>,
    /// When it was first found missing, if it existed before.
    missing_since: Option<Moment>,
    /// The target of the last failed wake: another one lifts the cool-down.
    failed: Option<String>,
    /// The cool-down was lifted, and no wake has succeeded since.
    lifted: bool,
    /// The awake instance that was found stopped.
    stopped: Option<Stopped>,
}

/// An instance that stopped while it was awake.
#[derive(Clone, Debug, PartialEq)]
struct Stopped {
    native_id: String,
    at: Moment,
    adopted: bool,
}

impl Machine<'_> {
    /// Records what an answer of the provider says about the target.
    pub(super) fn record(&mut self, seen: &Observation) {
        if seen.status == Status::Missing {
            return self.record_missing();
        }
        let target = &mut self.state.target;
        target.exists = true;
        target.missing_since = None;
        target.native_id = seen.native_id.clone().or(target.native_id.take());
    }

    pub(super) fn record_missing(&mut self) {
        let target = &mut self.state.target;
        if std::mem::take(&mut target.exists) {
            target.missing_since = Some(self.now);
        }
        target.native_id = None;
    }

    /// Records which target a failed wake was for.
    pub(super) fn record_failure(&mut self) {
        let target = &mut self.state.target;
        // At most every other failed wake is retried early: an identity that changes with each
        // start must not turn off the cool-down.
        let retried = std::mem::take(&mut target.lifted);
        target.failed = target.native_id.clone().filter(|_| !retried);
    }

    /// Whether the cool-down is over because this target replaced the one that failed.
    pub(super) fn is_replaced(&self, seen: &Observation) -> bool {
        let (Some(failed), Some(id)) = (&self.state.target.failed, &seen.native_id) else {
            return false;
        };
        failed != id && self.state.failed_stops == 0 && seen.status != Status::Missing
    }

    pub(super) fn lift_cooldown(&mut self, to: Phase) {
        self.state.failure = None;
        self.state.rest_until = None;
        self.state.again_at = None;
        self.state.target.failed = None;
        self.state.target.lifted = to == Phase::Asleep;
        self.enter(to);
    }

    /// The platform was away when the wake failed, or the way to it: the next visitor's wake is
    /// not put off.
    pub(super) fn end_cooldown(&mut self) {
        if self.state.phase() == Phase::Failed && self.state.failed_stops == 0 {
            self.state.rest_until = None;
        }
    }

    // --- a target that was removed

    /// Keeps a wake waiting whose target was removed a moment ago: recreating a target under its
    /// name takes a moment. Says whether it waits.
    pub(super) fn await_target(&mut self, absence: &str) -> bool {
        let Some(since) = self.state.target.missing_since else { return false };
        let until = (since + ABSENCE).min(self.state.wake_until);
        if until <= self.now || self.state.adopted {
            return false;
        }
        if self.state.life.take().is_some() {
            self.effects.push(Effect::StopProbe);
        }
        self.state.absent = Some(absence.into());
        self.arm(until - self.now);
        self.arm_look(ABSENCE_POLL);
        true
    }

    /// The status query of a waiting wake has been answered.
    pub(super) fn looked_for_target(&mut self, seen: &Observation) {
        match seen.status {
            Status::Missing | Status::Stopping => self.arm_look(ABSENCE_POLL),
            _ => self.target_is_back(),
        }
    }

    /// The wake has waited long enough.
    pub(super) fn target_stays_away(&mut self, absence: &str) {
        let message = format!("{absence}; no other target of its name appeared in time");
        self.fail(Failure::new(ErrorCode::NotFound, message).because(Reason::Removed));
    }

    /// Starts the target that a waiting wake has found.
    pub(super) fn target_is_back(&mut self) {
        self.state.absent = None;
        self.arm(self.state.wake_until.saturating_sub(self.now));
        self.operate(Operation::Start);
    }

    // --- an instance that was restarted by hand

    /// Records the awake instance that was found stopped.
    pub(super) fn record_stopped(&mut self) {
        let native_id = self.state.life.as_ref().and_then(|life| life.native_id.clone());
        let (at, adopted) = (self.now, self.state.adopted);
        self.state.target.stopped = native_id.map(|native_id| Stopped { native_id, at, adopted });
    }

    /// Whether this is the instance that stopped a moment ago, started again by hand.
    pub(super) fn is_restarted(&self, seen: &Observation) -> bool {
        self.restarted(seen).is_some()
    }

    /// Whether the restarted instance was adopted in the first place.
    pub(super) fn restarted_adopted(&self, seen: &Observation) -> Option<bool> {
        self.restarted(seen).map(|stopped| stopped.adopted)
    }

    fn restarted(&self, seen: &Observation) -> Option<&Stopped> {
        let recent = |stopped: &&Stopped| self.now.saturating_sub(stopped.at) <= RESTART;
        let stopped = self.state.target.stopped.as_ref().filter(recent)?;
        let same = seen.native_id.as_ref() == Some(&stopped.native_id);
        (same && runs(&seen.status) && !self.policy.job).then_some(stopped)
    }
}

// === impl Target ===

impl Target {
    /// It existed when the provider answered last.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    /// Whether a hint contradicts the last answer of the provider.
    pub(super) fn differs(&self, seen: &Observation) -> bool {
        let other = self.native_id.is_some()
            && seen.native_id.is_some()
            && self.native_id != seen.native_id;
        other || self.exists == (seen.status == Status::Missing)
    }

    /// The next instance begins.
    pub(super) fn forget_stopped(&mut self) {
        self.stopped = None;
    }

    pub(super) fn succeeded(&mut self) {
        self.failed = None;
        self.lifted = false;
    }
}

// === impl State ===

impl State {
    /// A wake waits for a removed target to be recreated.
    pub(super) fn is_absent(&self) -> bool {
        self.absent.is_some()
    }
}
