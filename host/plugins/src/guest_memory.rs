//! The memory limit of all guests together, and each provider's share of it.
//!
//! `limits.memory` bounds one call and `limits.max-calls` the calls of one provider; the product over
//! all providers may exceed the machine's memory. So all calls draw on one shared limit. Half of it
//! is divided evenly among the providers as guaranteed shares; the other half is first come, first
//! served. So a provider that uses all it can get leaves the others their guaranteed share.
//!
//! A call that finds no memory waits up to [`WAIT`] for other calls to end and then fails.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Maximum time that a call waits for memory.
const WAIT: Duration = Duration::from_secs(5);

/// The shared limit and its use.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    limit: u64,
    shares: Mutex<Shares>,
    freed: Notify,
}

/// Bytes used per share.
#[derive(Debug, Default)]
struct Shares {
    used: BTreeMap<u64, u64>,
    next: u64,
}

/// One provider's share of the limit.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<GuestMemory>,
    id: u64,
}

/// Bytes reserved by one instance; released on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    share: Arc<Share>,
    bytes: u64,
}

// === impl GuestMemory ===

impl GuestMemory {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, shares: Mutex::default(), freed: Notify::new() }
    }

    /// A share for a new provider.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<Share> {
        let mut shares = self.shares();
        let id = shares.next;
        shares.next += 1;
        shares.used.insert(id, 0);
        Arc::new(Share { memory: self.clone(), id })
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves bytes for a share if the limits allow it.
    fn take(&self, id: u64, more: u64) -> bool {
        let mut shares = self.shares();
        let total = shares.used.values().fold(more, |sum, used| sum.saturating_add(*used));
        let used = shares.used.get(&id).copied().unwrap_or_default().saturating_add(more);
        let own = self.limit / 2 / (shares.used.len() as u64).max(1);
        let beyond = |used: u64| used.saturating_sub(own);
        let others = shares.used.iter().filter(|(other, _)| **other != id);
        let shared_use =
            others.fold(beyond(used), |sum, (_, used)| sum.saturating_add(beyond(*used)));
        let fits = total <= self.limit && (used <= own || shared_use <= self.limit / 2);
        if fits {
            shares.used.insert(id, used);
        }
        fits
    }

    fn release(&self, id: u64, bytes: u64) {
        if let Some(used) = self.shares().used.get_mut(&id) {
            *used = used.saturating_sub(bytes);
        }
        self.freed.notify_waiters();
    }
}

/// Unlimited.
impl Default for GuestMemory {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

// === impl Share ===

impl Share {
    /// The limit of all shares together, in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.memory.limit
    }

    /// An empty reservation for a new instance.
    pub(crate) fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { share: self.clone(), bytes: 0 }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.shares().used.remove(&self.id);
        self.memory.freed.notify_waiters();
    }
}

// === impl Reservation ===

impl Reservation {
    /// Bytes reserved so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves `more` bytes, waiting up to [`WAIT`]. False if they did not become available.
    pub(crate) async fn grow(&mut self, more: u64) -> bool {
        let Share { memory, id } = &*self.share;
        let deadline = Instant::now() + WAIT;
        loop {
            let mut freed = std::pin::pin!(memory.freed.notified());
            // Enabled before the check, so that no release is missed.
            freed.as_mut().enable();
            if memory.take(*id, more) {
                self.bytes = self.bytes.saturating_add(more);
                return true;
            }
            let impossible = self.bytes.saturating_add(more) > memory.limit;
            if impossible || timeout_at(deadline, freed).await.is_err() {
                return false;
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.share.memory.release(self.share.id, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn a_single_provider_may_use_the_whole_limit() {
        let memory = Arc::new(GuestMemory::new(100 * MIB));
        let share = memory.share();
        let mut calls: Vec<Reservation> = (0..4).map(|_| share.reserve()).collect();
        for call in &mut calls {
            assert!(call.grow(25 * MIB).await);
        }
        let mut late = share.reserve();
        assert!(!late.grow(1).await);
        assert_eq!(late.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_greedy_provider_leaves_the_others_their_guaranteed_share() {
        let memory = Arc::new(GuestMemory::new(120 * MIB));
        let (greedy, good, better) = (memory.share(), memory.share(), memory.share());
        let mut taken = Vec::new();
        loop {
            let mut call = greedy.reserve();
            if !call.grow(MIB).await {
                break;
            }
            taken.push(call);
        }
        // A third of the guaranteed half, plus the other half.
        assert_eq!(taken.len(), 80);
        for share in [&good, &better] {
            let mut call = share.reserve();
            assert!(call.grow(20 * MIB).await, "the guaranteed share");
            assert!(!call.grow(MIB).await, "the rest is used up");
            taken.push(call);
        }
        assert!(memory.shares().used.values().sum::<u64>() <= 120 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_until_another_call_releases_memory() {
        let memory = Arc::new(GuestMemory::new(10 * MIB));
        let share = memory.share();
        let mut first = share.reserve();
        assert!(first.grow(8 * MIB).await);
        let mut second = share.reserve();
        let began = Instant::now();
        let end = async {
            tokio::time::sleep(WAIT / 2).await;
            drop(first);
        };
        let (grown, ()) = tokio::join!(second.grow(8 * MIB), end);
        assert!(grown);
        assert_eq!(began.elapsed(), WAIT / 2);
        drop(second);
        assert_eq!(memory.shares().used.values().sum::<u64>(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_above_the_limit_fails_at_once() {
        let share = Arc::new(GuestMemory::new(10 * MIB)).share();
        let began = Instant::now();
        assert!(!share.reserve().grow(11 * MIB).await);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
