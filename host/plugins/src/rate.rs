//! A token bucket: so many a second, and a stock of them.

use std::time::{Duration, Instant};

/// So many a second, and as many at once as it holds.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    holds: f64,
    left: f64,
    filled: Instant,
}

// === impl Bucket ===

impl Bucket {
    /// A full bucket that holds a second's worth.
    pub(crate) fn new(per_second: u64, now: Instant) -> Self {
        Self::holding(per_second, per_second, now)
    }

    /// A full bucket that holds this many.
    pub(crate) fn holding(holds: u64, per_second: u64, now: Instant) -> Self {
        let holds = holds as f64;
        Self { per_second: per_second as f64, holds, left: holds, filled: now }
    }

    /// Takes this many if there are as many.
    pub(crate) fn take(&mut self, amount: u64, now: Instant) -> bool {
        self.fill(now);
        let enough = self.left >= amount as f64;
        if enough {
            self.left -= amount as f64;
        }
        enough
    }

    /// Takes this many in any case and says how long to wait until they are paid for.
    pub(crate) fn owe(&mut self, amount: u64, now: Instant) -> Duration {
        self.fill(now);
        self.left -= amount as f64;
        if self.left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((-self.left / self.per_second.max(1.0)).min(3600.0))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.holds);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_at_once_and_then_at_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(20, start);
        assert_eq!((0..100).filter(|_| bucket.take(1, start)).count(), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| bucket.take(1, later)).count(), 10);
    }

    #[test]
    fn a_stock_is_used_up_once_and_filled_at_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::holding(1000, 10, start);
        assert_eq!(bucket.owe(1000, start), Duration::ZERO);
        assert_eq!(bucket.owe(5, start), Duration::from_millis(500));
        let later = start + Duration::from_secs(1000);
        assert!(bucket.take(1000, later) && !bucket.take(1, later));
    }

    #[test]
    fn what_is_owed_is_waited_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        assert_eq!(bucket.owe(1000, start), Duration::ZERO);
        assert_eq!(bucket.owe(500, start), Duration::from_millis(500));
        assert_eq!(bucket.owe(1, start + Duration::from_secs(5)), Duration::ZERO);
    }
}
