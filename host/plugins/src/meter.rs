//! How much CPU time an instance takes, and all calls of a provider together.
//!
//! An instance may take its limit at once, and gets a tenth of the time back in which it waits: who
//! waits between short pieces of work is never noticed, who only seems to wait runs out. What counts
//! is the CPU time of the thread while the instance is driven, so host functions that compute for
//! the guest count, and time in which others had the processor does not. Every tick of the runtime's
//! clock interrupts running guest code: it is measured and lets others run.
//!
//! Calls are many and each has an instance of its own, so they also draw on one [`Account`] of their
//! provider: when that is overdrawn the next call waits. `watch` is one instance and lives on its
//! own meter alone.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::rate::Bucket;

/// Between two interruptions of guest code.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// One part of the time that it waits is given back.
const SHARE: u64 = 10;

/// A shorter piece of work counts as long as it took by the clock on the wall, which is cheaper to
/// look at.
const SHORT: Duration = Duration::from_millis(1);

/// The calls of a provider may at once take so many times what one of them may.
const BURST: u32 = 10;

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
    /// What it takes is taken from there, too.
    account: Option<Arc<Account>>,
}

/// The CPU time of all calls of a provider, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Account(Mutex<Bucket>);

/// An instance has used up its CPU time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

// === impl Meter ===

impl Meter {
    /// Allows this much CPU at once.
    pub(crate) fn new(cpu: Duration, account: Option<Arc<Account>>) -> Self {
        Self {
            limit: nanoseconds(cpu),
            taken: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            yielding: AtomicBool::new(false),
            began: AtomicU64::new(0),
            made: Instant::now(),
            account,
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
            let taken = self.take(took);
            self.ended.store(nanoseconds(self.made.elapsed()), Relaxed);
            match polled {
                Poll::Pending if taken >= self.limit => Poll::Ready(Err(Exhausted)),
                polled => polled.map(Ok),
            }
        })
        .await
    }

    /// Counts CPU time that was taken for the instance; the sum.
    fn take(&self, time: Duration) -> u64 {
        if let Some(account) = &self.account {
            account.take(time);
        }
        let taken = self.taken.load(Relaxed).saturating_add(nanoseconds(time));
        self.taken.store(taken, Relaxed);
        taken
    }

    /// Does something for the instance on another thread, one that may block: its CPU time counts
    /// like the instance's own. None when that thread panicked.
    pub(crate) async fn elsewhere<R: Send + 'static>(
        &self,
        act: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let done = tokio::task::spawn_blocking(move || {
            let began = cpu_time();
            let done = act();
            (done, Duration::from_nanos(cpu_time().saturating_sub(began)))
        });
        let (done, took) = done.await.ok()?;
        self.take(took);
        Some(done)
    }

    /// Does something for the instance on this thread, which may block: its CPU time counts like the
    /// instance's own.
    pub(crate) fn here<R>(&self, act: impl FnOnce() -> R) -> R {
        let began = cpu_time();
        let done = act();
        self.take(Duration::from_nanos(cpu_time().saturating_sub(began)));
        done
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

// === impl Account ===

impl Account {
    /// For calls that may each take so much at once.
    pub(crate) fn new(cpu: Duration) -> Self {
        let a_second = nanoseconds(Duration::from_secs(1)) / SHARE;
        let burst = nanoseconds(cpu.saturating_mul(BURST));
        Self(Mutex::new(Bucket::holding(burst, a_second, Instant::now())))
    }

    /// How long to wait until what was taken is paid for.
    pub(crate) fn overdrawn(&self) -> Duration {
        self.take(Duration::ZERO)
    }

    fn take(&self, time: Duration) -> Duration {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.owe(nanoseconds(time), Instant::now())
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
        let meter = Meter::new(Duration::from_millis(50), None);
        assert_eq!(in_pieces(&meter, 2, Duration::from_millis(5)).await, Ok(()));
        // A tenth of the time between the pieces is given back, which is not enough for this.
        let long = in_pieces(&meter, 1000, Duration::from_millis(5)).await;
        assert_eq!(long, Err(Exhausted));
    }

    #[tokio::test]
    async fn a_piece_in_progress_is_told_to_end() {
        let meter = Meter::new(Duration::from_millis(30), None);
        let told = meter.drive(async {
            assert!(meter.may_go_on());
            compute(Duration::from_millis(40));
            meter.may_go_on()
        });
        assert_eq!(told.await, Ok(false), "it has answered before anybody could end it");
    }

    #[tokio::test]
    async fn what_is_done_elsewhere_counts() {
        let meter = Meter::new(Duration::from_millis(50), None);
        let work = async {
            for _ in 0..1000 {
                meter.elsewhere(|| compute(Duration::from_millis(5))).await;
            }
        };
        assert_eq!(meter.drive(work).await, Err(Exhausted));
    }

    #[tokio::test]
    async fn calls_that_each_keep_their_limit_overdraw_the_account_together() {
        // What a busy machine adds to a piece is nowhere near the limit.
        let cpu = Duration::from_millis(40);
        let account = Arc::new(Account::new(cpu));
        let mut calls = 0;
        while account.overdrawn().is_zero() {
            let call = Meter::new(cpu, Some(account.clone()));
            assert_eq!(in_pieces(&call, 1, Duration::from_millis(4)).await, Ok(()));
            calls += 1;
            assert!(calls < 1000, "nobody pays for them");
        }
        assert!(calls >= 10, "{calls}");
        let wait = account.overdrawn();
        assert!(wait <= cpu * 10, "a tenth of the time that passes is paid: {wait:?}");
    }

    #[test]
    fn a_tenth_of_the_time_it_waits_is_given_back_and_no_more_than_was_taken() {
        let meter = Meter::new(Duration::from_secs(1), None);
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
