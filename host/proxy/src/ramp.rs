//! The first moments of a life: a crowd that has waited for it must not overrun it.
//!
//! A backend that has just become ready accepts connections one by one from a short queue (9 in
//! some small servers, 128 in many). What is beyond that queue the kernel drops without a word,
//! and the visitor waits for retransmissions, many seconds or for ever. So new connections that
//! still wait for their first answer are few at first; each answer allows one more than before,
//! which doubles their number with every round. A backend that takes its time with answers is not
//! held back for long: whenever somebody has waited for 50 ms, the number doubles too.

use std::{cell::Cell, pin::pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// New connections of all threads together that may wait for their first answer at the beginning.
const FIRST: usize = 8;
/// So many are no crowd any more, whatever the backend.
const LAST: usize = 1 << 16;
/// Somebody who has waited for so long doubles the number.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many new connections of one thread to one life may wait for their first answer.
pub(crate) struct Ramp {
    places: Arc<Semaphore>,
    first: usize,
    width: Cell<usize>,
    widened: Cell<Instant>,
}

/// One new connection that waits for its first answer.
pub(crate) struct Step {
    ramp: Rc<Ramp>,
    _place: OwnedSemaphorePermit,
}

// === impl Ramp ===

impl Ramp {
    /// The beginning, for one of so many threads.
    pub(crate) fn new(threads: usize) -> Rc<Self> {
        let width = (FIRST / threads.max(1)).max(1);
        Rc::new(Self {
            places: Arc::new(Semaphore::new(width)),
            first: width,
            width: Cell::new(width),
            widened: Cell::new(Instant::now()),
        })
    }

    /// This life has shown that it takes more than at the beginning.
    pub(crate) fn has_grown(&self) -> bool {
        self.width.get() > self.first
    }

    /// Waits until one more connection may be made. Dropping this gives up the place.
    pub(crate) async fn step(self: &Rc<Self>) -> Step {
        let mut place = pin!(self.places.clone().acquire_owned());
        loop {
            match timeout(PATIENCE, &mut place).await {
                Ok(place) => {
                    let place = place.expect("the semaphore is never closed");
                    return Step { ramp: self.clone(), _place: place };
                }
                Err(_) => self.widen_in_time(),
            }
        }
    }

    fn widen_in_time(&self) {
        if self.widened.get().elapsed() >= PATIENCE {
            self.widened.set(Instant::now());
            self.widen(self.width.get());
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
    /// The first answer is there.
    pub(crate) fn answered(self) {
        self.ramp.widen(1);
    }
}

#[cfg(test)]
mod tests;
