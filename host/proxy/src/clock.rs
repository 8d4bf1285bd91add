//! A coarse clock for deadlines that are checked in sweeps. Reading it costs one load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Time between two sweeps.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Ticks since the thread started, as of its last sweep or accepted connection.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    now: Arc<AtomicU32>,
}

/// A time, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(u32);

// === impl Clock ===

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), now: Arc::default() }
    }

    /// Updates the clock from the system's.
    pub(crate) fn advance(&self) {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        self.now.store(u32::try_from(ticks).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Tick {
        Tick(self.now.load(Ordering::Relaxed))
    }

    /// Whether more than `limit` has passed since `then`. May be late by one tick, never early.
    pub(crate) fn passed(&self, then: Tick, limit: Duration) -> bool {
        let age = self.now().0.saturating_sub(then.0);
        u128::from(age) > limit.as_millis().div_ceil(TICK.as_millis())
    }
}

// === impl Tick ===

impl Tick {
    pub(crate) fn to_raw(self) -> u32 {
        self.0
    }

    pub(crate) fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}
