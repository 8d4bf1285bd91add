//! Result table of a run, and the requests that no fault explains.

use std::fmt::Write as _;

use super::{
    ledger::{Kind, Outcome, Record},
    load::Load,
    stage::SPARE,
    timeline::{Fault, Scope, Timeline},
};
use crate::soak::{
    headers::{Nanos, now},
    tally::time_of_day,
};

/// The result of one scenario.
pub(super) struct Summary {
    title: String,
    faults: usize,
    requests: u64,
    answered: u64,
    wrong: usize,
    twice: usize,
    refused: Share,
    lost: Share,
    slow: usize,
    repeated: u64,
    /// Longest time beyond the faults, and longest duration, in seconds.
    beyond: f64,
    worst: f64,
    /// In milliseconds.
    p99: f64,
    /// Requests that no fault explains, ordered by send time.
    violations: Vec<Record>,
    /// Other failures of the run.
    others: Vec<String>,
}

/// A number of requests, and how many of them no fault explains.
#[derive(Clone, Copy, Default)]
struct Share {
    all: usize,
    unexplained: usize,
}

/// Number of violations that are shown in detail.
const SHOWN: usize = 5;
/// Log lines shown per violation.
const LINES: usize = 14;
/// Characters shown per log line.
const WIDTH: usize = 300;
/// Time before a violation of which steps and log lines are shown.
const AROUND: Nanos = 1_500_000_000;

pub(super) const HEADER: &str = "scenario                faults requests   answered wrong twice  \
     refused (unexpl.)    lost (unexpl.)  slow  beyond   worst    p99";

// === impl Summary ===

impl Summary {
    /// Judges the recorded requests.
    pub(super) fn new(title: &str, load: &Load, twice: &[u64]) -> Self {
        let ledger = &load.ledger;
        let (p99, worst) = ledger.latency();
        let mut summary = Self {
            title: title.to_owned(),
            faults: load.timeline.between(0, Nanos::MAX).len(),
            requests: ledger.requests(),
            answered: ledger.answered(),
            wrong: 0,
            twice: twice.len(),
            refused: Share::default(),
            lost: Share::default(),
            slow: 0,
            repeated: ledger.repeated(),
            beyond: 0.0,
            worst: worst / 1e3,
            p99,
            violations: Vec::new(),
            others: Vec::new(),
        };
        for record in ledger.records() {
            let explained = load.timeline.explains(&record);
            let beyond = load.timeline.beyond(&record) as f64 / 1e9;
            summary.beyond = summary.beyond.max(beyond);
            match record.outcome {
                Outcome::Answered => summary.slow += usize::from(!explained),
                Outcome::Wrong(_) => summary.wrong += usize::from(!explained),
                Outcome::Refused(_) => summary.refused.add(explained),
                Outcome::Lost(_) => summary.lost.add(explained),
            }
            if !explained {
                summary.violations.push(record);
            }
        }
        if let [first, ..] = twice {
            let what =
                format!("{} POSTs were delivered twice, the first is request {first}", twice.len());
            summary.others.push(what);
        }
        summary
    }

    /// Adds a failure that is not about a request.
    pub(super) fn fault(&mut self, what: String) {
        self.others.push(what);
    }

    pub(super) fn passed(&self) -> bool {
        self.violations.is_empty() && self.others.is_empty()
    }

    /// Returns whether a request was answered by the wrong workload, or delivered twice.
    pub(super) fn is_wrong(&self) -> bool {
        self.wrong > 0 || self.twice > 0
    }

