//! Signs that an instance may have ended before its provider has reported it.
//!
//! A platform may assign the address of an ended target to another target within 100 ms, and its
//! report may be late or lost. Several connections that break at once, a failed dial and an
//! unanswered dial are reasons to query the provider. No new connection is made to the instance
//! until the provider has answered. This happens at most once a second, because a backend may also
//! be slow, restart by itself, or close idle connections in bursts. Open connections remain in use:
//! they cannot lead to another target.

use std::{cell::Cell, sync::Arc, time::Duration};

use drowse_core::{Instance, Workload};
use tokio::time::Instant;

/// Time within which broken connections count as broken at once.
const BURST: Duration = Duration::from_millis(100);
/// Minimum time between two confirmations that block other dials.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Time beyond that of the fastest dial after which a dial counts as unanswered.
const UNANSWERED: Duration = Duration::from_millis(50);
/// Time beyond that of the fastest dial after which a connection may lead to another target than
/// the dialled one: the kernel has retransmitted the first packet.
const LATE: Duration = Duration::from_millis(200);
/// Maximum of both times: a kernel retransmits the first packet after 1 s (RFC 6298), for near and
/// far instances.
const MAX_LIMIT: Duration = Duration::from_millis(900);

/// The signs that one thread has seen at one upstream.
pub(crate) struct Suspicion {
    workload: Arc<Workload>,
    /// Connections that broke since `burst_began`.
    broken: Cell<u32>,
    burst_began: Cell<Instant>,
    /// Time of the last confirmation that blocked other dials.
    confirmed: Cell<Option<Instant>>,
    /// Duration of the fastest dial.
    fastest_dial: Cell<Option<Duration>>,
}

// === impl Suspicion ===

impl Suspicion {
    pub(crate) fn new(workload: &Arc<Workload>) -> Self {
        Self {
            workload: workload.clone(),
            broken: Cell::new(0),
            burst_began: Cell::new(Instant::now()),
            confirmed: Cell::new(None),
            fastest_dial: Cell::new(None),
        }
    }

    /// Records a connection that ended without being closed by the router.
    pub(crate) fn broke_off(&self, instance: &Instance) {
        let now = Instant::now();
        if now.duration_since(self.burst_began.get()) > BURST {
            self.burst_began.set(now);
            self.broken.set(0);
        }
        self.broken.set(self.broken.get() + 1);
        if self.broken.get() > 1 {
            self.require_confirmation(instance, "several connections broke at once");
        }
    }

    /// Records a failed dial.
    pub(crate) fn failed(&self, instance: &Instance) {
        self.require_confirmation(instance, "dial failed");
    }

    /// Records a dial that takes longer than [`silence`](Self::silence).
    pub(crate) fn is_silent(&self, instance: &Instance) {
        self.require_confirmation(instance, "dial unanswered");
    }

    /// Records the duration of a successful dial.
    pub(crate) fn connected(&self, after: Duration) {
        let fastest = self.fastest_dial.get().map_or(after, |fastest| fastest.min(after));
        self.fastest_dial.set(Some(fastest));
    }

    /// Time after which a dial counts as unanswered.
    pub(crate) fn silence(&self) -> Duration {
        self.limit_beyond_fastest(UNANSWERED)
    }

    /// Returns whether a dial of this duration may have reached another target.
    pub(crate) fn is_late(&self, after: Duration) -> bool {
        after >= self.limit_beyond_fastest(LATE)
    }

    fn limit_beyond_fastest(&self, limit: Duration) -> Duration {
        let margin = self.fastest_dial.get().unwrap_or_default().saturating_mul(2);
        limit.saturating_add(margin).min(MAX_LIMIT)
    }

    fn require_confirmation(&self, instance: &Instance, sign: &str) {
        let now = Instant::now();
        let recently = self.confirmed.get().is_some_and(|at| now.duration_since(at) < MIN_INTERVAL);
        if recently || !instance.is_open() {
            return;
        }
        self.confirmed.set(Some(now));
        tracing::debug!(
            workload = %self.workload.name(), generation = %instance.generation(), sign,
            "instance may have ended, querying the provider"
        );
        self.workload.require_confirmation();
    }
}

#[cfg(test)]
mod tests;
