//! A token bucket: a refill rate per second and a capacity.

use std::time::{Duration, Instant};

/// Refills `per_second` tokens a second, up to `capacity`.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: f64,
    capacity: f64,
    left: f64,
    filled: Instant,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A full bucket whose capacity is one second of refill.
    pub(crate) fn new(per_second: u64, now: Instant) -> Self {
        Self::with_capacity(per_second, per_second, now)
    }

    /// A full bucket of this capacity.
    pub(crate) fn with_capacity(capacity: u64, per_second: u64, now: Instant) -> Self {
        let capacity = capacity as f64;
        Self { per_second: per_second as f64, capacity, left: capacity, filled: now }
    }

    /// Takes `amount` tokens if available; returns whether it did.
    pub(crate) fn take(&mut self, amount: u64, now: Instant) -> bool {
        self.fill(now);
        let enough = self.left >= amount as f64;
        if enough {
            self.left -= amount as f64;
        }
        enough
    }

    /// Takes `amount` tokens even if that overdraws the bucket. Returns the time until the debt is
    /// refilled, at most an hour.
    pub(crate) fn charge(&mut self, amount: u64, now: Instant) -> Duration {
        self.fill(now);
        self.left -= amount as f64;
        if self.left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((-self.left / self.per_second.max(1.0)).min(3600.0))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.capacity);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_is_spent_at_once_and_then_at_the_refill_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(20, start);
        assert_eq!((0..100).filter(|_| bucket.take(1, start)).count(), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| bucket.take(1, later)).count(), 10);
    }

    #[test]
    fn a_large_capacity_is_spent_once_and_refilled_at_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::with_capacity(1000, 10, start);
        assert_eq!(bucket.charge(1000, start), Duration::ZERO);
        assert_eq!(bucket.charge(5, start), Duration::from_millis(500));
        let later = start + Duration::from_secs(1000);
        assert!(bucket.take(1000, later) && !bucket.take(1, later));
    }

    #[test]
    fn an_overdrawn_bucket_returns_the_wait() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1000, start);
        assert_eq!(bucket.charge(1000, start), Duration::ZERO);
        assert_eq!(bucket.charge(500, start), Duration::from_millis(500));
        assert_eq!(bucket.charge(1, start + Duration::from_secs(5)), Duration::ZERO);
    }
}
