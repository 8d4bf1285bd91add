//! Eviction from a pool: the memory that a workload takes of it, and when it may be evicted.

use std::{
    cmp::Reverse,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{Workload, status_queries::STATUS};
use crate::{
    names::Phase,
    provider::ErrorCode,
    step::{Force, State},
};

/// Interval between measurements of the memory of a workload whose pool limits it.
const MEASURE_INTERVAL: Duration = Duration::from_secs(30);

/// Memory in use in bytes, as last reported by the provider; 0 when unknown.
#[derive(Default)]
pub(super) struct MeasuredMemory(AtomicU64);

// === impl MeasuredMemory ===

impl MeasuredMemory {
    fn set(&self, bytes: Option<u64>) {
        self.0.store(bytes.unwrap_or(0), Ordering::Relaxed);
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }
}

// === impl Workload ===

impl Workload {
    /// Bytes that it takes of its pool's memory: measured, else declared by the operator.
    pub(super) fn memory(&self) -> u64 {
        self.memory.bytes().unwrap_or_else(|| self.declared_memory())
    }

    /// Bytes that it takes of its pool's memory as declared by the operator.
    pub(super) fn declared_memory(&self) -> u64 {
        self.membership().and_then(|membership| membership.memory).unwrap_or(0)
    }

    /// Time until it may be evicted: when it has been ready for `stay`, is not needed, and no
    /// visitor is inside or held. None when it may not. A workload that was found running has its
    /// idle time first: an operator or another program has just started it.
    pub(super) fn evictable_in(&self, state: &State, stay: Duration) -> Option<Duration> {
        let visited = self.admission.visits() > 0 || self.admission.waiting() > 0;
        let used = state.is_kept_awake(Force::Drain) || visited;
        if state.phase() != Phase::Ready || self.is_pinned() || used {
            return None;
        }
        let unrequested = match self.admission.is_unrequested() {
            true => self.idle().unwrap_or_default().saturating_sub(self.admission.idle_for()),
            false => Duration::ZERO,
        };
        let ready_for = self.shared.uptime.now().saturating_sub(state.since());
        Some(unrequested.max(stay.saturating_sub(ready_for)))
    }

    /// Returns whether it sleeps lightly and may be put into the deep sleep to free its memory.
    pub(super) fn can_sleep_deeper(&self, state: &State) -> bool {
        state.sleeps_lightly() && !state.is_kept_awake(Force::Drain) && !self.is_pinned()
    }

    fn is_pinned(&self) -> bool {
        self.membership().is_some_and(|membership| membership.pinned)
    }

    /// Order of eviction, the smallest first: by priority, then the longest idle.
    pub(super) fn eviction_rank(&self) -> (i32, Reverse<Duration>) {
        let priority = self.membership().map_or(0, |membership| membership.priority);
        (priority, Reverse(self.admission.idle_for()))
    }

    /// Measures the memory at intervals, for the pool, until cancelled.
    pub(super) async fn measure_memory(&self) {
        let Ok(provider) = self.shared.provider(&self.spec.provider) else { return };
        loop {
            let permit = self.shared.routine_permit(&self.spec.provider).await;
            let usage = self.within(STATUS, "usage of", provider.usage(&self.spec.target)).await;
            drop(permit);
            match usage {
                Ok(usage) => {
                    self.memory.set(usage.memory);
                    self.pool.iter().for_each(|pool| pool.memory_changed());
                }
                Err(failure) => {
                    tracing::debug!(workload = %self.spec.name, error = failure.message, "usage");
                    if failure.code == ErrorCode::Unsupported {
                        return;
                    }
                }
            }
            tokio::time::sleep(MEASURE_INTERVAL).await;
        }
    }
}
