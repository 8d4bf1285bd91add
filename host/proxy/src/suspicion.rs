//! Signs that an instance may be gone before its provider has said so.
//!
//! A platform gives the address of a target that has ended to the next one within a tenth of a
//! second, and its report may be late or lost. Connections that break off together, a dial that
//! fails and a dial that meets silence are reasons to ask the provider. Until it has answered no
//! other connection is made to the instance; at most once a second, as a backend may also be slow,
//! restart by itself, or close its idle connections in bursts. Connections that stand are used
//! meanwhile: they cannot lead to another target.

use std::{cell::Cell, sync::Arc, time::Duration};

use drowse_core::{Instance, Workload};
use tokio::time::Instant;

/// Connections that end within this time end together.
const TOGETHER: Duration = Duration::from_millis(100);
/// Signs hold up other dials at most this often.
const PAUSE: Duration = Duration::from_secs(1);
/// A dial that takes longer than this, beyond what dials take at the best, has met silence.
const SILENCE: Duration = Duration::from_millis(50);
/// A connection that stands only after this time, beyond what dials take at the best, may lead to
/// another target than the one that was dialled: the kernel has sent the first packet again.
const LATE: Duration = Duration::from_millis(200);
/// A kernel sends the first packet again after 1 s (RFC 6298), wherever the instance is.
const LATEST: Duration = Duration::from_millis(900);

/// What one thread has met at one upstream.
pub(crate) struct Suspicion {
    workload: Arc<Workload>,
    /// Connections that have ended by themselves since then.
    broken: Cell<u32>,
    since: Cell<Instant>,
    /// When other dials were held up last.
    asked: Cell<Option<Instant>>,
    /// The quickest dial.
    quickest: Cell<Option<Duration>>,
}

// === impl Suspicion ===

impl Suspicion {
    pub(crate) fn new(workload: &Arc<Workload>) -> Self {
        Self {
            workload: workload.clone(),
            broken: Cell::new(0),
            since: Cell::new(Instant::now()),
            asked: Cell::new(None),
            quickest: Cell::new(None),
        }
    }

    /// A connection has ended though nobody here has ended it.
    pub(crate) fn broke_off(&self, instance: &Instance) {
        let now = Instant::now();
        if now.duration_since(self.since.get()) > TOGETHER {
            self.since.set(now);
            self.broken.set(0);
        }
        self.broken.set(self.broken.get() + 1);
        if self.broken.get() > 1 {
            self.ask(instance, "connections broke off together");
        }
    }

    /// A dial has failed.
    pub(crate) fn failed(&self, instance: &Instance) {
        self.ask(instance, "it cannot be connected to");
    }

    /// A dial goes on for longer than [`silence`](Self::silence).
    pub(crate) fn is_silent(&self, instance: &Instance) {
        self.ask(instance, "it does not answer a dial");
    }

    /// A dial has taken this long.
    pub(crate) fn connected(&self, after: Duration) {
        let quickest = self.quickest.get().map_or(after, |quickest| quickest.min(after));
        self.quickest.set(Some(quickest));
    }

    /// After so long a dial has met silence.
    pub(crate) fn silence(&self) -> Duration {
        self.beyond_usual(SILENCE)
    }

    /// A dial that has taken this long may have been answered by another.
    pub(crate) fn is_late(&self, after: Duration) -> bool {
        after >= self.beyond_usual(LATE)
    }

    fn beyond_usual(&self, limit: Duration) -> Duration {
        let usual = self.quickest.get().unwrap_or_default().saturating_mul(2);
        limit.saturating_add(usual).min(LATEST)
    }

    fn ask(&self, instance: &Instance, sign: &str) {
        let now = Instant::now();
        let lately = self.asked.get().is_some_and(|at| now.duration_since(at) < PAUSE);
        if lately || !instance.is_open() {
            return;
        }
        self.asked.set(Some(now));
        tracing::debug!(
            workload = %self.workload.name(), generation = %instance.generation(), sign,
            "it may be gone, asking the provider"
        );
        self.workload.require_confirmation();
    }
}

#[cfg(test)]
mod tests;
