//! `drowse ops`

use std::time::{Duration, SystemTime};

use drowse_core::Entry;

use crate::{
    cli::Ops,
    commands::{client, runtime, two_units},
    error::Error,
    output::{Output, Tone},
    table::{Cell, Table},
};

#[cfg(test)]
mod tests;

pub(crate) fn ops(ops: &Ops, output: &Output) -> Result<(), Error> {
    let client = client(&ops.running)?;
    let limit = usize::from(ops.limit);
    let entries = runtime()?.block_on(client.operations(ops.name.as_deref(), limit))?;
    output.answer(&entries, |output| text(&entries, SystemTime::now(), output))
}

fn text(entries: &[Entry], now: SystemTime, output: &Output) -> String {
    if entries.is_empty() {
        return "no operations yet\n".to_owned();
    }
    let titles = ["ENDED", "WORKLOAD", "OPERATION", "BY", "TOOK", "OUTCOME", "CORRELATION"];
    let mut table = Table::new(&titles);
    for entry in entries {
        table.row(row(entry, now));
    }
    let mut text = table.render(output);
    for entry in entries {
        if let (Some(failure), true) = (&entry.failure, entry.kind.is_operation()) {
            let (ended, correlation) = (ended(entry, now), entry.correlation);
            let (kind, workload) = (entry.kind, &entry.workload);
            let line = format!("{ended} {correlation} {kind} {workload}: {failure}");
            text.push_str(&format!("\n{}\n", output.paint(&line, Tone::Bad)));
        }
    }
    text
}

fn row(entry: &Entry, now: SystemTime) -> [Cell; 7] {
    let took = entry.ended.duration_since(entry.began).unwrap_or_default();
    let indent = if entry.kind.is_operation() { "" } else { "  " };
    let by = match &entry.reference {
        Some(reference) => format!("{}: {reference}", entry.trigger),
        None => entry.trigger.to_string(),
    };
    let outcome = match &entry.failure {
        None => Cell::from("done").in_tone(Tone::Good),
        Some(failure) => match failure.reason {
            Some(reason) => Cell::from(reason).in_tone(Tone::Bad),
            None => Cell::from(&failure.code).in_tone(Tone::Bad),
        },
    };
    [
        Cell::from(ended(entry, now)),
        Cell::from(&entry.workload),
        Cell::from(format!("{indent}{}", entry.kind)),
        Cell::from(by),
        Cell::from(precise(took)),
        outcome,
        Cell::from(entry.correlation),
    ]
}

/// The time since the end of an operation.
fn ended(entry: &Entry, now: SystemTime) -> String {
    let ago = now.duration_since(entry.ended).unwrap_or_default();
    format!("{} ago", two_units(ago.as_secs_f64()))
}

fn precise(took: Duration) -> String {
    match took.as_millis() {
        milliseconds @ 0..10_000 => format!("{milliseconds}ms"),
        _ => two_units(took.as_secs_f64()),
    }
}
