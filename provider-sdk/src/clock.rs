//! Time. Providers have no other clock; in the harness it is virtual.

use std::time::Duration;

use crate::host;

/// A moment by the host's monotonic clock, from which on it is too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Duration);

/// The time since 1970-01-01T00:00:00Z, by the router's clock.
pub fn since_epoch() -> Duration {
    Duration::from_nanos(host::now())
}

/// The time since an arbitrary moment; never goes back.
pub fn monotonic() -> Duration {
    Duration::from_nanos(host::monotonic())
}

/// Waits; nothing is spent meanwhile.
pub fn sleep(pause: Duration) {
    host::sleep(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
}

// === impl Deadline ===

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Self {
        Self(monotonic().saturating_add(time))
    }

    /// What is left; none when it has passed.
    pub fn left(self) -> Option<Duration> {
        self.0.checked_sub(monotonic()).filter(|left| !left.is_zero())
    }
}
