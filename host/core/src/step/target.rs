//! The target as the provider's results describe it: whether it exists, whether it was replaced,
//! and whether an instance that stopped was started again by its platform or a user.
//!
//! Only results count here. Events are hints and change nothing of it.

use std::time::Duration;

use super::{
    Effect, Moment,
    machine::Machine,
    observe::is_up,
    phase::{PhaseState, Progress, Recovery},
};
use crate::provider::{ErrorCode, Failure, Observation, Reason, Status};

/// A removed target may be recreated under its name: a wake waits this long for it.
pub(super) const ABSENCE: Duration = Duration::from_secs(3);
/// Interval of the status queries while a wake waits for a removed target.
const ABSENCE_POLL: Duration = Duration::from_millis(250);
/// An instance that stops and is started again within this time, not by this router, is the same
/// instance.
const RESTART: Duration = Duration::from_secs(60);

/// The target as the provider last described it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Target {
    exists: bool,
    native_id: Option<String>,
    /// When the target was first found missing, if it existed before.
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
pub(super) struct Stopped {
    native_id: String,
    at: Moment,
    pub(super) adopted: bool,
}

impl Machine<'_> {
    /// Records the target as a result describes it.
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

    pub(super) fn lift_cooldown(&mut self, to: PhaseState) {
        self.state.failures.clear_with_retry();
        self.state.target.failed = None;
        self.state.target.lifted = to == PhaseState::Asleep;
        self.enter(to);
    }

    /// The platform, or the way to it, was down when the wake failed: the next visitor's wake is
    /// not delayed.
    pub(super) fn resynced(&mut self) {
        let PhaseState::Failed(recovery) = &self.state.phase else { return };
        if !matches!(recovery, Recovery::SleepFailed { .. }) {
            self.state.failures.end_cooldown();
        }
    }

    // --- a target that was removed

    /// Keeps a wake waiting whose target was removed a moment ago: recreating a target under its
    /// name takes a moment. Returns whether the wake waits.
    pub(super) fn await_target(&mut self, absence: &str) -> bool {
        let Some(since) = self.state.target.missing_since else { return false };
        let Some(launch) = self.state.phase.launch() else { return false };
        let until = (since + ABSENCE).min(launch.deadline);
        if until <= self.now {
            return false;
        }
        if self.state.phase.probe().is_some() {
            self.effects.push(Effect::StopProbe);
        }
        self.set_progress(Progress::Absent(absence.into()));
        self.arm(until - self.now);
        self.arm_query_timer(ABSENCE_POLL);
        true
    }

    /// Starts the target that the wake waits for, if it is back. Returns whether it is.
    pub(super) fn start_if_back(&mut self, status: &Status) -> bool {
        if matches!(status, Status::Missing | Status::Stopping) {
            return false;
        }
        let deadline = self.state.phase.launch().map_or(self.now, |launch| launch.deadline);
        self.arm(deadline.saturating_sub(self.now));
        self.relaunch();
        true
    }

    /// As [`Self::start_if_back`]; queries the status again if the target is not back.
    pub(super) fn start_if_back_or_poll(&mut self, status: &Status) {
        if !self.start_if_back(status) {
            self.arm_query_timer(ABSENCE_POLL);
        }
    }

    /// Fails a wake that has waited long enough for its target.
    pub(super) fn target_stays_away(&mut self, absence: &str) {
        let message = format!("{absence}; no other target of its name appeared in time");
        self.fail(Failure::new(ErrorCode::NotFound, message).with_reason(Reason::Removed));
    }

    // --- an instance that was restarted from outside

    /// Records the awake instance that was found stopped.
    pub(super) fn record_stopped(&mut self) {
        let PhaseState::Ready(ready) = &self.state.phase else { return };
        let native_id = ready.observation.native_id.clone();
        let (at, adopted) = (self.now, ready.adopted);
        self.state.target.stopped = native_id.map(|native_id| Stopped { native_id, at, adopted });
    }

    /// The instance that stopped a moment ago, if it was started again from outside.
    pub(super) fn restarted(&self, seen: &Observation) -> Option<&Stopped> {
        let recent = |stopped: &&Stopped| self.now.saturating_sub(stopped.at) <= RESTART;
        let stopped = self.state.target.stopped.as_ref().filter(recent)?;
        let same = seen.native_id.as_ref() == Some(&stopped.native_id);
        (same && is_up(&seen.status) && !self.policy.job).then_some(stopped)
    }
}

// === impl Target ===

impl Target {
    /// Returns whether the target existed in the provider's last result.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    /// Returns whether a hint contradicts the provider's last result.
    pub(super) fn differs(&self, seen: &Observation) -> bool {
        let other = self.native_id.is_some()
            && seen.native_id.is_some()
            && self.native_id != seen.native_id;
        other || self.exists == (seen.status == Status::Missing)
    }

    /// Returns whether this is another target than that of the failed wake: the cool-down is over.
    pub(super) fn is_replaced_by(&self, seen: &Observation) -> bool {
        let (Some(failed), Some(id)) = (&self.failed, &seen.native_id) else { return false };
        failed != id && seen.status != Status::Missing
    }

    /// The next instance begins.
    pub(super) fn forget_stopped(&mut self) {
        self.stopped = None;
    }

    /// A wake has succeeded.
    pub(super) fn succeeded(&mut self) {
        self.failed = None;
        self.lifted = false;
    }
}
