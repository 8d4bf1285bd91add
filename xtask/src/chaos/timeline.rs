//! The faults of a run with their times, and the outcomes that they explain.
//!
//! Time taken by the machine or the engine is not attributed to the router: on a busy machine, the start
//! of a container alone can take seconds.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::ledger::{Kind, Outcome, Record};
use crate::soak::headers::{Nanos, now};

/// Time after the recovery of the platform in which requests may still be refused.
const REFUSED_AFTER: Nanos = 500_000_000;
/// Time by which a request may outlast a fault.
pub(super) const BEYOND: Nanos = 2_000_000_000;

/// Scope of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The container of one workload, by index.
    Workload(usize),
    /// The engine or the router: every workload.
    All,
}

/// Outcomes that a fault explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Connections break and requests are refused.
    Breaks,
    /// As `Breaks`; in addition, the previous container of the name may answer for a moment.
    Renames,
    /// Responses take longer; connections stay open.
    Delays,
}

/// One fault.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) scope: Scope,
    effect: Effect,
    pub(super) begin: Nanos,
    /// Time from which the address of the instance is known to be gone.
    gone: Option<Nanos>,
    /// Time from which the platform works again.
    recovered: Option<Nanos>,
    /// Completed steps with their times.
    pub(super) steps: Vec<(Nanos, String)>,
    /// Additional time that the platform itself needs to recover.
    own_time: Nanos,
}

/// The faults of a run in order, and the stalls of this machine.
#[derive(Default)]
pub(super) struct Timeline {
    faults: Mutex<Vec<Fault>>,
    stalls: Mutex<Vec<(Nanos, Nanos)>>,
    /// Periods in which the engine was starting the container of a workload.
    starts: Mutex<Vec<(usize, Nanos, Nanos)>>,
    /// Delay of the engine's events.
    late: Nanos,
}

/// A fault in progress.
pub(super) struct Open<'a> {
    timeline: &'a Timeline,
    index: usize,
}

// === impl Timeline ===

impl Timeline {
    /// Timeline of a run with this delay of the engine's events.
    pub(super) fn new(late: Duration) -> Self {
        Self { late: nanos(late), ..Self::default() }
    }

    /// Begins a fault, before its first step.
    pub(super) fn begin(&self, scope: Scope, effect: Effect) -> Open<'_> {
        let fault = Fault {
            scope,
            effect,
            begin: now(),
            gone: None,
            recovered: None,
            steps: Vec::new(),
            own_time: self.late,
        };
        let mut faults = self.faults();
        faults.push(fault);
        Open { timeline: self, index: faults.len() - 1 }
    }

    /// Adds a stall of this machine.
    pub(super) fn stalled(&self, from: Nanos, to: Nanos) {
        self.stalls().push((from, to));
    }

    /// Adds a period in which the engine started the container of a workload.
    pub(super) fn started(&self, workload: usize, from: Nanos, to: Nanos) {
        lock(&self.starts).push((workload, from, to));
    }

    /// The longest stall.
    pub(super) fn longest_stall(&self) -> Duration {
        let longest = self.stalls().iter().map(|(from, to)| to - from).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    /// The faults that began in this period.
    pub(super) fn between(&self, from: Nanos, to: Nanos) -> Vec<Fault> {
        let faults = self.faults();
        faults.iter().filter(|fault| (from..=to).contains(&fault.begin)).cloned().collect()
    }

    /// Time by which a request outlasted the faults around it.
    pub(super) fn beyond(&self, record: &Record) -> Nanos {
        let faults = self.faults();
        let around = faults.iter().filter(|fault| fault.concerns(record, BEYOND));
        let settled = around.map(|fault| fault.settled(record.kind) + fault.own_time).max();
        let since = settled.unwrap_or(0).max(record.sent);
        let allowed = self.allowed(record.workload, since, record.done);
        record.done.saturating_sub(since).saturating_sub(allowed)
    }

    /// Returns whether a fault explains this outcome.
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
            // A fault explains a loss only of a request that was sent before its end. For a stream this is
            // the time of its last data, which may be slightly later.
            let moment = match record.kind {
                Kind::Stream => REFUSED_AFTER + self.allowed(record.workload, end, record.sent),
                _ => 0,
            };
            let met = !matches!(record.outcome, Outcome::Lost(_))
                || record.sent <= end.saturating_add(moment + fault.own_time);
            // The intended container was determined when the request was sent.
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

    /// Time within the period that is not attributed to the router: stalls of the machine, and starts of
    /// the container by the engine.
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
    /// Time at which its effects should be over.
    fn settled(&self, kind: Kind) -> Nanos {
        let gone = if kind == Kind::Stream { self.gone } else { None };
        // Far in the future, without overflow in sums.
        gone.or(self.recovered).unwrap_or(Nanos::MAX / 4)
    }

    /// Returns whether a request was active during the fault, or up to `later` after it.
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
    /// Records a completed step.
    pub(super) fn step(&self, what: impl Into<String>) {
        self.step_at(now(), what);
    }

    /// Records a step completed at `at`.
    pub(super) fn step_at(&self, at: Nanos, what: impl Into<String>) {
        self.change(|fault| fault.steps.push((at, what.into())));
    }

    /// Records that the address of the instance is gone.
    pub(super) fn gone(&self) {
        self.change(|fault| fault.gone = Some(now()));
    }

    /// Records that the platform works again.
    pub(super) fn recovered(self) {
        self.recovered_in(Duration::ZERO);
    }

    /// Records that the platform works again and needs `own_time` to recover.
    pub(super) fn recovered_in(self, own_time: Duration) {
        self.change(|fault| {
            fault.recovered = Some(now());
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
