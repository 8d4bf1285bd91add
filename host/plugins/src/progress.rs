//! The latest progress line of each call in flight, for visitors who wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Maximum bytes of a line.
const LINE_BYTES: usize = 512;

/// The latest line of each call in flight that has reported any, by target and call number.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    lines: Mutex<BTreeMap<(String, u64), String>>,
    calls: AtomicU64,
}

/// Reports the progress of one call for one target. Dropping it removes the line.
#[derive(Debug)]
pub(crate) struct ProgressReporter {
    progress: Arc<Progress>,
    call: (String, u64),
}

// === impl Progress ===

impl Progress {
    /// The reporter of a new call for this target.
    pub(crate) fn begin_call(self: &Arc<Self>, target: &str) -> ProgressReporter {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        ProgressReporter { progress: self.clone(), call: (target.to_owned(), number) }
    }

    /// The latest line of the newest call for this target that has reported any.
    pub(crate) fn latest(&self, target: &str) -> Option<String> {
        let lines = self.lines();
        if lines.is_empty() {
            return None;
        }
        let of_it = (target.to_owned(), 0)..=(target.to_owned(), u64::MAX);
        lines.range(of_it).next_back().map(|(_, line)| line.clone())
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<(String, u64), String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ProgressReporter ===

impl ProgressReporter {
    /// Replaces the call's line.
    pub(crate) fn report(&self, line: &str) {
        let line = crate::text::sanitize(line, LINE_BYTES);
        self.progress.lines().insert(self.call.clone(), line);
    }
}

impl Drop for ProgressReporter {
    fn drop(&mut self) {
        self.progress.lines().remove(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_line_of_the_newest_call_is_kept_until_the_call_ends() {
        let progress = Arc::<Progress>::default();
        let start = progress.begin_call("web");
        assert_eq!(progress.latest("web"), None, "no line has been reported");
        start.report("pulling: 1 of 3");
        start.report("pulling: 2\u{1b}[2J of 3");
        assert_eq!(progress.latest("web").unwrap(), "pulling: 2\\u{1b}[2J of 3");
        assert_eq!(progress.latest("we"), None);

        let status = progress.begin_call("web");
        assert_eq!(
            progress.latest("web").unwrap(),
            "pulling: 2\\u{1b}[2J of 3",
            "the newer call has reported no line"
        );
        status.report("it is missing");
        assert_eq!(progress.latest("web").unwrap(), "it is missing");
        drop(status);
        assert_eq!(progress.latest("web").unwrap(), "pulling: 2\\u{1b}[2J of 3");
        drop(start);
        assert_eq!(progress.latest("web"), None);
        assert!(progress.lines().is_empty());
    }
}
