//! The atomic door in front of a workload.
//!
//! One word holds whether the gate is open and how many visits are inside. A visitor passes with
//! one atomic operation and leaves with another; closing "if nobody is inside" is one
//! compare-and-swap, so there is no moment in which a visitor is admitted to a workload that has
//! begun to go. Whoever leaves last through a closed gate is told so, exactly once.
//!
//! ```text
//! bit 63      bits 0..63
//! open        visits inside
//! ```

use crate::sync::{AtomicU64, Ordering};

const OPEN: u64 = 1 << 63;
const VISITS: u64 = OPEN - 1;

/// The door of one workload. Begins closed and empty.
#[derive(Debug)]
pub struct Gate {
    word: AtomicU64,
}

/// What a visit left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Others are inside.
    Occupied,
    /// The gate is open and nobody is inside any more.
    Empty,
    /// The gate is closed and this was the last visit inside.
    Drained,
}

/// What a request to close found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody is inside.
    Empty,
    /// So many are still inside; the last of them will be told [`Left::Drained`].
    Occupied(u64),
}

// === impl Gate ===

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate with nobody inside.
    pub fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// Passes through if the gate is open. Every `true` is answered by one [`Gate::leave`].
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
    pub fn leave(&self) -> Left {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before & VISITS != 0, "a visit left that never entered");
        match (before & VISITS, before & OPEN) {
            (1, 0) => Left::Drained,
            (1, _) => Left::Empty,
            _ => Left::Occupied,
        }
    }

    /// Lets visitors pass from now on. What was written before is seen by those who enter.
    pub fn open(&self) {
        self.word.fetch_or(OPEN, Ordering::Release);
    }

    /// Lets nobody pass any more.
    pub fn close(&self) -> Closed {
        let before = self.word.fetch_and(VISITS, Ordering::AcqRel);
        match before & VISITS {
            0 => Closed::Empty,
            visits => Closed::Occupied(visits),
        }
    }

    /// Closes the gate if it is open and nobody is inside: one atomic step decides.
    pub fn close_if_empty(&self) -> bool {
        self.word.compare_exchange(OPEN, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Visitors may pass now.
    pub fn is_open(&self) -> bool {
        self.word.load(Ordering::Relaxed) & OPEN != 0
    }

    /// Visits inside now.
    pub fn visits(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & VISITS
    }
}

#[cfg(all(test, drowse_loom))]
mod loom_tests;
#[cfg(all(test, not(drowse_loom)))]
mod tests;
