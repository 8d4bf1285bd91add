//! The faults of a run with their times, and which outcomes they explain.
//!
//! Nothing is blamed on the router that the machine or the engine takes for itself: on a machine that
//! is busy with other work the start of a container alone can last seconds.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::ledger::{Kind, Outcome, Record};
use crate::soak::told::{Nanos, now};

/// A request may be refused for this long after the platform is whole again.
const REFUSED_AFTER: Nanos = 500_000_000;
/// A request may last this much longer than the fault.
pub(super) const BEYOND: Nanos = 2_000_000_000;

/// What a fault is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The container of one workload, by its number.
    Workload(usize),
    /// The engine or the router: every workload.
    All,
}

/// What a fault excuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Connections break and requests are refused.
    Breaks,
    /// The same, and for a moment the container that had the name before may answer.
    Renames,
    /// Answers take longer; whoever is connected stays so.
    Delays,
}

/// One fault.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) scope: Scope,
    effect: Effect,
    pub(super) begin: Nanos,
    /// From here on it is known that the instance's address is gone.
    gone: Option<Nanos>,
    /// From here on the platform does again what is asked of it.
    whole: Option<Nanos>,
    /// What was done and when it was complete.
    pub(super) steps: Vec<(Nanos, String)>,
    /// The time beyond the fault that the platform itself takes to serve again.
    own_time: Nanos,
}

/// The faults of a run in order, and the times at which this machine stood still.
#[derive(Default)]
pub(super) struct Timeline {
    faults: Mutex<Vec<Fault>>,
    stalls: Mutex<Vec<(Nanos, Nanos)>>,
    /// Times in which the engine was starting the container of a workload.
    starts: Mutex<Vec<(usize, Nanos, Nanos)>>,
    /// The engine's events arrive this much later than they happen.
    late: Nanos,
}

/// A fault under way.
pub(super) struct Open<'a> {
    timeline: &'a Timeline,
    index: usize,
}

// === impl Timeline ===

impl Timeline {
    /// Of a run in which the engine's events arrive this much later.
    pub(super) fn new(late: Duration) -> Self {
        Self { late: nanos(late), ..Self::default() }
    }

