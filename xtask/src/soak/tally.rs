//! What became of every request.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::told::{Met, Nanos, now};
use crate::bench::samples::Samples;

/// Counts of all visitors together.
#[derive(Default)]
pub(super) struct Tally {
    answered: AtomicU64,
    broken_off: AtomicU64,
    losses: AtomicU64,
    met: [AtomicU64; 5],
    holds: Mutex<Samples>,
}

/// Losses that are shown; the others are counted.
const SHOWN: u64 = 20;

/// Waits that are kept: more than any run has.
const KEPT: usize = 10_000_000;

// === impl Tally ===

impl Tally {
    /// A request was let in: it had been sent at this moment and met this.
    pub(super) fn let_in(&self, met: Met, sent: Nanos) {
        self.met[met as usize].fetch_add(1, Ordering::Relaxed);
        if met != Met::Open {
            let mut holds = self.holds();
            if holds.len() < KEPT {
                holds.add(now().saturating_sub(sent) as f64 / 1e6);
            }
        }
    }

    /// A request was answered as it should be, to the last byte.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// A visitor has broken off its own request.
    pub(super) fn broken_off(&self) {
        self.broken_off.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was lost, or the workload was not treated as it should be.
    pub(super) fn lost(&self, what: impl fmt::Display) {
        if self.losses.fetch_add(1, Ordering::Relaxed) < SHOWN {
            println!("  LOST at {}: {what}", time_of_day(now()));
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    fn met(&self, met: Met) -> u64 {
        self.met[met as usize].load(Ordering::Relaxed)
    }

    fn holds(&self) -> MutexGuard<'_, Samples> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken_off = self.broken_off.load(Ordering::Relaxed);
        let answered = self.requests();
        writeln!(f, "requests  {answered} answered, {broken_off} more broken off by the visitor")?;
        writeln!(f, "losses    {}", self.losses())?;
        let holds = self.holds();
        writeln!(
            f,
            "hold      p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, of the {} that met a closed gate:",
            holds.median(),
            holds.p99(),
            holds.max(),
            holds.len(),
        )?;
        write!(
            f,
            "          {} sent while it was closing, {} stopping, {} asleep, {} waking",
            self.met(Met::Closing),
            self.met(Met::Stopping),
            self.met(Met::Asleep),
            self.met(Met::Waking),
        )
    }
}

/// As the router's log says it.
pub(crate) fn time_of_day(at: Nanos) -> String {
    let (seconds, micros) = (at / 1_000_000_000, at / 1_000 % 1_000_000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{micros:06}Z", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_met_a_closed_gate_was_held() {
        let tally = Tally::default();
        tally.let_in(Met::Open, now());
        tally.let_in(Met::Stopping, now() - 5_000_000);
        assert_eq!(tally.holds().len(), 1);
        assert!(tally.holds().max() >= 5.0);
        assert!(tally.to_string().contains("1 stopping"), "{tally}");
    }

    #[test]
    fn a_moment_is_shown_as_the_log_does() {
        assert_eq!(time_of_day(1_700_000_000_123_456_789), "22:13:20.123456Z");
    }
}
