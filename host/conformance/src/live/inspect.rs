//! Logs, commands and usage of a target.

use drowse_core::{Ability, ErrorCode, Usage};

use super::{Fixture, LiveCheck, check};
use crate::report::{NotPassed, Outcome, ensure, refused, success};

/// Maximum lines of a command's output.
const LINES: usize = 100;

/// Maximum length of an output line, in bytes.
const LINE: usize = 4 << 10;

pub(super) const CHECKS: &[LiveCheck] = &[
    check!("logs", "`logs` returns at most the requested lines", logs),
    check!("logs-unknown", "`logs` of an unknown target is refused", logs_unknown),
    check!("exec", "`exec` returns the command's exit status", exec),
    check!("exec-output", "`exec` returns the last 100 lines, each up to 4 KiB", output),
    check!("exec-empty", "`exec` of an empty command is an invalid_request", exec_empty),
    check!("exec-unknown", "`exec` in an unknown target is refused", exec_unknown),
    check!("exec-stopped", "`exec` in a stopped target is a conflict", exec_stopped),
    check!("exec-paused", "`exec` in a paused target is a conflict", exec_paused),
    check!("usage", "`usage` of a running target is plausible", usage),
    check!("usage-stopped", "`usage` of a stopped target is zero", usage_stopped),
    check!("usage-unknown", "`usage` of an unknown target is refused", usage_unknown),
];

async fn logs(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Logs)?;
    fixture.running().await?;
    for wanted in [0, 1, 5] {
        let lines = success("`logs`", fixture.provider.logs(fixture.target(), wanted).await)?;
        ensure(lines.len() as u64 <= u64::from(wanted), format!("at most {wanted} lines"), || {
            format!("{} lines", lines.len())
        })?;
    }
    fixture.stopped().await?;
    success("`logs` of a stopped target", fixture.provider.logs(fixture.target(), 5).await)?;
    Ok(None)
}

async fn logs_unknown(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Logs)?;
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.logs(unknown, 1)).await?;
    let codes = [ErrorCode::NotFound, ErrorCode::Denied];
    refused(answer, &codes, "`logs` of an unknown target").map(|_| None)
}

/// The command to run and its expected exit status.
fn command<'g>(fixture: &'g Fixture<'_>) -> Result<(&'g [String], i32), NotPassed> {
    fixture.require_ability(Ability::Exec)?;
    match &fixture.test_target.exec {
        Some((command, status)) => Ok((command, *status)),
        None => Err(NotPassed::Skipped(
            "set `exec` in [test] to a command that runs inside the target".to_owned(),
        )),
    }
}

async fn exec(fixture: &Fixture<'_>) -> Outcome {
    let (command, status) = command(fixture)?;
    fixture.running().await?;
    let answer = fixture.provider.exec(fixture.target(), command).await;
    let exit = success("`exec` in a running target", answer)?;
    ensure(exit.status == status, format!("exit status {status}"), || {
        format!("exit status {}: {}", exit.status, exit.output.join(" / "))
    })?;
    Ok(None)
}

async fn output(fixture: &Fixture<'_>) -> Outcome {
    let (command, _) = command(fixture)?;
    fixture.running().await?;
    let answer = fixture.provider.exec(fixture.target(), command).await;
    let lines = success("`exec` in a running target", answer)?.output;
    ensure(lines.len() <= LINES, format!("at most {LINES} lines"), || lines.len().to_string())?;
    let longest = lines.iter().map(String::len).max().unwrap_or_default();
    ensure(longest <= LINE, format!("lines of at most {LINE} bytes"), || longest.to_string())?;
    ensure(!lines.iter().any(|line| line.contains('\n')), "one line per entry", || {
        "an entry with a line break".to_owned()
    })?;
    Ok(Some(format!("{} lines", lines.len())))
}

async fn exec_empty(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Exec)?;
    fixture.running().await?;
    let answer = fixture.provider.exec(fixture.target(), &[]).await;
    refused(answer, &[ErrorCode::InvalidRequest], "an empty command").map(|_| None)
}

async fn exec_unknown(fixture: &Fixture<'_>) -> Outcome {
    let (command, _) = command(fixture)?;
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.exec(unknown, command)).await?;
    refused(answer, &[ErrorCode::NotFound], "`exec` in an unknown target").map(|_| None)
}

async fn exec_stopped(fixture: &Fixture<'_>) -> Outcome {
    let (command, _) = command(fixture)?;
    fixture.stopped().await?;
    let answer = fixture.provider.exec(fixture.target(), command).await;
    refused(answer, &[ErrorCode::Conflict], "`exec` in a stopped target").map(|_| None)
}

async fn exec_paused(fixture: &Fixture<'_>) -> Outcome {
    let (command, _) = command(fixture)?;
    fixture.paused().await?;
    let answer = fixture.provider.exec(fixture.target(), command).await;
    refused(answer, &[ErrorCode::Conflict], "`exec` in a paused target").map(|_| None)
}

async fn usage(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Usage)?;
    fixture.running().await?;
    let Usage { cpu_percent, memory } =
        success("`usage` of a running target", fixture.provider.usage(fixture.target()).await)?;
    let measured = cpu_percent.is_some() || memory.is_some();
    ensure(measured, "CPU time or memory", || "neither".to_owned())?;
    let possible = cpu_percent.is_none_or(|percent| percent.is_finite() && percent >= 0.0);
    ensure(possible, "percent of a core", || format!("{cpu_percent:?}"))?;
    ensure(memory != Some(0), "memory above 0", || "0 bytes".to_owned())?;
    Ok(Some(format!(
        "{} of a core, {} of memory",
        cpu_percent.map_or("unknown".to_owned(), |percent| format!("{percent:.1} %")),
        memory.map_or("unknown".to_owned(), |bytes| format!("{} KiB", bytes / 1024)),
    )))
}

async fn usage_stopped(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Usage)?;
    fixture.stopped().await?;
    let answer = fixture.provider.usage(fixture.target()).await;
    let used = success("`usage` of a stopped target", answer)?;
    let nothing = Usage { cpu_percent: Some(0.0), memory: Some(0) };
    ensure(used == nothing, "0 and 0", || format!("{used:?}")).map(|()| None)
}

async fn usage_unknown(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Usage)?;
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.usage(unknown)).await?;
    refused(answer, &[ErrorCode::NotFound], "`usage` of an unknown target").map(|_| None)
}
