//! Types of values about the lifecycle of workloads.

use std::{fmt::Display, str::FromStr};

use drowse_core::{Adopt, Alarm, Need, PoolName, Until, Window, WorkloadName};

use super::{Text, choice, integer, list, text, value, word};
use crate::{
    read::{Reader, ValueParser, found},
    schema::Kind,
    source::Span,
    tree::{Node, Value},
};

const UNTIL: &[&str] = &["started", "healthy", "completed"];

choice!(
    /// The treatment of a workload that is found running.
    AdoptPolicy: Adopt {
        "keep" => Adopt::Keep,
        "sleep" => Adopt::Sleep,
        "ignore" => Adopt::Ignore,
    }
);
value!(
    /// A share of one core.
    Percent: f64, "number", "a percentage of one core from 1 to 10000", |r, node| match node.value {
        #[expect(clippy::cast_precision_loss, reason = "four digits at most")]
        Value::Integer(number @ 1..=10_000) => Some(number as f64),
        _ => r.mismatch(node, Percent::KIND),
    }
);
value!(
    /// Precedence among the workloads of a pool.
    Priority: i32, "number", "a whole number from -1000 to 1000", |r, node| {
        integer(r, node, -1000..=1000, Priority::KIND)
    }
);
value!(
    /// The name of a pool.
    PoolReference: PoolName, "text", "the name of a [pool.NAME]", |r, node| {
        let name = text(r, node, Text::KIND)?;
        PoolName::parse(&name).map_or_else(|error| r.refuse(node, error.to_string()), Some)
    }
);
value!(
    /// Times of the week in which a workload is awake.
    Windows: Vec<Window>,
    "list of windows",
    "a list of windows such as [\"mon-fri 08:00-18:00 Europe/Berlin\"]",
    |r, node| {
        list(r, node, Windows::KIND, |r, item| parsed(r, item, "window"))
    }
);
value!(
    /// Times at which a workload is woken.
    Schedules: Vec<Alarm>,
    "list of schedules",
    "a list of cron schedules such as [\"0 7 * * mon-fri Europe/Berlin\"]",
    |r, node| {
        list(r, node, Schedules::KIND, |r, item| parsed(r, item, "schedule"))
    }
);
value!(
    /// Needed workloads, the state that each must have reached, and where each is written.
    Needs: Vec<(Need, Span)>,
    "list of workloads",
    "a list of workloads such as [\"db\", { workload = \"migrate\", until = \"completed\" }]",
    |r, node| {
        list(r, node, Needs::KIND, |r, item| Some((need(r, item)?, item.span)))
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
                format!(
                    "unknown key `{key}` in a needed workload; known keys are `workload`, `until`"
                ),
            );
            return None;
        }
    }
    let Some(workload) = entries.get("workload") else {
        return r.refuse(
            node,
            format!(
                "a needed workload is `{{ workload = \"NAME\" }}` or a name, found {}",
                found(node)
            ),
        );
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

/// A text that is parsed; `what` names it in an error.
fn parsed<T: FromStr<Err: Display>>(r: &mut Reader, node: &Node, what: &str) -> Option<T> {
    let written = text(r, node, Text::KIND)?;
    let shown = written.escape_debug();
    let refuse = |why| r.refuse(node, format!("\"{shown}\" is not a {what}: {why}"));
    written.parse().map_or_else(refuse, Some)
}

fn name(r: &mut Reader, node: &Node) -> Option<WorkloadName> {
    let name = text(r, node, Text::KIND)?;
    WorkloadName::parse(&name).map_or_else(|error| r.refuse(node, error.to_string()), Some)
}
