//! CPU limits of one instance and of all calls of a provider.
//!
//! An instance may use its limit at once and is refunded a tenth of the time that it waits. So a
//! guest that waits between short bursts never reaches the limit, and a guest that polls does.
//! Measured is the thread's CPU time while the instance is polled: host functions that compute for
//! the guest count, time in which the thread is preempted does not. Each epoch tick interrupts
//! guest code to measure it and to yield.
//!
//! Each call runs in its own instance, so all calls also draw on the [`ProviderCpuBudget`] of their
//! provider; while that is overdrawn the next call waits. `watch` is a single instance and is
//! limited by its own quota alone.

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

use crate::token_bucket::TokenBucket;

/// Interval between two interruptions of guest code.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The refund is the waiting time divided by this.
const REFILL_DIVISOR: u64 = 10;

/// Polls shorter than this are measured by the monotonic clock, which is cheaper to read than the
/// thread's CPU clock.
const WALL_CLOCK_BELOW: Duration = Duration::from_millis(1);

/// Capacity of a provider's budget, in multiples of one call's limit.
const BURST: u32 = 10;

/// The CPU quota of one store, shared by the store and the future that drives it. Only the thread
/// that polls the store accesses it.
#[derive(Debug)]
pub(crate) struct CallCpuQuota {
    limit: u64,
    /// Nanoseconds used and not refunded.
    taken: AtomicU64,
    /// End of the last poll, in nanoseconds since `made`.
    ended: AtomicU64,
    /// The last poll ended by yielding, so the time since then is not refunded.
    yielding: AtomicBool,
    /// The thread's CPU time at the start of the current poll.
    began: AtomicU64,
    made: Instant,
    /// The provider's budget, charged with the same time.
    cpu_budget: Option<Arc<ProviderCpuBudget>>,
}

/// The CPU budget of all calls of a provider, in nanoseconds.
#[derive(Debug)]
pub(crate) struct ProviderCpuBudget(Mutex<TokenBucket>);

/// The instance has used up its CPU limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

// === impl CallCpuQuota ===

impl CallCpuQuota {
    /// A quota of `cpu` at once.
    pub(crate) fn new(cpu: Duration, cpu_budget: Option<Arc<ProviderCpuBudget>>) -> Self {
        Self {
            limit: nanoseconds(cpu),
            taken: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            yielding: AtomicBool::new(false),
            began: AtomicU64::new(0),
            made: Instant::now(),
            cpu_budget,
        }
    }

    /// Returns whether the instance is below its limit and may continue after yielding.
    pub(crate) fn may_continue(&self) -> bool {
        self.yielding.store(true, Relaxed);
        let taken = cpu_time().saturating_sub(self.began.load(Relaxed));
        self.taken.load(Relaxed).saturating_add(taken) < self.limit
    }