    /// Notes that a fault begins, before its first step is taken.
    pub(super) fn begin(&self, scope: Scope, effect: Effect) -> Open<'_> {
        let fault = Fault {
            scope,
            effect,
            begin: now(),
            gone: None,
            whole: None,
            steps: Vec::new(),
            own_time: self.late,
        };
        let mut faults = self.faults();
        faults.push(fault);
        Open { timeline: self, index: faults.len() - 1 }
    }

    /// Notes that this machine let a thread wait that was due.
    pub(super) fn stalled(&self, from: Nanos, to: Nanos) {
        self.stalls().push((from, to));
    }

    /// Notes that the engine took this time to start the container of a workload.
    pub(super) fn started(&self, workload: usize, from: Nanos, to: Nanos) {
        lock(&self.starts).push((workload, from, to));
    }

    /// The longest of the times at which the machine stood still.
    pub(super) fn longest_stall(&self) -> Duration {
        let longest = self.stalls().iter().map(|(from, to)| to - from).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    /// The faults that began within this time.
    pub(super) fn between(&self, from: Nanos, to: Nanos) -> Vec<Fault> {
        let faults = self.faults();
        faults.iter().filter(|fault| (from..=to).contains(&fault.begin)).cloned().collect()
    }

    /// How much longer than the faults around it a request lasted.
    pub(super) fn beyond(&self, record: &Record) -> Nanos {
        let faults = self.faults();
        let around = faults.iter().filter(|fault| fault.concerns(record, BEYOND));
        let settled = around.map(|fault| fault.settled(record.kind) + fault.own_time).max();
        let since = settled.unwrap_or(0).max(record.sent);
        let allowed = self.allowed(record.workload, since, record.done);
        record.done.saturating_sub(since).saturating_sub(allowed)
    }

    /// Whether a fault explains this outcome.
    pub(super) fn explains(&self, record: &Record) -> bool {
        if self.beyond(record) > BEYOND {
            return false;
        }
        let (grace, by): (_, &[Effect]) = match record.outcome {
            Outcome::Answered => return true,
            Outcome::Wrong(_) => (REFUSED_AFTER, &[Effect::Renames]),
            Outcome::Refused(_) => (REFUSED_AFTER, &[Effect::Breaks, Effect::Renames]),
            Outcome::Lost(_) => (BEYOND, &[Effect::Breaks, Effect::Renames]),
        };
        let faults = self.faults();
        faults.iter().any(|fault| {
            let end = fault.settled(record.kind);
            let grace = grace + fault.own_time + self.allowed(record.workload, end, record.done);
            // A loss after the fault is one of a request that the fault met. What is said of a stream
            // is its last sign of life, and it may live a moment longer.
            let moment = match record.kind {
                Kind::Stream => REFUSED_AFTER + self.allowed(record.workload, end, record.sent),
                _ => 0,
            };
            let met = !matches!(record.outcome, Outcome::Lost(_))
                || record.sent <= end.saturating_add(moment + fault.own_time);
            // Which of two containers a request was meant for was decided when it was sent.
            let due = match record.outcome {
                Outcome::Wrong(_) => record.sent,
                _ => record.done,
            };
            by.contains(&fault.effect)
                && fault.concerns(record, grace)
                && met
                && due <= end.saturating_add(grace)
        })
    }

    /// What the router has no influence on within this time: the machine stood still, or the engine
    /// was starting the container.
    fn allowed(&self, workload: usize, from: Nanos, to: Nanos) -> Nanos {
        let within = |begin: Nanos, end: Nanos| end.min(to).saturating_sub(begin.max(from));
        let stalls: Nanos = self.stalls().iter().map(|&(begin, end)| within(begin, end)).sum();
        let starts = lock(&self.starts);
        let mine = starts.iter().filter(|(of, ..)| *of == workload);
        stalls + mine.map(|&(_, begin, end)| within(begin, end)).sum::<Nanos>()
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        lock(&self.faults)
    }

    fn stalls(&self) -> MutexGuard<'_, Vec<(Nanos, Nanos)>> {
        lock(&self.stalls)
    }
}

fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(Nanos::MAX / 4)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Fault ===

impl Fault {
    /// When what it broke should be over.
    fn settled(&self, kind: Kind) -> Nanos {
        let gone = if kind == Kind::Stream { self.gone } else { None };
        // Far enough, and no sum with it overflows.
        gone.or(self.whole).unwrap_or(Nanos::MAX / 4)
    }

    /// Whether a request was under way during the fault, or this much later.
    fn concerns(&self, record: &Record, later: Nanos) -> bool {
        let mine = match self.scope {
            Scope::Workload(workload) => workload == record.workload,
            Scope::All => true,
        };
        mine && self.begin <= record.done
            && record.sent <= self.settled(record.kind).saturating_add(self.own_time + later)
    }
}

// === impl Open ===

impl Open<'_> {
    /// Notes a step that is complete.
    pub(super) fn step(&self, what: impl Into<String>) {
        self.step_at(now(), what);
    }

    /// The same of one that was complete then.
    pub(super) fn step_at(&self, at: Nanos, what: impl Into<String>) {
        self.change(|fault| fault.steps.push((at, what.into())));
    }

    /// Open connections have no end any more from here on.
    pub(super) fn gone(&self) {
        self.change(|fault| fault.gone = Some(now()));
    }

    /// The platform does again what is asked of it.
    pub(super) fn whole(self) {
        self.whole_in(Duration::ZERO);
    }

    /// The same, and the platform itself takes this much to serve again.
    pub(super) fn whole_in(self, own_time: Duration) {
        self.change(|fault| {
            fault.whole = Some(now());
            fault.own_time += nanos(own_time);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Fault)) {
        if let Some(fault) = self.timeline.faults().get_mut(self.index) {
            change(fault);
        }
    }
}

#[cfg(test)]
mod tests;
