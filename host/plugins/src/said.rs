//! What calls that are under way have said last, for whoever waits for them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Longest line that is kept.
const LINE_BYTES: usize = 512;

/// The last line of each call under way that has said anything, by target and call.
#[derive(Debug, Default)]
pub(crate) struct Said {
    lines: Mutex<BTreeMap<(String, u64), String>>,
    calls: AtomicU64,
}

/// One call for one target. What it has said is forgotten with it.
#[derive(Debug)]
pub(crate) struct Saying {
    said: Arc<Said>,
    call: (String, u64),
}

// === impl Said ===

impl Said {
    /// A call for this target.
    pub(crate) fn begin(self: &Arc<Self>, target: &str) -> Saying {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Saying { said: self.clone(), call: (target.to_owned(), number) }
    }

    /// What the latest call for this target that has said anything has said last.
    pub(crate) fn of(&self, target: &str) -> Option<String> {
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

// === impl Saying ===

impl Saying {
    /// It says this now.
    pub(crate) fn say(&self, line: &str) {
        let line = crate::fault::clean(line, LINE_BYTES);
        self.said.lines().insert(self.call.clone(), line);
    }
}

impl Drop for Saying {
    fn drop(&mut self) {
        self.said.lines().remove(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_latest_call_is_known_until_its_end() {
        let said = Arc::<Said>::default();
        let start = said.begin("web");
        assert_eq!(said.of("web"), None, "it has said nothing");
        start.say("pulling: 1 of 3");
        start.say("pulling: 2\u{1b}[2J of 3");
        assert_eq!(said.of("web").unwrap(), "pulling: 2\\u{1b}[2J of 3");
        assert_eq!(said.of("we"), None);

        let status = said.begin("web");
        assert_eq!(said.of("web").unwrap(), "pulling: 2\\u{1b}[2J of 3", "the other says nothing");
        status.say("it is missing");
        assert_eq!(said.of("web").unwrap(), "it is missing");
        drop(status);
        assert_eq!(said.of("web").unwrap(), "pulling: 2\\u{1b}[2J of 3");
        drop(start);
        assert_eq!(said.of("web"), None);
        assert!(said.lines().is_empty());
    }
}
