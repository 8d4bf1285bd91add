//! A bound on the log lines of upstream failures, so that visitors cannot fill the log.
//!
//! The first failure of a workload is logged at once and starts an interval. Further failures are
//! counted. The interval ends with one line that contains their number and the last error, and the
//! next interval starts. An interval without a failure ends the sequence: the next failure is
//! logged at once again.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
    time::Duration,
};

use drowse_core::WorkloadName;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// Minimum time between two lines per workload, kind of failure and thread.
const INTERVAL: Duration = Duration::from_secs(10);

/// The failures that one thread has counted. Has at most one entry per workload and kind.
#[derive(Default)]
pub(crate) struct FailureLog {
    intervals: RefCell<HashMap<(WorkloadName, FailureKind), Interval>>,
}

/// The kinds of failures, which are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FailureKind {
    /// A ready instance does not respond, and its provider is queried.
    Unreachable,
    /// A request failed, and its client gets an error.
    Failed,
}

/// The failures since the last line.
struct Interval {
    count: u64,
    last_error: String,
    _timer: AbortOnDropHandle<()>,
}

// === impl FailureLog ===

impl FailureLog {
    /// Records a failure. Calls `log` if the failure is to be logged at once.
    pub(crate) fn record(
        self: &Rc<Self>,
        workload: &WorkloadName,
        kind: FailureKind,
        error: &str,
        log: impl FnOnce(),
    ) {
        let key = (workload.clone(), kind);
        if let Some(interval) = self.intervals.borrow_mut().get_mut(&key) {
            interval.count += 1;
            error.clone_into(&mut interval.last_error);
            return;
        }
        log();
        let timer = tokio::task::spawn_local(summarize(Rc::downgrade(self), key.clone()));
        let timer = AbortOnDropHandle::new(timer);
        let interval = Interval { count: 0, last_error: String::new(), _timer: timer };
        self.intervals.borrow_mut().insert(key, interval);
    }

    /// Ends an interval. Returns the number of failures and the last error, and starts the next
    /// interval; None if there was no failure, which ends the sequence.
    fn end_interval(&self, key: &(WorkloadName, FailureKind)) -> Option<(u64, String)> {
        let mut intervals = self.intervals.borrow_mut();
        let interval = intervals.get_mut(key)?;
        if interval.count == 0 {
            intervals.remove(key);
            return None;
        }
        Some((std::mem::take(&mut interval.count), std::mem::take(&mut interval.last_error)))
    }
}

/// Logs a summary at the end of every interval, until one ends without a failure.
async fn summarize(log: Weak<FailureLog>, key: (WorkloadName, FailureKind)) {
    let workload = &key.0;
    let seconds = INTERVAL.as_secs();
    loop {
        sleep(INTERVAL).await;
        let summary = log.upgrade().and_then(|log| log.end_interval(&key));
        let Some((failures, error)) = summary else { return };
        match key.1 {
            FailureKind::Unreachable => {
                tracing::info!(%workload, failures, seconds, error, "upstream still unresponsive");
            }
            FailureKind::Failed => {
                tracing::warn!(%workload, failures, seconds, error, "further upstream failures");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::LocalSet;

    use super::*;

    fn name(name: &str) -> WorkloadName {
        WorkloadName::parse(name).unwrap()
    }

    fn key(workload: &str) -> (WorkloadName, FailureKind) {
        (name(workload), FailureKind::Failed)
    }

    /// Records failures and returns how many of them were logged at once.
    fn record(log: &Rc<FailureLog>, workload: &str, failures: usize) -> usize {
        let logged = Cell::new(0);
        for n in 0..failures {
            let count = || logged.set(logged.get() + 1);
            log.record(&name(workload), FailureKind::Failed, &format!("refused {n}"), count);
        }
        logged.get()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_is_logged_at_once_and_further_ones_are_counted() {
        let test = async {
            let log = Rc::new(FailureLog::default());
            assert_eq!(record(&log, "app", 1000), 1);
            assert_eq!(record(&log, "other", 1), 1, "each workload has its own interval");
            let logged = Cell::new(false);
            let unreachable = FailureKind::Unreachable;
            log.record(&name("app"), unreachable, "refused", || logged.set(true));
            assert!(logged.get(), "each kind has its own interval");
            assert_eq!(log.end_interval(&key("app")), Some((999, "refused 999".to_owned())));
            assert_eq!(record(&log, "app", 5), 0, "the next interval has started");
            assert_eq!(log.end_interval(&key("app")), Some((5, "refused 4".to_owned())));
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_without_failures_ends_the_sequence() {
        let test = async {
            let log = Rc::new(FailureLog::default());
            record(&log, "app", 3);
            sleep(INTERVAL + Duration::from_secs(1)).await;
            assert_eq!(record(&log, "app", 1), 0, "the summary has started another interval");
            sleep(2 * INTERVAL).await;
            assert!(log.intervals.borrow().is_empty(), "finished sequences are dropped");
            assert_eq!(record(&log, "app", 1), 1, "logged at once again");
        };
        LocalSet::new().run_until(test).await;
    }
}
