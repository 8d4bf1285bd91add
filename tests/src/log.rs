//! Captures the output lines of a program and waits for matching lines.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Maximum number of stored lines; older ones are dropped.
const KEPT: usize = 50_000;

/// The lines of one or more streams, in the order they were read.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    forgotten: usize,
}

// === impl Log ===

impl Log {
    /// Reads `stream` to its end on a new thread. `each` is called for every line.
    pub fn follow(
        &self,
        stream: impl Read + Send + 'static,
        mut each: impl FnMut(&str) + Send + 'static,
    ) {
        let log = self.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                each(&text);
                log.push(text);
            }
        });
    }

    /// Current position: the number of lines so far.
    pub fn mark(&self) -> usize {
        let lines = self.lock();
        lines.forgotten + lines.kept.len()
    }

    /// Waits for a line at or after position `from` that `matches`, and returns it with the position
    /// after it.
    pub fn wait(
        &self,
        what: &str,
        from: usize,
        limit: Duration,
        matches: impl Fn(&str) -> bool,
    ) -> Result<(String, usize)> {
        let begin = Instant::now();
        let mut lines = self.lock();
        let mut next = from;
        loop {
            for (index, line) in lines.since(next) {
                next = index + 1;
                if matches(line) {
                    return Ok((line.clone(), next));
                }
            }
            let Some(left) = limit.checked_sub(begin.elapsed()) else {
                drop(lines);
                bail!("timed out after {limit:?}: {what}\n{}", self.tail(40));
            };
            lines = self
                .shared
                .changed
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The stored lines from position `from` on.
    pub fn since(&self, from: usize) -> Vec<String> {
        self.lock().since(from).map(|(_, line)| line.clone()).collect()
    }

    /// The last `count` lines as text.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lock();
        let skip = lines.kept.len().saturating_sub(count);
        lines.kept.iter().skip(skip).map(|line| format!("  | {line}\n")).collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.lock();
        if lines.kept.len() == KEPT {
            lines.kept.pop_front();
            lines.forgotten += 1;
        }
        lines.kept.push_back(line);
        drop(lines);
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lines ===

impl Lines {
    fn since(&self, from: usize) -> impl Iterator<Item = (usize, &String)> {
        let skip = from.saturating_sub(self.forgotten);
        self.kept.iter().enumerate().skip(skip).map(|(index, line)| (index + self.forgotten, line))
    }
}
