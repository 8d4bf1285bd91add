//! The first moments of a life: a crowd that has waited for it must not overrun it.
//!
//! A backend that has just become ready accepts connections one by one from a short queue (9 in
//! some small servers, 128 in many). What is beyond that queue the kernel drops without a word,
//! and the visitor waits for retransmissions, many seconds or for ever. So those of the crowd that
//! still wait for their answer are few at first; each answer allows one more than before, which
//! doubles their number with every round, up to what a usual queue holds. A backend that takes its
//! time with answers is not held back for long: when somebody waits for his turn and fewer answers
//! came within 50 ms than are waited for, the number doubles too.

use std::{cell::Cell, pin::pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// Visitors of all threads together that may wait for an answer at the beginning.
const FIRST: usize = 8;
/// So many, of all threads together, after enough answers that came quickly.
const QUICK: usize = 64;
/// So many are no crowd any more, whatever the backend.
const LAST: usize = 1 << 16;
/// After so long without enough answers the number doubles.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many visitors of one thread may wait for an answer of one life, those aside who found an
/// idle connection at once.
pub(crate) struct Ramp {
    places: Arc<Semaphore>,
    first: usize,
    quick: usize,
    width: Cell<usize>,
    /// Answers since `judged`.
    answers: Cell<usize>,
    judged: Cell<Instant>,
}

/// One visitor whose turn has come, and who waits for the answer.
pub(crate) struct Step {
    ramp: Rc<Ramp>,
    _place: OwnedSemaphorePermit,
}

// === impl Ramp ===

impl Ramp {
    /// The beginning, for one of so many threads.
    pub(crate) fn new(threads: usize) -> Rc<Self> {
        let share = |all: usize| (all / threads.max(1)).max(1);
        Rc::new(Self {
            places: Arc::new(Semaphore::new(share(FIRST))),
            first: share(FIRST),
            quick: share(QUICK),
            width: Cell::new(share(FIRST)),
            answers: Cell::new(0),
            judged: Cell::new(Instant::now()),
        })
    }

    /// This life has shown that it takes more than at the beginning.
    pub(crate) fn has_grown(&self) -> bool {
        self.width.get() > self.first
    }

    /// Waits until one more may ask. Dropping this gives up the place.
    pub(crate) async fn step(self: &Rc<Self>) -> Step {
        let mut place = pin!(self.places.clone().acquire_owned());
        loop {
            match timeout(PATIENCE, &mut place).await {
                Ok(place) => {
                    let place = place.expect("the semaphore is never closed");
                    return Step { ramp: self.clone(), _place: place };
                }
                Err(_) => self.judge(),
            }
        }
    }

    fn judge(&self) {
        if self.judged.get().elapsed() >= PATIENCE {
            self.judged.set(Instant::now());
            if self.answers.replace(0) < self.width.get() {
                self.widen(self.width.get());
            }
        }
    }

    fn widen(&self, by: usize) {
        let by = by.min(LAST - self.width.get());
        self.width.set(self.width.get() + by);
        self.places.add_permits(by);
    }
}

// === impl Step ===

impl Step {
    /// The answer is there.
    pub(crate) fn answered(self) {
        let ramp = &self.ramp;
        ramp.answers.set(ramp.answers.get() + 1);
        if ramp.width.get() < ramp.quick {
            ramp.widen(1);
        }
    }
}

#[cfg(test)]
mod tests;
