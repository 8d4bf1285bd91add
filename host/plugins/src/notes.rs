//! What guests make the router say: bounded, however often they make it say it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::rate::Bucket;

/// The same line is written again after this time at the earliest.
const REPEAT: Duration = Duration::from_secs(10);

/// The lines that are written because of one provider's guests.
#[derive(Debug)]
pub(crate) struct Notes {
    provider: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: Bucket,
    left_out: u64,
    last: Option<Told>,
}

/// The last line of those that may come again and again.
#[derive(Debug)]
struct Told {
    text: String,
    told: Instant,
    /// How often it happened since.
    since: u64,
}

// === impl Notes ===

impl Notes {
    /// So many lines a second.
    pub(crate) fn new(provider: &str, lines: u32) -> Self {
        let lines = Bucket::new(lines.into(), Instant::now());
        let state = State { lines, left_out: 0, last: None };
        Self { provider: provider.to_owned(), state: Mutex::new(state) }
    }

    /// Whether one more line may be written. Says before it how many could not.
    pub(crate) fn admit(&self, operation: &str) -> bool {
        let left_out = self.state(|state| state.admit(Instant::now()));
        if let Some(left_out) = left_out {
            self.tell(operation, left_out);
        }
        left_out.is_some()
    }

    /// Says how many lines could not be written since one was.
    pub(crate) fn settle(&self, operation: &str) {
        let left_out = self.state(|state| std::mem::take(&mut state.left_out));
        self.tell(operation, left_out);
    }

    /// Writes down that something was refused or broke. False when that was told already, a moment
    /// ago.
    pub(crate) fn repeated(&self, operation: &str, line: &str) -> bool {
        let Some(repeated) = self.state(|state| state.repeated(line, Instant::now())) else {
            return false;
        };
        if self.admit(operation) {
            let provider = self.provider.as_str();
            match repeated {
                0 => tracing::warn!(provider, operation, "{line}"),
                repeated => tracing::warn!(provider, operation, repeated, "{line}"),
            }
        }
        true
    }

    fn tell(&self, operation: &str, left_out: u64) {
        if left_out > 0 {
            tracing::warn!(
                provider = self.provider,
                operation,
                left_out,
                "log lines of the plugin left out (limits.log-lines)"
            );
        }
    }

    fn state<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl State ===

impl State {
    /// How many lines before this one could not be written; none if this one cannot, either.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.lines.take(1, now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }

    /// How often this happened since it was told; none if it need not be told again yet.
    fn repeated(&mut self, text: &str, now: Instant) -> Option<u64> {
        let repeated = match &mut self.last {
            Some(last) if last.text == text => {
                last.since += 1;
                if now.saturating_duration_since(last.told) < REPEAT {
                    return None;
                }
                last.since
            }
            _ => 0,
        };
        self.last = Some(Told { text: text.to_owned(), told: now, since: 0 });
        Some(repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (State, Instant) {
        let now = Instant::now();
        (State { lines: Bucket::new(20, now), left_out: 0, last: None }, now)
    }

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let (mut state, start) = state();
        let written = (0..10_000).filter(|_| state.admit(start).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(state.admit(start + Duration::from_secs(1)), Some(9_980));
        assert_eq!(state.left_out, 0);
    }

    #[test]
    fn the_same_line_is_told_once_and_counted_until_it_is_told_again() {
        let (mut state, start) = state();
        assert_eq!(state.repeated("no", start), Some(0));
        assert!((0..1000).all(|_| state.repeated("no", start).is_none()));
        assert_eq!(state.repeated("no", start + REPEAT), Some(1001));
        assert_eq!(state.repeated("never", start + REPEAT), Some(0), "another one is told at once");
    }
}
