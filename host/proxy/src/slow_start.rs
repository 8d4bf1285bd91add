//! Slow start: limits the requests in flight to an instance that has just become ready.
//!
//! A backend accepts connections one by one from a short queue (9 in some small servers, 128 in
//! many). The kernel silently drops connections beyond that queue, and the visitor waits for
//! retransmissions, many seconds or for ever. So only few of the visitors that waited for the
//! instance are sent at first. Each response allows one more than before, which doubles their number
//! with every round, up to the size of a usual queue. A backend that responds slowly is not limited
//! for long: while requests wait and fewer responses arrive within 50 ms than are in flight, the
//! number doubles too.

use std::{cell::Cell, pin::pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// Requests in flight at the beginning, of all threads together.
const INITIAL: usize = 8;
/// Maximum requests in flight that quick responses lead to, of all threads together: the size of a
/// usual accept queue.
const MAX_BY_RESPONSES: usize = 64;
/// Maximum requests in flight per thread that slow responses lead to; in effect no limit.
const MAX: usize = 1 << 16;
/// Interval after which the limit doubles if too few responses have arrived.
const INTERVAL: Duration = Duration::from_millis(50);

/// One thread's limit of requests in flight to one instance. Requests that find an idle connection
/// at once are not counted.
pub(crate) struct SlowStart {
    permits: Arc<Semaphore>,
    initial: usize,
    max_by_responses: usize,
    limit: Cell<usize>,
    /// Responses since `checked`.
    responses: Cell<usize>,
    checked: Cell<Instant>,
}

/// Permits one request in flight.
pub(crate) struct Permit {
    slow_start: Rc<SlowStart>,
    _permit: OwnedSemaphorePermit,
}

// === impl SlowStart ===

impl SlowStart {
    /// The slow start on one of `threads` threads.
    pub(crate) fn new(threads: usize) -> Rc<Self> {
        let share = |all: usize| (all / threads.max(1)).max(1);
        Rc::new(Self {
            permits: Arc::new(Semaphore::new(share(INITIAL))),
            initial: share(INITIAL),
            max_by_responses: share(MAX_BY_RESPONSES),
            limit: Cell::new(share(INITIAL)),
            responses: Cell::new(0),
            checked: Cell::new(Instant::now()),
        })
    }

    /// The limit is higher than at the beginning.
    pub(crate) fn has_grown(&self) -> bool {
        self.limit.get() > self.initial
    }

    /// Waits for a permit. Dropping the future gives up the place in the queue.
    pub(crate) async fn acquire(self: &Rc<Self>) -> Permit {
        let mut permit = pin!(self.permits.clone().acquire_owned());
        loop {
            match timeout(INTERVAL, &mut permit).await {
                Ok(permit) => {
                    let permit = permit.expect("the semaphore is never closed");
                    return Permit { slow_start: self.clone(), _permit: permit };
                }
                Err(_) => self.check(),
            }
        }
    }

    fn check(&self) {
        if self.checked.get().elapsed() >= INTERVAL {
            self.checked.set(Instant::now());
            if self.responses.replace(0) < self.limit.get() {
                self.grow(self.limit.get());
            }
        }
    }

    fn grow(&self, by: usize) {
        let by = by.min(MAX - self.limit.get());
        self.limit.set(self.limit.get() + by);
        self.permits.add_permits(by);
    }
}

// === impl Permit ===

impl Permit {
    /// The response has arrived.
    pub(crate) fn answered(self) {
        let slow_start = &self.slow_start;
        slow_start.responses.set(slow_start.responses.get() + 1);
        if slow_start.limit.get() < slow_start.max_by_responses {
            slow_start.grow(1);
        }
    }
}

#[cfg(test)]
mod tests;
