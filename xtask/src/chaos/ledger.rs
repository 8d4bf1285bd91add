//! Records the outcome of every request.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{bench::samples::Samples, soak::headers::Nanos};

/// How a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Post,
    /// A response of several seconds. Its record begins with the last received data.
    Stream,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Complete response from the intended workload.
    Answered,
    /// Response from another workload, with its name.
    Wrong(String),
    /// Error response of the router: status and text.
    Refused(String),
    /// No response or an incomplete one, with the reason.
    Lost(String),
}

/// A request to be judged.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    /// Index of the intended workload.
    pub(super) workload: usize,
    pub(super) kind: Kind,
    pub(super) sent: Nanos,
    pub(super) done: Nanos,
    pub(super) outcome: Outcome,
}

/// The requests of a run.
pub(super) struct Ledger {
    requests: AtomicU64,
    answered: AtomicU64,
    repeated: AtomicU64,
    latencies: Mutex<Samples>,
    records: Mutex<Vec<Record>>,
    /// Send time of the last answered request, for each workload.
    served: Vec<AtomicU64>,
}

/// Responses that take longer, in nanoseconds, are kept to be judged.
const LONG: Nanos = 300_000_000;
/// Maximum number of records. A run with more has failed in any case.
const KEPT: usize = 200_000;

// === impl Ledger ===

impl Ledger {
    pub(super) fn new(workloads: usize) -> Self {
        Self {
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            latencies: Mutex::default(),
            records: Mutex::default(),
            served: (0..workloads).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Adds a finished request.
    pub(super) fn add(&self, record: Record) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let took = record.done.saturating_sub(record.sent);
        if record.outcome == Outcome::Answered {
            self.answered.fetch_add(1, Ordering::Relaxed);
            if let Some(served) = self.served.get(record.workload) {
                served.fetch_max(record.sent, Ordering::Relaxed);
            }
        }
        if record.kind != Kind::Stream {
            lock(&self.latencies).add(took as f64 / 1e6);
        }
        if record.outcome != Outcome::Answered || took > LONG {
            self.keep(record);
        }
    }

    /// Stores a record without counting it.
    pub(super) fn keep(&self, record: Record) {
        let mut records = lock(&self.records);
        if records.len() < KEPT {
            records.push(record);
        }
    }

    /// Counts a connection that was refused while the router was down and is retried.
    pub(super) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Returns whether a request sent to this workload after `moment` has been answered.
    pub(super) fn served_since(&self, workload: usize, moment: Nanos) -> bool {
        self.served.get(workload).is_some_and(|sent| sent.load(Ordering::Relaxed) > moment)
    }

    /// The records so far, ordered by send time.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records = lock(&self.records).clone();
        records.sort_by_key(|record| record.sent);
        records
    }

    /// 99th percentile and maximum of the request durations in milliseconds.
    pub(super) fn latency(&self) -> (f64, f64) {
        let latencies = lock(&self.latencies);
        (latencies.p99(), latencies.max())
    }

    /// Adds misdelivered requests recorded by backends, unless their clients have already reported them.
    pub(super) fn add_misdelivered(&self, notes: &str, names: &[String]) {
        let mut records = lock(&self.records);
        let seen = records.iter().filter(|record| matches!(record.outcome, Outcome::Wrong(_)));
        let mut seen: HashSet<u64> = seen.map(|record| record.id).collect();
        for line in notes.lines() {
            let Some(note) = Note::parse(line) else { continue };
            if !seen.insert(note.request) {
                continue;
            }
            let workload = names.iter().position(|name| name == note.expected);
            records.push(Record {
                id: note.request,
                workload: workload.unwrap_or(usize::MAX),
                kind: if note.method == "POST" { Kind::Post } else { Kind::Get },
                sent: note.at,
                done: note.at,
                outcome: Outcome::Wrong(note.backend.to_owned()),
            });
        }
    }
}

/// A line of a backend's record file.
struct Note<'a> {
    at: Nanos,
    request: u64,
    expected: &'a str,
    backend: &'a str,
    method: &'a str,
}

// === impl Note ===

impl<'a> Note<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            at: words.next()?.parse().ok()?,
            request: words.next()?.parse().ok()?,
            expected: words.next()?,
            backend: words.next()?,
            method: words.next()?,
        })
    }
}

/// Ids that occur more than once in a record file.
pub(super) fn delivered_twice(notes: &str) -> Vec<u64> {
    let mut seen = HashSet::new();
    let requests = notes.lines().filter_map(|line| Some(Note::parse(line)?.request));
    requests.filter(|request| !seen.insert(*request)).collect()
}

/// Id of the next request.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misdelivered_request_is_counted_once() {
        let ledger = Ledger::new(2);
        let wrong = Outcome::Wrong("w1".to_owned());
        ledger.add(Record {
            id: 7,
            workload: 0,
            kind: Kind::Get,
            sent: 1,
            done: 2,
            outcome: wrong,
        });
        let notes = "5 7 w0 w1 GET\n6 8 w0 w1 POST\n";
        ledger.add_misdelivered(notes, &["w0".to_owned(), "w1".to_owned()]);
        let ids: Vec<_> = ledger.records().iter().map(|record| record.id).collect();
        assert_eq!(ids, [7, 8]);
    }

    #[test]
    fn a_post_delivered_twice_is_found() {
        assert_eq!(delivered_twice("1 7 w0 w0 POST\n2 8 w0 w0 POST\n"), [0_u64; 0]);
        assert_eq!(delivered_twice("1 7 w0 w0 POST\n2 7 w0 w0 POST\n"), [7_u64]);
    }
}
