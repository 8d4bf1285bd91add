//! Time. The only clock of providers; virtual in the test harness.

use std::time::Duration;

use crate::host;

/// A point in time of the host's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Duration);

/// Time since 1970-01-01T00:00:00Z, by the router's clock.
pub fn since_epoch() -> Duration {
    Duration::from_nanos(host::now())
}

/// Time since an arbitrary start; never decreases.
pub fn monotonic() -> Duration {
    Duration::from_nanos(host::monotonic())
}

/// Waits without using CPU time.
pub fn sleep(pause: Duration) {
    host::sleep(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
}

/// Seconds, rounded up, for platforms that take whole seconds.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

// === impl Deadline ===

impl Deadline {
    /// This much time from now.
    pub fn after(time: Duration) -> Self {
        Self(monotonic().saturating_add(time))
    }

    /// Remaining time; None if the deadline has passed.
    pub fn left(self) -> Option<Duration> {
        self.0.checked_sub(monotonic()).filter(|left| !left.is_zero())
    }
}
