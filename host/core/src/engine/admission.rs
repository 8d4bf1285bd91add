//! Admission of visitors: the gate, the instance behind it, the visitors in front of it and inside,
//! and since when it is unused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, futures::Notified};

use super::{Instance, uptime::Uptime};
use crate::gate::{CloseOutcome, Gate, LeaveOutcome};

/// Delay before the next attempt to close the gate when the idle time is over and only untracked
/// visits are inside.
const UNTRACKED_RETRY: Duration = Duration::from_secs(1);

/// The entrance of one workload. Entering and leaving take no lock.
pub(super) struct Admission {
    uptime: Uptime,
    gate: Gate,
    /// Instance that the gate leads to; written before the gate opens.
    instance: ArcSwapOption<Instance>,
    /// Visitors held at the closed gate.
    waiting: AtomicUsize,
    /// Visits inside that do not count as use. A visit is counted before it enters, so the number
    /// may include visits that the gate is about to refuse.
    untracked: AtomicUsize,
    /// When the last tracked visit left or the gate opened, in [`Uptime::milliseconds`].
    last_used: AtomicU64,
    /// The instance was found running, and no visitor has entered it since.
    unrequested: AtomicBool,
    /// Notified when held visitors have something to do; see [`Admission::release`].
    released: Notify,
}

/// Counts a visitor as held at the gate until dropped.
pub(super) struct HeldVisitor<'a>(&'a AtomicUsize);

// === impl Admission ===

impl Admission {
    pub(super) fn new(uptime: Uptime) -> Self {
        Self {
            uptime,
            gate: Gate::new(),
            instance: ArcSwapOption::empty(),
            waiting: AtomicUsize::new(0),
            untracked: AtomicUsize::new(0),
            last_used: AtomicU64::new(0),
            unrequested: AtomicBool::new(false),
            released: Notify::new(),
        }
    }

    /// Enters through the open gate. Every `Some` is followed by one [`Admission::leave`] with the
    /// same `tracked`.
    pub(super) fn enter(&self, tracked: bool) -> Option<Arc<Instance>> {
        if !tracked {
            self.untracked.fetch_add(1, Ordering::Relaxed);
        }
        // The instance is written before the gate opens, so an open gate has one.
        let entered = self.gate.enter().then(|| self.instance.load_full()).flatten();
        if entered.is_none() && !tracked {
            self.untracked.fetch_sub(1, Ordering::Relaxed);
        }
        entered
    }

    /// Ends one visit.
    pub(super) fn leave(&self, tracked: bool) -> LeaveOutcome {
        // Also written before leaving: a close at this moment then reads the end of this visit.
        if tracked && self.tracked_visits() <= 1 {
            self.touch();
        }
        let left = self.gate.leave();
        if !tracked {
            self.untracked.fetch_sub(1, Ordering::Relaxed);
        } else if left != LeaveOutcome::Drained && self.tracked_visits() == 0 {
            self.touch();
        }
        left
    }

    /// Opens the gate to `instance`, which has been idle for `idle_for`.
    pub(super) fn open(&self, instance: Arc<Instance>, idle_for: Duration, unrequested: bool) {
        self.instance.store(Some(instance));
        let idle_for = u64::try_from(idle_for.as_millis()).unwrap_or(u64::MAX);
        let used = self.uptime.milliseconds().saturating_sub(idle_for);
        self.last_used.store(used, Ordering::Relaxed);
        self.unrequested.store(unrequested, Ordering::Relaxed);
        self.gate.open();
    }

    /// Closes the gate, even with visitors inside.
    pub(super) fn close(&self) -> CloseOutcome {
        self.gate.close()
    }

    /// Closes the gate if no visitor is inside or held.
    pub(super) fn close_if_empty(&self) -> bool {
        self.waiting() == 0 && self.gate.close_if_empty()
    }

    /// Closes the gate if no visitor is inside and the idle time is over.
    pub(super) fn close_if_idle(&self, idle: Option<Duration>) -> bool {
        self.idle_left(idle).is_none() && self.gate.close_if_empty()
    }

    pub(super) fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    /// Instance that the gate leads to, or led to last.
    pub(super) fn instance(&self) -> Option<Arc<Instance>> {
        self.instance.load_full()
    }

    /// Visits inside.
    pub(super) fn visits(&self) -> u64 {
        self.gate.visits()
    }

    /// Visits inside that count as use.
    pub(super) fn tracked_visits(&self) -> u64 {
        let untracked = u64::try_from(self.untracked.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        self.gate.visits().saturating_sub(untracked)
    }

    /// Visitors held at the gate.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Holds a visitor at the gate until the guard is dropped.
    pub(super) fn hold(&self) -> HeldVisitor<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        HeldVisitor(&self.waiting)
    }

    /// Resolves at the next [`Admission::release`] after the future was enabled.
    pub(super) fn released(&self) -> Notified<'_> {
        self.released.notified()
    }

    /// Wakes every held visitor: the gate is open, the wake has failed, or no wake is on its way.
    /// Progress of a wake releases no visitor, so that a crowd is woken once.
    pub(super) fn release(&self) {
        self.released.notify_waiters();
    }

    /// The idle time starts again.
    pub(super) fn touch(&self) {
        self.last_used.fetch_max(self.uptime.milliseconds(), Ordering::Relaxed);
        self.unrequested.store(false, Ordering::Relaxed);
    }

    /// Time since the last tracked visit left; meaningful while none is inside.
    pub(super) fn idle_for(&self) -> Duration {
        self.uptime.since(self.last_used.load(Ordering::Relaxed))
    }

    pub(super) fn is_unrequested(&self) -> bool {
        self.unrequested.load(Ordering::Relaxed)
    }

    /// Time until the idle time `idle` is over; none when it is over, or without an idle time.
    pub(super) fn idle_left(&self, idle: Option<Duration>) -> Option<Duration> {
        let idle = idle?;
        if self.tracked_visits() > 0 || self.waiting() > 0 || self.is_unrequested() {
            return Some(idle);
        }
        let left = idle.saturating_sub(self.idle_for());
        match left.is_zero() {
            true => (self.visits() > 0).then_some(UNTRACKED_RETRY),
            false => Some(left),
        }
    }
}

// === impl HeldVisitor ===

impl Drop for HeldVisitor<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
