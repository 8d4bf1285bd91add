//! `drowse status`

use drowse_admin::{ProviderStatus, RouterStatus};
use drowse_core::{Phase, PoolStatus, WorkloadStatus};

use crate::{
    cli::Running,
    commands::{client, runtime, two_units},
    error::Error,
    output::{Output, Tone},
    table::{Cell, Table},
};

#[cfg(test)]
mod tests;

pub(crate) fn status(running: &Running, output: &Output) -> Result<(), Error> {
    let status = runtime()?.block_on(client(running)?.status())?;
    output.answer(&status, |output| text(&status, output))
}

fn text(status: &RouterStatus, output: &Output) -> String {
    let files: Vec<_> =
        status.configuration.iter().map(|file| file.display().to_string()).collect();
    let mut text = format!(
        "drowse {}, pid {}, up {}, configured by {}\n",
        status.version,
        status.pid,
        two_units(status.uptime_seconds),
        files.join(", ")
    );
    let mut problems = Vec::new();

    let mut listeners = Table::new(&["LISTENER", "ADDRESS", "PROTOCOL", "STATE"]);
    for listener in &status.listeners {
        let state = match &listener.problem {
            None => Cell::from("open").in_tone(Tone::Good),
            Some(problem) => {
                problems.push(problem.clone());
                Cell::from("not served").in_tone(Tone::Bad)
            }
        };
        listeners.row([
            Cell::from(&listener.name),
            Cell::from(&listener.address),
            Cell::from(&listener.protocol),
            state,
        ]);
    }

    let mut providers = Table::new(&["PROVIDER", "PLUGIN", "FROM", "FAULTS", "STATE"]);
    for provider in &status.providers {
        providers.row(provider_row(provider));
        if let Some(cause) = &provider.state.cause {
            problems.push(format!("provider {}: {cause}", provider.name));
        }
    }

    let titles =
        ["WORKLOAD", "PHASE", "SINCE", "VISITS", "WAITING", "SLEEPS IN", "PROVIDER", "NOTE"];
    let mut workloads = Table::new(&titles);
    for workload in &status.workloads {
        workloads.row(workload_row(workload, &status.workloads));
        if let Some(failure) = &workload.failure {
            problems.push(format!("workload {}: {failure}", workload.name));
        }
    }

    let mut pools = Table::new(&["POOL", "AWAKE", "MEMORY", "QUEUE"]);
    for pool in &status.pools {
        pools.row(pool_row(pool));
    }

    for (table, some) in [
        (&listeners, !status.listeners.is_empty()),
        (&providers, !status.providers.is_empty()),
        (&workloads, !status.workloads.is_empty()),
        (&pools, !status.pools.is_empty()),
    ] {
        if some {
            text.push('\n');
            text.push_str(&table.render(output));
        }
    }
    for problem in problems {
        text.push_str(&format!("\n{}\n", output.paint(&problem, Tone::Bad)));
    }
    text
}

fn provider_row(provider: &ProviderStatus) -> [Cell; 5] {
    let state = &provider.state;
    let dash = || "-".to_owned();
    [
        Cell::from(&provider.name),
        Cell::from(state.plugin.clone().unwrap_or_else(dash)),
        Cell::from(state.origin.clone().unwrap_or_else(dash)),
        Cell::from(state.faults),
        match (state.usable, &state.cause) {
            (true, None) => Cell::from("usable").in_tone(Tone::Good),
            (true, Some(_)) => Cell::from("usable, see below").in_tone(Tone::Busy),
            (false, _) => Cell::from("not usable").in_tone(Tone::Bad),
        },
    ]
}

fn workload_row(workload: &WorkloadStatus, all: &[WorkloadStatus]) -> [Cell; 8] {
    let tone = match workload.phase {
        Phase::Asleep => Tone::Quiet,
        Phase::Ready => Tone::Good,
        Phase::Waking | Phase::Draining | Phase::Stopping => Tone::Busy,
        Phase::Failed | Phase::Missing => Tone::Bad,
    };
    [
        Cell::from(&workload.name),
        Cell::from(workload.phase).in_tone(tone),
        Cell::from(two_units(workload.phase_seconds)),
        Cell::from(workload.visits),
        Cell::from(workload.waiting),
        Cell::from(workload.sleeps_in_seconds.map_or_else(|| "-".to_owned(), two_units)),
        Cell::from(&workload.provider),
        Cell::from(note(workload, all)),
    ]
}

/// The current operation of a workload, or what keeps it awake.
fn note(workload: &WorkloadStatus, all: &[WorkloadStatus]) -> String {
    if let Some(doing) = workload.doing() {
        return doing;
    }
    match (workload.phase, workload.held, &workload.veto) {
        (Phase::Asleep, ..) if workload.light => "lightly".to_owned(),
        (Phase::Ready, 0, _) if workload.unrequested => "found running, no visit yet".to_owned(),
        (Phase::Ready, 0, Some(veto)) => format!("kept awake: {veto}"),
        (Phase::Ready, 0, None) => String::new(),
        (Phase::Ready, held, _) => holders(workload, held, all),
        _ => String::new(),
    }
}

/// The awake workloads that need it, and its schedule.
fn holders(workload: &WorkloadStatus, held: u32, all: &[WorkloadStatus]) -> String {
    let is_awake = |other: &&WorkloadStatus| {
        let asleep = matches!(other.phase, Phase::Asleep | Phase::Failed | Phase::Missing);
        !asleep && other.needs.contains(&workload.name)
    };
    let dependents: Vec<_> = all.iter().filter(is_awake).map(|other| other.name.as_str()).collect();
    let scheduled = usize::try_from(held).is_ok_and(|held| held > dependents.len());
    match (dependents.join(", "), scheduled) {
        (names, false) => format!("needed by {names}"),
        (names, true) if names.is_empty() => "kept awake by its schedule".to_owned(),
        (names, true) => format!("needed by {names} and its schedule"),
    }
}

fn pool_row(pool: &PoolStatus) -> [Cell; 4] {
    let of = |used: String, ceiling: Option<String>| match ceiling {
        Some(ceiling) => format!("{used} of {ceiling}"),
        None => used,
    };
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let queue: Vec<_> = pool.queue.iter().map(ToString::to_string).collect();
    [
        Cell::from(&pool.name),
        Cell::from(of(pool.awake.to_string(), pool.ceiling.map(|ceiling| ceiling.to_string()))),
        Cell::from(of(mebibytes(pool.memory), pool.memory_ceiling.map(mebibytes))),
        Cell::from(if queue.is_empty() { "-".to_owned() } else { queue.join(", ") }),
    ]
}
