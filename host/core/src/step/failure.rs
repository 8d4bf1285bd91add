//! The last failure, its cool-down, and when the next attempt is made.

use std::{sync::Arc, time::Duration};

use super::Moment;
use crate::provider::Failure;

/// First interval between attempts that fail; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Longest interval between attempts that fail.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Failures {
    last: Option<LastFailure>,
    /// A workload that is needed is not woken again before this.
    retry_at: Option<Moment>,
    /// Consecutive failed wakes.
    failed_wakes: u32,
}

#[derive(Clone, Debug, PartialEq)]
struct LastFailure {
    failure: Arc<Failure>,
    /// Visitors get the failure instead of a new wake until then.
    cooldown_until: Option<Moment>,
}

// === impl Failures ===

impl Failures {
    pub(super) fn last(&self) -> Option<&Arc<Failure>> {
        self.last.as_ref().map(|last| &last.failure)
    }

    pub(super) fn cooldown_until(&self) -> Option<Moment> {
        self.last.as_ref()?.cooldown_until
    }

    /// A wake failed. Each further failure doubles the interval after which a needed workload is
    /// woken again; a visitor's wake waits for the cool-down only.
    pub(super) fn wake_failed(&mut self, failure: Arc<Failure>, now: Moment, cooldown: Duration) {
        self.last = Some(LastFailure { failure, cooldown_until: Some(now + cooldown) });
        self.retry_at = Some(now + doubled(cooldown, self.failed_wakes));
        self.failed_wakes = self.failed_wakes.saturating_add(1);
    }

    /// A sleep failed. A cool-down goes on.
    pub(super) fn sleep_failed(&mut self, failure: Arc<Failure>) {
        self.last = Some(LastFailure { failure, cooldown_until: self.cooldown_until() });
    }

    /// A wake succeeded.
    pub(super) fn wake_succeeded(&mut self) {
        self.failed_wakes = 0;
    }

    /// The failure is over. A needed workload still waits for its next attempt.
    pub(super) fn clear(&mut self) {
        self.last = None;
    }

    /// The failure is over, and the next attempt may be made now.
    pub(super) fn clear_with_retry(&mut self) {
        self.last = None;
        self.retry_at = None;
    }

    /// The failure remains, and visitors may wake the workload again.
    pub(super) fn end_cooldown(&mut self) {
        if let Some(last) = &mut self.last {
            last.cooldown_until = None;
        }
    }

    /// Time until a workload that is needed may be woken again.
    pub(super) fn retry_in(&self, now: Moment) -> Duration {
        let at = self.cooldown_until().max(self.retry_at).unwrap_or_default();
        at.saturating_sub(now)
    }
}

/// Interval after this many consecutive failures.
pub(super) fn backoff(failures: u32) -> Duration {
    doubled(MIN_BACKOFF, failures.saturating_sub(1))
}

/// Doubles a duration this many times, up to [`MAX_BACKOFF`] or the duration itself.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(MAX_BACKOFF.max(first))
}
