//! The atomic gate in front of a workload.
//!
//! One word holds whether the gate is open and how many visits are inside. A visitor enters with
//! one atomic operation and leaves with another; [`Gate::close_if_empty`] is one compare-and-swap,
//! so no visitor is admitted to a workload that has begun to go to sleep. Exactly one visit that
//! leaves through a closed gate, the last one, gets [`LeaveOutcome::Drained`].
//!
//! ```text
//! bit 63      bits 0..63
//! open        visits inside
//! ```

use crate::sync::{AtomicU64, Ordering};

const OPEN: u64 = 1 << 63;
const VISITS: u64 = OPEN - 1;

/// The gate of one workload. Starts closed and empty.
#[derive(Debug)]
pub struct Gate {
    word: AtomicU64,
}

/// The state of the gate after a visit has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveOutcome {
    /// Other visits are inside.
    Occupied,
    /// The gate is open, and no visit is inside.
    Empty,
    /// The gate is closed and this was the last visit inside.
    Drained,
}

/// The visits inside when the gate was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseOutcome {
    /// No visit is inside.
    Empty,
    /// Number of visits inside; the last one gets [`LeaveOutcome::Drained`].
    Occupied(u64),
}

// === impl Gate ===

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed and empty gate.
    pub fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// Enters if the gate is open. Every `true` is followed by one [`Gate::leave`].
    pub fn enter(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & OPEN != 0 {
            match self.word.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
        false
    }

    /// Ends one visit.
    pub fn leave(&self) -> LeaveOutcome {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before & VISITS != 0, "a visit left that never entered");
        match (before & VISITS, before & OPEN) {
            (1, 0) => LeaveOutcome::Drained,
            (1, _) => LeaveOutcome::Empty,
            _ => LeaveOutcome::Occupied,
        }
    }

    /// Opens the gate. Writes before this call are visible to visits that enter.
    pub fn open(&self) {
        self.word.fetch_or(OPEN, Ordering::Release);
    }

    /// Closes the gate.
    pub fn close(&self) -> CloseOutcome {
        let before = self.word.fetch_and(VISITS, Ordering::AcqRel);
        match before & VISITS {
            0 => CloseOutcome::Empty,
            visits => CloseOutcome::Occupied(visits),
        }
    }

    /// Closes the gate if it is open and empty, in one atomic step.
    pub fn close_if_empty(&self) -> bool {
        self.word.compare_exchange(OPEN, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Returns whether the gate is open.
    pub fn is_open(&self) -> bool {
        self.word.load(Ordering::Relaxed) & OPEN != 0
    }

    /// Visits inside.
    pub fn visits(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & VISITS
    }
}

#[cfg(all(test, drowse_loom))]
mod loom_tests;
#[cfg(all(test, not(drowse_loom)))]
mod tests;