    /// Polls a call to completion. Fails once the limit is used up, including the time that the
    /// host spends for the guest.
    pub(crate) async fn drive<F: Future>(&self, call: F) -> Result<F::Output, Exhausted> {
        let mut call = pin!(call);
        poll_fn(|cx| {
            self.refund(nanoseconds(self.made.elapsed()));
            self.yielding.store(false, Relaxed);
            self.began.store(cpu_time(), Relaxed);
            let clock = Instant::now();
            let polled = call.as_mut().poll(cx);
            let mut took = clock.elapsed();
            if took > WALL_CLOCK_BELOW {
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

    /// Charges CPU time; returns the total.
    fn take(&self, time: Duration) -> u64 {
        if let Some(cpu_budget) = &self.cpu_budget {
            cpu_budget.take(time);
        }
        let taken = self.taken.load(Relaxed).saturating_add(nanoseconds(time));
        self.taken.store(taken, Relaxed);
        taken
    }

    /// Runs `act` on a blocking thread and charges its CPU time to the instance. None if it
    /// panicked.
    pub(crate) async fn run_blocking<R: Send + 'static>(
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

    /// Runs `act` on this thread, which may block, and charges its CPU time to the instance.
    pub(crate) fn run_here<R>(&self, act: impl FnOnce() -> R) -> R {
        let began = cpu_time();
        let done = act();
        self.take(Duration::from_nanos(cpu_time().saturating_sub(began)));
        done
    }

    fn refund(&self, now: u64) {
        if self.yielding.load(Relaxed) {
            return;
        }
        let waited = now.saturating_sub(self.ended.load(Relaxed));
        let taken = self.taken.load(Relaxed).saturating_sub(waited / REFILL_DIVISOR);
        self.taken.store(taken, Relaxed);
    }
}

// === impl ProviderCpuBudget ===

impl ProviderCpuBudget {
    /// A budget for calls that may each use `cpu` at once.
    pub(crate) fn new(cpu: Duration) -> Self {
        let a_second = nanoseconds(Duration::from_secs(1)) / REFILL_DIVISOR;
        let burst = nanoseconds(cpu.saturating_mul(BURST));
        Self(Mutex::new(TokenBucket::with_capacity(burst, a_second, Instant::now())))
    }

    /// Time until the budget is no longer overdrawn.
    pub(crate) fn overdraft(&self) -> Duration {
        self.take(Duration::ZERO)
    }

    fn take(&self, time: Duration) -> Duration {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.charge(nanoseconds(time), Instant::now())
    }
}

/// CPU time of this thread, in nanoseconds.
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

    /// Uses this much CPU time.
    fn compute(time: Duration) {
        let began = cpu_time();
        while cpu_time() - began < nanoseconds(time) {
            std::hint::spin_loop();
        }
    }

    async fn in_polls(
        cpu_quota: &CallCpuQuota,
        polls: usize,
        time: Duration,
    ) -> Result<(), Exhausted> {
        let work = async {
            for _ in 0..polls {
                compute(time);
                tokio::task::yield_now().await;
            }
        };
        cpu_quota.drive(work).await
    }

    #[tokio::test]
    async fn cpu_time_of_all_polls_adds_up() {
        let cpu_quota = CallCpuQuota::new(Duration::from_millis(50), None);
        assert_eq!(in_polls(&cpu_quota, 2, Duration::from_millis(5)).await, Ok(()));
        // The refund between the polls is too small for this.
        let long = in_polls(&cpu_quota, 1000, Duration::from_millis(5)).await;
        assert_eq!(long, Err(Exhausted));
    }

    #[tokio::test]
    async fn a_poll_in_progress_is_stopped_at_the_limit() {
        let cpu_quota = CallCpuQuota::new(Duration::from_millis(30), None);
        let finished = cpu_quota.drive(async {
            assert!(cpu_quota.may_continue());
            compute(Duration::from_millis(40));
            cpu_quota.may_continue()
        });
        assert_eq!(finished.await, Ok(false), "the future was ready in the same poll");
    }

    #[tokio::test]
    async fn cpu_time_of_blocking_threads_counts() {
        let cpu_quota = CallCpuQuota::new(Duration::from_millis(50), None);
        let work = async {
            for _ in 0..1000 {
                cpu_quota.run_blocking(|| compute(Duration::from_millis(5))).await;
            }
        };
        assert_eq!(cpu_quota.drive(work).await, Err(Exhausted));
    }

    #[tokio::test]
    async fn calls_below_their_limit_overdraw_the_provider_budget_together() {
        // Far from the limit even if a busy machine adds to each poll.
        let cpu = Duration::from_millis(40);
        let cpu_budget = Arc::new(ProviderCpuBudget::new(cpu));
        let mut calls = 0;
        while cpu_budget.overdraft().is_zero() {
            let call = CallCpuQuota::new(cpu, Some(cpu_budget.clone()));
            assert_eq!(in_polls(&call, 1, Duration::from_millis(4)).await, Ok(()));
            calls += 1;
            assert!(calls < 1000, "the calls are not charged");
        }
        assert!(calls >= 10, "{calls}");
        let wait = cpu_budget.overdraft();
        assert!(wait <= cpu * 10, "a tenth of the elapsed time is refilled: {wait:?}");
    }

    #[test]
    fn a_tenth_of_the_waiting_time_is_refunded_up_to_the_time_used() {
        let cpu_quota = CallCpuQuota::new(Duration::from_secs(1), None);
        cpu_quota.taken.store(1_000, Relaxed);
        cpu_quota.ended.store(5_000, Relaxed);
        cpu_quota.refund(7_000);
        assert_eq!(cpu_quota.taken.load(Relaxed), 800);
        assert!(cpu_quota.may_continue());
        cpu_quota.refund(9_000);
        assert_eq!(cpu_quota.taken.load(Relaxed), 800, "yielding is not waiting");
        cpu_quota.yielding.store(false, Relaxed);
        cpu_quota.refund(1_000_000);
        assert_eq!(cpu_quota.taken.load(Relaxed), 0);
    }
}
