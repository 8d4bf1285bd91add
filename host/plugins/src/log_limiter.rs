//! Limits the log lines that a provider's plugin causes.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::token_bucket::TokenBucket;

/// Minimum time between two log lines of the same text.
const REPEAT: Duration = Duration::from_secs(10);

/// The log budget of one provider.
#[derive(Debug)]
pub(crate) struct LogLimiter {
    provider: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: TokenBucket,
    dropped: u64,
    last: Option<LastWarning>,
}

/// The last warning, for detecting repetitions.
#[derive(Debug)]
struct LastWarning {
    text: String,
    logged: Instant,
    /// Repetitions since it was logged.
    since: u64,
}

// === impl LogLimiter ===

impl LogLimiter {
    /// A limiter of `lines` a second.
    pub(crate) fn new(provider: &str, lines: u32) -> Self {
        let lines = TokenBucket::new(lines.into(), Instant::now());
        let state = State { lines, dropped: 0, last: None };
        Self { provider: provider.to_owned(), state: Mutex::new(state) }
    }

    /// Whether one more line may be logged. Logs the number of dropped lines before it, if any.
    pub(crate) fn admit(&self, operation: &str) -> bool {
        let dropped = self.state(|state| state.admit(Instant::now()));
        if let Some(dropped) = dropped {
            self.log_dropped(operation, dropped);
        }
        dropped.is_some()
    }

    /// Logs the number of lines dropped since the last one.
    pub(crate) fn report_dropped(&self, operation: &str) {
        let dropped = self.state(|state| std::mem::take(&mut state.dropped));
        self.log_dropped(operation, dropped);
    }

    /// Logs a refusal or fault as a warning. False if the same text was logged less than [`REPEAT`]
    /// ago.
    pub(crate) fn warn(&self, operation: &str, line: &str) -> bool {
        let Some(repeated) = self.state(|state| state.warn(line, Instant::now())) else {
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

    fn log_dropped(&self, operation: &str, dropped: u64) {
        if dropped > 0 {
            tracing::warn!(
                provider = self.provider,
                operation,
                dropped,
                "log lines of the plugin were dropped (limits.log-lines-per-second)"
            );
        }
    }

    fn state<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl State ===

impl State {
    /// The number of lines dropped before this one; none if this one is dropped too.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.lines.take(1, now) {
            return Some(std::mem::take(&mut self.dropped));
        }
        self.dropped += 1;
        None
    }

    /// The number of repetitions since the text was last logged; none if it need not be logged
    /// again yet.
    fn warn(&mut self, text: &str, now: Instant) -> Option<u64> {
        let repeated = match &mut self.last {
            Some(last) if last.text == text => {
                last.since += 1;
                if now.saturating_duration_since(last.logged) < REPEAT {
                    return None;
                }
                last.since
            }
            _ => 0,
        };
        self.last = Some(LastWarning { text: text.to_owned(), logged: now, since: 0 });
        Some(repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (State, Instant) {
        let now = Instant::now();
        (State { lines: TokenBucket::new(20, now), dropped: 0, last: None }, now)
    }

    #[test]
    fn lines_above_the_limit_are_counted_and_dropped() {
        let (mut state, start) = state();
        let written = (0..10_000).filter(|_| state.admit(start).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(state.admit(start + Duration::from_secs(1)), Some(9_980));
        assert_eq!(state.dropped, 0);
    }

    #[test]
    fn a_repeated_warning_is_logged_once_per_interval_with_its_count() {
        let (mut state, start) = state();
        assert_eq!(state.warn("no", start), Some(0));
        assert!((0..1000).all(|_| state.warn("no", start).is_none()));
        assert_eq!(state.warn("no", start + REPEAT), Some(1001));
        assert_eq!(state.warn("never", start + REPEAT), Some(0), "another text is logged at once");
    }
}
