//! The values of values that say how a workload lives.

use drowse_core::{Adopt, Alarm, Need, PoolName, Until, Window, WorkloadName};

use super::{TEXT, choice, each, form, text, word};
use crate::{
    read::{Reader, ValueParser, found},
    schema::Kind,
    tree::{Node, Value},
};

const UNTIL: &[&str] = &["started", "healthy", "completed"];

choice!(
    /// What happens to what is found running.
    ADOPT: Adopt {
        "keep" => Adopt::Keep,
        "sleep" => Adopt::Sleep,
        "ignore" => Adopt::Ignore,
    }
);
form!(
    /// A share of one core.
    PERCENT: f64, "number", "a percentage of one core from 1 to 10000", |r, node| match node.value {
        #[expect(clippy::cast_precision_loss, reason = "four digits at most")]
        Value::Integer(number @ 1..=10_000) => Some(number as f64),
        _ => r.mismatch(node, PERCENT.kind),
    }
);
form!(
    /// What counts more than another.
    PRIORITY: i32, "number", "a whole number from -1000 to 1000", |r, node| match node.value {
        Value::Integer(number @ -1000..=1000) => i32::try_from(number).ok(),
        _ => r.mismatch(node, PRIORITY.kind),
    }
);
form!(
    /// The name of a pool.
    POOL_NAME: PoolName, "text", "the name of a [pool.NAME]", |r, node| {
        let name = text(r, node, TEXT.kind)?;
        PoolName::parse(&name).map_or_else(|error| r.refuse(node, error.to_string()), Some)
    }
);
form!(
    /// Times of day in which it is awake.
    WINDOWS: Vec<Window>,
    "list of windows",
    "a list of windows such as [\"mon-fri 08:00-18:00 Europe/Berlin\"]",
    |r, node| {
        let Value::List(items) = &node.value else { return r.mismatch(node, WINDOWS.kind) };
        each(items, |item| {
            let written = text(r, item, TEXT.kind)?;
            let shown = written.escape_debug().to_string();
            let refuse = |why| r.refuse(item, format!("\"{shown}\" is not a window: {why}"));
            written.parse().map_or_else(refuse, Some)
        })
    }
);
form!(
    /// Moments at which it is woken.
    ALARMS: Vec<Alarm>,
    "list of schedules",
    "a list of cron schedules such as [\"0 7 * * mon-fri Europe/Berlin\"]",
    |r, node| {
        let Value::List(items) = &node.value else { return r.mismatch(node, ALARMS.kind) };
        each(items, |item| {
            let written = text(r, item, TEXT.kind)?;
            let shown = written.escape_debug().to_string();
            let refuse = |why| r.refuse(item, format!("\"{shown}\" is not a schedule: {why}"));
            written.parse().map_or_else(refuse, Some)
        })
    }
);
form!(
    /// Other workloads, and how far they must have come.
    NEEDS: Vec<Need>,
    "list of workloads",
    "a list of workloads such as [\"db\", { workload = \"migrate\", until = \"completed\" }]",
    |r, node| {
        let Value::List(items) = &node.value else { return r.mismatch(node, NEEDS.kind) };
        each(items, |item| need(r, item))
    }
);

fn need(r: &mut Reader, node: &Node) -> Option<Need> {
    let Value::Table(entries) = &node.value else {
        return Some(Need { workload: name(r, node)?, until: Until::default() });
    };
    for (key, entry) in entries {
        if !matches!(key.as_str(), "workload" | "until") {
            r.report(
                entry.key,
                format!("unknown key `{key}` in a need; known keys are `workload`, `until`"),
            );
            return None;
        }
    }
    let Some(workload) = entries.get("workload") else {
        return r.refuse(node, format!("a need names a `workload`, found {}", found(node)));
    };
    let workload = name(r, &workload.node);
    let until = match entries.get("until") {
        None => Until::default(),
        Some(entry) => match word(r, &entry.node, UNTIL)? {
            "started" => Until::Started,
            "completed" => Until::Completed,
            _ => Until::Healthy,
        },
    };
    Some(Need { workload: workload?, until })
}

fn name(r: &mut Reader, node: &Node) -> Option<WorkloadName> {
    let name = text(r, node, TEXT.kind)?;
    WorkloadName::parse(&name).map_or_else(|error| r.refuse(node, error.to_string()), Some)
}
