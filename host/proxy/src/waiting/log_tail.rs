//! The last log lines of waking workloads, cached so that a provider gets at most one request per
//! second and workload.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use drowse_core::{Workload, WorkloadName, text::is_hidden};
use tokio::time::timeout;

/// Time until cached lines expire.
pub(super) const TTL: Duration = Duration::from_secs(1);
/// Time without a request until cached lines are dropped.
const RETENTION: Duration = Duration::from_secs(60);
/// Maximum characters of a line.
const MAX_LINE_CHARS: usize = 400;

/// The cached lines of all workloads.
pub(super) struct LogTails {
    /// Lines per workload; 0 disables log lines.
    lines: u32,
    cache: Mutex<HashMap<WorkloadName, LogTail>>,
}

struct LogTail {
    lines: Arc<[String]>,
    requested: Instant,
}

// === impl LogTails ===

impl LogTails {
    pub(super) fn new(lines: u32) -> Self {
        Self { lines, cache: Mutex::default() }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.lines > 0
    }

    /// The last lines, at most [`TTL`] old, and the provider's report of its own progress after
    /// them. Returns the cached lines if the provider does not respond within `limit` or has no
    /// lines.
    pub(super) async fn fetch(&self, workload: &Arc<Workload>, limit: Duration) -> Arc<[String]> {
        if !self.is_enabled() {
            return Arc::default();
        }
        if let Some(lines) = self.begin_fetch(workload.name()) {
            return lines;
        }
        let lines = timeout(limit, workload.logs(self.lines)).await;
        match (lines, workload.progress()) {
            (Ok(Ok(mut lines)), report) => {
                lines.extend(report);
                self.store(workload.name(), lines)
            }
            (Ok(Err(_)) | Err(_), Some(report)) => self.store(workload.name(), vec![report]),
            (Ok(Err(_)) | Err(_), None) => self.cached(workload.name()),
        }
    }

    /// The cached lines. None if they have expired: this caller fetches them, and other callers
    /// get the cached ones until then.
    fn begin_fetch(&self, name: &WorkloadName) -> Option<Arc<[String]>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, tail| tail.requested.elapsed() < RETENTION);
        let now = Instant::now();
        match cache.get_mut(name) {
            Some(tail) if tail.requested.elapsed() < TTL => Some(tail.lines.clone()),
            Some(tail) => {
                tail.requested = now;
                None
            }
            None => {
                let tail = LogTail { lines: Arc::default(), requested: now };
                cache.insert(name.clone(), tail);
                None
            }
        }
    }

    /// The cached lines, expired or not.
    pub(super) fn cached(&self, name: &WorkloadName) -> Arc<[String]> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(name).map(|tail| tail.lines.clone()).unwrap_or_default()
    }

    fn store(&self, name: &WorkloadName, lines: Vec<String>) -> Arc<[String]> {
        let limit = usize::try_from(self.lines).unwrap_or(usize::MAX);
        let from = lines.len().saturating_sub(limit);
        let lines: Arc<[String]> = lines[from..].iter().map(|line| sanitize(line)).collect();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(name.clone(), LogTail { lines: lines.clone(), requested: Instant::now() });
        lines
    }
}

/// Removes terminal control sequences, limits the length, and escapes invisible and
/// direction-changing characters as `\u{202e}`.
fn sanitize(line: &str) -> String {
    let mut sanitized = String::new();
    let mut characters = line.trim_end().chars().peekable();
    let mut room = MAX_LINE_CHARS;
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                // Parameters, then one final character (ECMA-48 §5.4).
                while characters.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                characters.next();
            }
            continue;
        }
        if character.is_control() && character != '\t' {
            continue;
        }
        if room == 0 {
            sanitized.push('…');
            break;
        }
        room -= 1;
        if is_hidden(character) && character != '\t' {
            sanitized.extend(character.escape_unicode());
        } else {
            sanitized.push(character);
        }
    }
    sanitized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_control_sequences_are_removed() {
        assert_eq!(sanitize("\u{1b}[1;32mready\u{1b}[0m in 3 s\r\n"), "ready in 3 s");
        assert_eq!(sanitize("a\u{7}b\u{1b}[2Kc\td"), "abc\td");
        assert_eq!(sanitize("\u{1b}"), "");
        let long = sanitize(&"é".repeat(MAX_LINE_CHARS + 5));
        assert_eq!(long.chars().count(), MAX_LINE_CHARS + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn invisible_and_direction_changing_characters_are_escaped() {
        assert_eq!(sanitize("user \u{202e}toor\u{2066}x"), "user \\u{202e}toor\\u{2066}x");
        assert_eq!(sanitize("a\u{200b}b\u{feff}\u{e0041}"), "a\\u{200b}b\\u{feff}\\u{e0041}");
        assert_eq!(sanitize("👩\u{200d}🚀 می\u{200c}خواهم ü\t"), "👩\u{200d}🚀 می\u{200c}خواهم ü");
    }

    #[test]
    fn concurrent_requests_cause_one_fetch_per_ttl() {
        let tails = LogTails::new(2);
        let name = WorkloadName::parse("app").unwrap();
        assert!(tails.begin_fetch(&name).is_none(), "the first caller fetches");
        assert_eq!(tails.begin_fetch(&name).unwrap().len(), 0, "the second caller does not wait");
        tails.store(&name, vec!["a".into(), "b".into(), "c".into()]);
        assert_eq!(*tails.begin_fetch(&name).unwrap(), ["b", "c"]);
        assert_eq!(*tails.cached(&name), ["b", "c"]);
    }
}
