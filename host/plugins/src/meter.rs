//! How long guest code has run without waiting.
//!
//! Every tick of the runtime's clock interrupts running guest code: it is counted and lets others
//! run. Whenever a call waits for anything else, the count begins anew, so it measures CPU and not
//! time.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// Between two interruptions of guest code.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The count of one store. Shared by the store and the future that drives it.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: u32,
    ticks: AtomicU32,
    /// The guest was interrupted only to let others run: it does not wait.
    yielding: AtomicBool,
}

// === impl Meter ===

impl Meter {
    /// Allows this much CPU without waiting in between, rounded up to ticks.
    pub(crate) fn new(cpu: Duration) -> Self {
        let limit = cpu.as_millis().div_ceil(TICK.as_millis()).max(1);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Self { limit, ticks: AtomicU32::new(0), yielding: AtomicBool::new(false) }
    }

    /// Counts one interruption; false when the limit is passed.
    pub(crate) fn tick(&self) -> bool {
        self.yielding.store(true, Relaxed);
        self.ticks.fetch_add(1, Relaxed) < self.limit
    }

    /// Drives a guest call and begins the count anew whenever it waits.
    pub(crate) async fn drive<F: Future>(&self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|cx| {
            let polled = call.as_mut().poll(cx);
            if polled.is_pending() && !self.yielding.swap(false, Relaxed) {
                self.ticks.store(0, Relaxed);
            }
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn yields_count_and_waits_begin_anew() {
        let meter = Meter::new(Duration::from_millis(20));
        meter
            .drive(async {
                assert!(meter.tick());
                tokio::task::yield_now().await;
                assert!(meter.tick());
                tokio::task::yield_now().await;
                assert!(!meter.tick(), "two ticks of 10 ms are all that 20 ms allow");
            })
            .await;
        meter
            .drive(async {
                for _ in 0..10 {
                    meter.yielding.store(false, Relaxed);
                    tokio::task::yield_now().await;
                    assert!(meter.tick());
                    meter.yielding.store(false, Relaxed);
                }
            })
            .await;
    }
}
