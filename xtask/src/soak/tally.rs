//! Counts of outcomes.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::headers::{GateState, Nanos, now};
use crate::bench::samples::Samples;

/// Counts over all clients.
#[derive(Default)]
pub(super) struct Tally {
    answered: AtomicU64,
    broken_off: AtomicU64,
    losses: AtomicU64,
    met: [AtomicU64; 5],
    holds: Mutex<Samples>,
}

/// Number of losses that are printed; the others are only counted.
const SHOWN: u64 = 20;

/// Maximum number of stored wait times.
const KEPT: usize = 10_000_000;

// === impl Tally ===

impl Tally {
    /// Adds an admitted request with its send time and the state of the gate at that time.
    pub(super) fn admitted(&self, met: GateState, sent: Nanos) {
        self.met[met as usize].fetch_add(1, Ordering::Relaxed);
        if met != GateState::Open {
            let mut holds = self.holds();
            if holds.len() < KEPT {
                holds.add(now().saturating_sub(sent) as f64 / 1e6);
            }
        }
    }

    /// Counts a correct and complete response.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that its client broke off.
    pub(super) fn broken_off(&self) {
        self.broken_off.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts and prints a lost request or another violation.
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

    fn met(&self, met: GateState) -> u64 {
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
        writeln!(f, "requests  {answered} answered, {broken_off} broken off by the client")?;
        writeln!(f, "losses    {}", self.losses())?;
        let holds = self.holds();
        writeln!(
            f,
            "hold      p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, of {} requests at a closed gate:",
            holds.median(),
            holds.p99(),
            holds.max(),
            holds.len(),
        )?;
        write!(
            f,
            "          {} closing, {} stopping, {} asleep, {} waking",
            self.met(GateState::Closing),
            self.met(GateState::Stopping),
            self.met(GateState::Asleep),
            self.met(GateState::Waking),
        )
    }
}

/// Time of day in the format of the router's log.
pub(crate) fn time_of_day(at: Nanos) -> String {
    let (seconds, micros) = (at / 1_000_000_000, at / 1_000 % 1_000_000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{micros:06}Z", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_at_a_closed_gate_were_held() {
        let tally = Tally::default();
        tally.admitted(GateState::Open, now());
        tally.admitted(GateState::Stopping, now() - 5_000_000);
        assert_eq!(tally.holds().len(), 1);
        assert!(tally.holds().max() >= 5.0);
        assert!(tally.to_string().contains("1 stopping"), "{tally}");
    }

    #[test]
    fn a_time_is_formatted_as_in_the_log() {
        assert_eq!(time_of_day(1_700_000_000_123_456_789), "22:13:20.123456Z");
    }
}
