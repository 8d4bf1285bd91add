//! How much CPU time an instance takes.
//!
//! It may take its limit at once, and gets a tenth of the time back in which it waits: who waits
//! between short pieces of work is never noticed, who only seems to wait runs out. What counts is the CPU
//! time of the thread while the instance is driven, so host functions that compute for the guest
//! count, and time in which others had the processor does not. Every tick of the runtime's clock
//! interrupts running guest code: it is measured and lets others run.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Between two interruptions of guest code.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// One part of the time that it waits is given back.
const SHARE: u64 = 10;

/// A shorter piece of work counts as long as it took by the clock on the wall, which is cheaper to
/// look at.
const SHORT: Duration = Duration::from_millis(1);

/// The account of one store. Shared by the store and the future that drives it. Only the thread
/// that drives the store at the moment uses it.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: u64,
    /// Nanoseconds taken and not given back.
    taken: AtomicU64,
    /// When the last piece of work ended, in nanoseconds since `made`.
    ended: AtomicU64,
    /// It ended only to let others run: what passes then is no waiting.
    yielding: AtomicBool,
    /// The thread's CPU time when the piece of work in progress began.
    began: AtomicU64,
    made: Instant,
}

/// An instance has used up its CPU time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

// === impl Meter ===

impl Meter {
    /// Allows this much CPU at once.
    pub(crate) fn new(cpu: Duration) -> Self {
        Self {
            limit: nanoseconds(cpu),
            taken: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            yielding: AtomicBool::new(false),
            began: AtomicU64::new(0),
            made: Instant::now(),
        }
    }

    /// Whether the instance may go on after it has let others run.
    pub(crate) fn may_go_on(&self) -> bool {
        self.yielding.store(true, Relaxed);
        let taken = cpu_time().saturating_sub(self.began.load(Relaxed));
        self.taken.load(Relaxed).saturating_add(taken) < self.limit
    }

    /// Drives a call piece by piece. Ends it when its time is used up, also by what the host did
    /// for it.
    pub(crate) async fn drive<F: Future>(&self, call: F) -> Result<F::Output, Exhausted> {
        let mut call = pin!(call);
        poll_fn(|cx| {
            self.give_back(nanoseconds(self.made.elapsed()));
            self.yielding.store(false, Relaxed);
            self.began.store(cpu_time(), Relaxed);
            let clock = Instant::now();
            let polled = call.as_mut().poll(cx);
            let mut took = clock.elapsed();
            if took > SHORT {
                took = Duration::from_nanos(cpu_time().saturating_sub(self.began.load(Relaxed)));
            }
            let taken = self.taken.load(Relaxed).saturating_add(nanoseconds(took));
            self.taken.store(taken, Relaxed);
            self.ended.store(nanoseconds(self.made.elapsed()), Relaxed);
            match polled {
                Poll::Pending if taken >= self.limit => Poll::Ready(Err(Exhausted)),
                polled => polled.map(Ok),
            }
        })
        .await
    }

    fn give_back(&self, now: u64) {
        if self.yielding.load(Relaxed) {
            return;
        }
        let waited = now.saturating_sub(self.ended.load(Relaxed));
        let taken = self.taken.load(Relaxed).saturating_sub(waited / SHARE);
        self.taken.store(taken, Relaxed);
    }
}

/// The CPU time of this thread.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so much CPU time.
    fn compute(time: Duration) {
        let began = cpu_time();
        while cpu_time() - began < nanoseconds(time) {
            std::hint::spin_loop();
        }
    }

    async fn in_pieces(meter: &Meter, pieces: usize, time: Duration) -> Result<(), Exhausted> {
        let work = async {
            for _ in 0..pieces {
                compute(time);
                tokio::task::yield_now().await;
            }
        };
        meter.drive(work).await
    }

    #[tokio::test]
    async fn what_is_taken_in_pieces_adds_up() {
        let meter = Meter::new(Duration::from_millis(50));
        assert_eq!(in_pieces(&meter, 2, Duration::from_millis(5)).await, Ok(()));
        // A tenth of the time between the pieces is given back, which is not enough for this.
        let long = in_pieces(&meter, 1000, Duration::from_millis(5)).await;
        assert_eq!(long, Err(Exhausted));
    }

    #[tokio::test]
    async fn a_piece_in_progress_is_told_to_end() {
        let meter = Meter::new(Duration::from_millis(30));
        let told = meter.drive(async {
            assert!(meter.may_go_on());
            compute(Duration::from_millis(40));
            meter.may_go_on()
        });
        assert_eq!(told.await, Ok(false), "it has answered before anybody could end it");
    }

    #[test]
    fn a_tenth_of_the_time_it_waits_is_given_back_and_no_more_than_was_taken() {
        let meter = Meter::new(Duration::from_secs(1));
        meter.taken.store(1_000, Relaxed);
        meter.ended.store(5_000, Relaxed);
        meter.give_back(7_000);
        assert_eq!(meter.taken.load(Relaxed), 800);
        assert!(meter.may_go_on());
        meter.give_back(9_000);
        assert_eq!(meter.taken.load(Relaxed), 800, "others ran, it did not wait");
        meter.yielding.store(false, Relaxed);
        meter.give_back(1_000_000);
        assert_eq!(meter.taken.load(Relaxed), 0);
    }
}
