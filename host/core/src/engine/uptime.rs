//! Time since the engine started.

use std::time::{Duration, Instant};

use crate::step::Moment;

/// Offset of [`Uptime::milliseconds`], so that a time before the engine's start can be expressed.
const OFFSET: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A monotonic clock that begins with the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uptime(tokio::time::Instant);

impl Uptime {
    pub(super) fn begin() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(super) fn now(self) -> Moment {
        self.0.elapsed()
    }

    /// [`Uptime::now`] plus ten years, for atomics: a restored instance may have been used last
    /// before this engine started.
    pub(super) fn milliseconds(self) -> u64 {
        u64::try_from((OFFSET + self.now()).as_millis()).unwrap_or(u64::MAX)
    }

    /// Time since `milliseconds` on this clock.
    pub(super) fn since(self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.milliseconds().saturating_sub(milliseconds))
    }

    pub(super) fn at(self, moment: Moment) -> Instant {
        (self.0 + moment).into_std()
    }
}