    /// The line of the result table.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<24}{:>6}{:>9}{:>11}{:>6}{:>6}{:>9} {:>9}{:>8} {:>9}{:>6}{:>7.2}s{:>7.2}s{:>5.0}ms  {}",
            self.title,
            self.faults,
            self.requests,
            self.answered,
            self.wrong,
            self.twice,
            self.refused.all,
            format!("({})", self.refused.unexplained),
            self.lost.all,
            format!("({})", self.lost.unexplained),
            self.slow,
            self.beyond,
            self.worst,
            self.p99,
            if self.passed() { "" } else { "FAILED" },
        )
    }

    /// Every fault with its steps.
    pub(super) fn faults(&self, load: &Load) -> String {
        let faults = load.timeline.between(0, Nanos::MAX);
        let steps: String = faults.iter().map(steps).collect();
        format!("{}\n{steps}", self.title)
    }

    /// The violations, the first of them with the concurrent faults and log lines.
    pub(super) fn violations(&self, load: &Load, names: &[String], log: &[String]) -> String {
        let mut text = String::new();
        for other in &self.others {
            let _ = writeln!(text, "\n{}: {other}", self.title);
        }
        let mut kinds: Vec<&Record> = Vec::new();
        // Show the first of each kind, because the others are usually similar.
        for record in &self.violations {
            let same = |other: &&Record| {
                std::mem::discriminant(&other.outcome) == std::mem::discriminant(&record.outcome)
                    && other.kind == record.kind
            };
            if !kinds.iter().any(same) {
                kinds.push(record);
            }
        }
        let rest =
            self.violations.iter().filter(|record| kinds.iter().all(|kind| kind.id != record.id));
        let shown: Vec<_> = kinds.iter().copied().chain(rest).take(SHOWN).collect();
        for record in shown {
            self.show(&mut text, record, load, names, log);
        }
        let hidden = self.violations.len().saturating_sub(SHOWN);
        if hidden > 0 {
            let _ = writeln!(text, "\n{}: {hidden} more that no fault explains", self.title);
        }
        text
    }

    fn show(
        &self,
        text: &mut String,
        record: &Record,
        load: &Load,
        names: &[String],
        log: &[String],
    ) {
        let name = names.get(record.workload).map_or(SPARE, String::as_str);
        let kind = match record.kind {
            Kind::Get => "GET",
            Kind::Post => "POST",
            Kind::Stream => "stream",
        };
        let outcome = match &record.outcome {
            Outcome::Answered => "answered late".to_owned(),
            Outcome::Wrong(other) => format!("WRONG: reached {other}"),
            Outcome::Refused(why) => format!("refused: {why}"),
            Outcome::Lost(why) => format!("lost: {why}"),
        };
        let (sent, took) = (time_of_day(record.sent), record.done.saturating_sub(record.sent));
        let _ = writeln!(
            text,
            "\n{}: {kind} {} to {name}, sent {sent}, ended after {:.3} s, {outcome}",
            self.title,
            record.id,
            took as f64 / 1e9
        );
        let (from, to) = (record.sent.saturating_sub(AROUND), record.done);
        for fault in load.timeline.between(from, to) {
            let of_this =
                fault.scope == Scope::All || fault.scope == Scope::Workload(record.workload);
            if of_this {
                text.push_str(&steps(&fault));
            }
        }
        let (from, to) = (time_of_day(from), time_of_day(to));
        let of_this = [format!("={name} "), format!("\"{name}\""), format!(" {name}:")];
        let about = |line: &&String| {
            let within = time_of(line).is_some_and(|time| *from <= *time && *time <= *to);
            within
                && (of_this.iter().any(|name| line.contains(name)) || !line.contains("workload="))
        };
        for line in log.iter().filter(about).take(LINES) {
            let _ = writeln!(text, "    | {}", line.chars().take(WIDTH).collect::<String>());
        }
    }
}

/// Counts without a column.
pub(super) fn footnote(summaries: &[Summary]) -> String {
    let repeated: u64 = summaries.iter().map(|summary| summary.repeated).sum();
    if repeated == 0 {
        return String::new();
    }
    format!("{repeated} connections were refused while the router was down, and retried\n")
}

fn steps(fault: &Fault) -> String {
    let mut text = format!("    {} the fault begins\n", time_of_day(fault.begin));
    for (at, step) in &fault.steps {
        let _ = writeln!(text, "    {} {step}", time_of_day(*at));
    }
    text
}

/// The time of day of a line of the router's log, as `time_of_day` writes it.
fn time_of(line: &str) -> Option<&str> {
    let word = line.split_whitespace().next()?;
    Some(word.split_once('T')?.1)
}

/// Adds the container starts in the router's log, with their durations, to the timeline.
pub(super) fn add_starts(timeline: &Timeline, names: &[String], log: &[String]) {
    for line in log.iter().filter(|line| line.contains("operation=start")) {
        let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key));
        let start = || {
            let workload = names.iter().position(|name| Some(&**name) == value("workload="))?;
            let took: f64 = value("milliseconds=")?.parse().ok()?;
            let end = moment(time_of(line)?)?;
            Some((workload, end.saturating_sub((took * 1e6) as Nanos), end))
        };
        if let Some((workload, from, to)) = start() {
            timeline.started(workload, from, to);
        }
    }
}

/// The latest past moment with this time of day.
fn moment(time: &str) -> Option<Nanos> {
    const DAY: Nanos = 86_400_000_000_000;
    let mut words = time.trim_end_matches('Z').split(':');
    let (hours, minutes) = (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
    let seconds: f64 = words.next()?.parse().ok()?;
    let since_midnight = (hours * 60 + minutes) * 60_000_000_000 + (seconds * 1e9) as Nanos;
    let now = now();
    let moment = now - now % DAY + since_midnight;
    Some(if moment > now { moment - DAY } else { moment })
}

/// The current time for progress lines.
pub(super) fn clock() -> String {
    time_of_day(now()).chars().take(8).collect()
}

// === impl Share ===

impl Share {
    fn add(&mut self, explained: bool) {
        self.all += 1;
        self.unexplained += usize::from(!explained);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_parsed_as_it_is_formatted() {
        let at = now() / 1_000 * 1_000;
        let read = moment(&time_of_day(at)).unwrap();
        assert!(read.abs_diff(at) < 2_000, "{read} is not {at}");
    }

    #[test]
    fn starts_are_found_in_the_log() {
        let timeline = Timeline::default();
        let at = now() - 1_000_000_000;
        let time = time_of_day(at);
        let line = format!(
            "2026-12-01T{time}  INFO operation done workload=w1 provider=docker operation=start \
             correlation=1 milliseconds=400.5 status=\"running\""
        );
        add_starts(&timeline, &["w0".to_owned(), "w1".to_owned()], &[line]);
        let record = |workload| Record {
            id: 1,
            workload,
            kind: Kind::Get,
            sent: at - 600_000_000,
            done: at,
            outcome: Outcome::Answered,
        };
        assert_eq!(timeline.beyond(&record(0)), 600_000_000);
        assert!(timeline.beyond(&record(1)) < 200_000_000);
    }
}
