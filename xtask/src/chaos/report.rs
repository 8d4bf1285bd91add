//! The table of a run, and the requests that no fault explains.

use std::fmt::Write as _;

use super::{
    ledger::{Kind, Outcome, Record},
    load::Load,
    stage::SPARE,
    timeline::{Fault, Scope, Timeline},
};
use crate::soak::{
    tally::time_of_day,
    told::{Nanos, now},
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
    /// Longest time beyond the faults, and of all, in seconds.
    beyond: f64,
    worst: f64,
    /// In milliseconds.
    p99: f64,
    /// Requests that no fault explains, in the order they were sent.
    violations: Vec<Record>,
    /// Other faults of the run.
    others: Vec<String>,
}

/// A number of requests, and of them those that no fault explains.
#[derive(Clone, Copy, Default)]
struct Share {
    all: usize,
    unexplained: usize,
}

/// Requests that are shown with everything around them.
const SHOWN: usize = 5;
/// Lines of the router's log that are shown for each.
const LINES: usize = 14;
/// Characters of each.
const WIDTH: usize = 300;
/// What is shown lies at most this long before.
const AROUND: Nanos = 1_500_000_000;

pub(super) const HEADER: &str = "scenario                faults requests   answered wrong twice  \
     refused (unexpl.)    lost (unexpl.)  slow  beyond   worst    p99";

// === impl Summary ===

impl Summary {
    /// Judges what has been recorded.
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
            let what = format!("{} POSTs came twice, the first is number {first}", twice.len());
            summary.others.push(what);
        }
        summary
    }

    /// Something that should not be, beside requests.
    pub(super) fn fault(&mut self, what: String) {
        self.others.push(what);
    }

    pub(super) fn passed(&self) -> bool {
        self.violations.is_empty() && self.others.is_empty()
    }

    /// A request was answered by the wrong workload, or served twice.
    pub(super) fn is_wrong(&self) -> bool {
        self.wrong > 0 || self.twice > 0
    }

    /// One line of the table.
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

    /// The violations, the first of them with what was done and logged around them.
    pub(super) fn violations(&self, load: &Load, names: &[String], log: &[String]) -> String {
        let mut text = String::new();
        for other in &self.others {
            let _ = writeln!(text, "\n{}: {other}", self.title);
        }
        let mut kinds: Vec<&Record> = Vec::new();
        // The first of each kind first: hundreds of others look like the first.
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

/// The numbers that have no column.
pub(super) fn footnote(summaries: &[Summary]) -> String {
    let repeated: u64 = summaries.iter().map(|summary| summary.repeated).sum();
    if repeated == 0 {
        return String::new();
    }
    format!("{repeated} connections were refused while the router was down, and tried again\n")
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

/// Tells the timeline of the starts that the router's log has, which it times.
pub(super) fn note_starts(timeline: &Timeline, names: &[String], log: &[String]) {
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

/// The moment of today, or of yesterday if it is yet to come.
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

/// The time, for lines that tell of progress.
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
    fn the_time_of_a_line_is_read_as_it_is_written() {
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
        note_starts(&timeline, &["w0".to_owned(), "w1".to_owned()], &[line]);
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
