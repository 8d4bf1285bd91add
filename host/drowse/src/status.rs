//! `drowse status`.

use std::path::Path;

use anyhow::Result;
use drowse_admin::RouterStatus;
use drowse_core::WorkloadStatus;

use crate::{
    home,
    output::{self, Table, seconds},
};

pub(crate) fn run(config: Option<&Path>, json: bool) -> Result<()> {
    let client = home::client(config)?;
    let status = home::runtime()?.block_on(client.status())?;
    if json {
        return output::json(&status);
    }
    for line in lines(&status) {
        println!("{line}");
    }
    Ok(())
}

fn lines(status: &RouterStatus) -> Vec<String> {
    let up = seconds(status.uptime_seconds);
    let mut lines = vec![format!("drowse {}, process {}, up {up}", status.version, status.pid)];
    let mut causes = Vec::new();

    let mut table = Table::new(&["LISTENER", "ADDRESS", "STATE"]);
    for listener in &status.listeners {
        let address = listener.bound.clone().unwrap_or_else(|| listener.bind.clone());
        let state = if listener.cause.is_none() { "listening" } else { "not bound" };
        table.row([listener.name.clone(), address, state.into()]);
        causes.extend(listener.cause.clone());
    }
    section(&mut lines, &table);

    let mut table = Table::new(&["PROVIDER", "PLUGIN", "STATE", "FAULTS"]);
    for provider in &status.providers {
        let state = &provider.state;
        table.row([
            provider.name.to_string(),
            state.plugin.clone().unwrap_or_else(|| "-".into()),
            if state.usable { "usable" } else { "not usable" }.into(),
            state.faults.to_string(),
        ]);
        let cause = state.cause.as_ref();
        causes.extend(cause.map(|cause| format!("provider {:?}: {cause}", provider.name)));
    }
    section(&mut lines, &table);

    let mut table =
        Table::new(&["WORKLOAD", "PROVIDER", "PHASE", "FOR", "VISITS", "WAITING", "SLEEPS IN"]);
    for workload in &status.workloads {
        table.row(row(workload));
        let failure = workload.failure.as_ref();
        causes.extend(
            failure.map(|failure| format!("workload {:?}: {}", workload.name, failure.message)),
        );
    }
    section(&mut lines, &table);

    if !causes.is_empty() {
        lines.push(String::new());
        lines.extend(causes.into_iter().map(|cause| format!("! {cause}")));
    }
    lines
}

fn section(lines: &mut Vec<String>, table: &Table) {
    let table = table.lines();
    if table.len() > 1 {
        lines.push(String::new());
        lines.extend(table);
    }
}

/// One workload's cells.
pub(crate) fn row(workload: &WorkloadStatus) -> [String; 7] {
    [
        workload.name.to_string(),
        workload.provider.to_string(),
        workload.phase.to_string(),
        seconds(workload.phase_seconds),
        workload.visits.to_string(),
        workload.waiting.to_string(),
        workload.sleeps_in_seconds.map_or_else(|| "-".into(), seconds),
    ]
}

#[cfg(test)]
mod tests {
    use drowse_admin::ProviderStatus;
    use drowse_core::{
        ErrorCode, Failure, Generation, Phase, ProviderName, ProviderState, WorkloadName,
    };

    use super::*;

    #[test]
    fn what_went_wrong_is_named_below_the_tables() {
        let provider = ProviderName::parse("docker").unwrap();
        let status = RouterStatus {
            version: "1.2.3".into(),
            pid: 7,
            uptime_seconds: 61.0,
            listeners: Vec::new(),
            providers: vec![ProviderStatus {
                name: provider.clone(),
                state: ProviderState {
                    plugin: Some("docker 0.1.0".into()),
                    origin: Some("bundled".into()),
                    usable: true,
                    cause: Some("start: used more than 64 MiB of memory".into()),
                    abilities: Vec::new(),
                    faults: 1,
                },
            }],
            workloads: vec![WorkloadStatus {
                name: WorkloadName::parse("blog").unwrap(),
                provider,
                target: "blog".into(),
                phase: Phase::Failed,
                generation: Generation(1),
                visits: 0,
                waiting: 2,
                phase_seconds: 3.0,
                sleeps_in_seconds: None,
                failure: Some(Failure::new(ErrorCode::Internal, "it broke")),
                observed: None,
            }],
        };
        let text = lines(&status).join("\n");
        assert!(text.starts_with("drowse 1.2.3, process 7, up 1m 1s"), "{text}");
        assert!(text.contains("blog      docker    failed  3s   0       2        -"), "{text}");
        assert!(text.contains("! provider \"docker\": start: used more than 64 MiB"), "{text}");
        assert!(text.contains("! workload \"blog\": it broke"), "{text}");
        assert!(!text.contains("LISTENER"), "{text}");
    }
}
