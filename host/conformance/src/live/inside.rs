//! What a provider tells and does inside a target: logs, commands, usage.

use drowse_core::{Ability, ErrorCode, Usage};

use super::{Ground, Promise, promise};
use crate::report::{End, Outcome, ensure, refused, success};

/// The most lines of a command's output.
const LINES: usize = 100;

/// The longest of them, in bytes.
const LINE: usize = 4 << 10;

pub(super) const PROMISES: &[Promise] = &[
    promise!("logs", "no more lines than were asked for", logs),
    promise!("logs-unknown", "a target that does not exist has written nothing", logs_unknown),
    promise!("exec", "a command's exit status is passed on, whatever it is", exec),
    promise!("exec-output", "a command's last 100 lines are told, none longer than 4 KiB", output),
    promise!("exec-empty", "an empty command is an invalid_request", exec_empty),
    promise!("exec-unknown", "no command runs in a target that does not exist", exec_unknown),
    promise!("exec-stopped", "a command in what does not run is a conflict", exec_stopped),
    promise!("exec-paused", "a command in what is paused is a conflict", exec_paused),
    promise!("usage", "what runs uses what is possible", usage),
    promise!("usage-stopped", "what does not run uses nothing", usage_stopped),
    promise!("usage-unknown", "a target that does not exist uses nothing to tell", usage_unknown),
];

async fn logs(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Logs)?;
    ground.running().await?;
    for wanted in [0, 1, 5] {
        let lines = success("`logs`", ground.provider.logs(ground.target(), wanted).await)?;
        ensure(lines.len() as u64 <= u64::from(wanted), format!("at most {wanted} lines"), || {
            format!("{} lines", lines.len())
        })?;
    }
    ground.at_rest().await?;
    success("`logs` of what rests", ground.provider.logs(ground.target(), 5).await)?;
    Ok(None)
}

async fn logs_unknown(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Logs)?;
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.logs(unknown, 1)).await?;
    let codes = [ErrorCode::NotFound, ErrorCode::Denied];
    refused(answer, &codes, "`logs` of a target that does not exist").map(|_| None)
}

/// The command of the trial and the status that it ends with.
fn command<'g>(ground: &'g Ground<'_>) -> Result<(&'g [String], i32), End> {
    ground.needs(Ability::Exec)?;
    match &ground.trial.exec {
        Some((command, status)) => Ok((command, *status)),
        None => Err(End::Skipped(
            "say a command that can run inside the target as `exec` in [test]".to_owned(),
        )),
    }
}

async fn exec(ground: &Ground<'_>) -> Outcome {
    let (command, status) = command(ground)?;
    ground.running().await?;
    let answer = ground.provider.exec(ground.target(), command).await;
    let exit = success("`exec` of what runs", answer)?;
    ensure(exit.status == status, format!("exit status {status}"), || {
        format!("exit status {}: {}", exit.status, exit.output.join(" / "))
    })?;
    Ok(None)
}

async fn output(ground: &Ground<'_>) -> Outcome {
    let (command, _) = command(ground)?;
    ground.running().await?;
    let answer = ground.provider.exec(ground.target(), command).await;
    let lines = success("`exec` of what runs", answer)?.output;
    ensure(lines.len() <= LINES, format!("at most {LINES} lines"), || lines.len().to_string())?;
    let longest = lines.iter().map(String::len).max().unwrap_or_default();
    ensure(longest <= LINE, format!("lines of at most {LINE} bytes"), || longest.to_string())?;
    ensure(!lines.iter().any(|line| line.contains('\n')), "each line by itself", || {
        "several in one".to_owned()
    })?;
    Ok(Some(format!("{} lines", lines.len())))
}

async fn exec_empty(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Exec)?;
    ground.running().await?;
    let answer = ground.provider.exec(ground.target(), &[]).await;
    refused(answer, &[ErrorCode::InvalidRequest], "an empty command").map(|_| None)
}

async fn exec_unknown(ground: &Ground<'_>) -> Outcome {
    let (command, _) = command(ground)?;
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.exec(unknown, command)).await?;
    refused(answer, &[ErrorCode::NotFound], "a command in a target that does not exist")
        .map(|_| None)
}

async fn exec_stopped(ground: &Ground<'_>) -> Outcome {
    let (command, _) = command(ground)?;
    ground.at_rest().await?;
    let answer = ground.provider.exec(ground.target(), command).await;
    refused(answer, &[ErrorCode::Conflict], "a command in what does not run").map(|_| None)
}

async fn exec_paused(ground: &Ground<'_>) -> Outcome {
    let (command, _) = command(ground)?;
    ground.paused().await?;
    let answer = ground.provider.exec(ground.target(), command).await;
    refused(answer, &[ErrorCode::Conflict], "a command in what is paused").map(|_| None)
}

async fn usage(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Usage)?;
    ground.running().await?;
    let Usage { cpu_percent, memory } =
        success("`usage` of what runs", ground.provider.usage(ground.target()).await)?;
    let told = cpu_percent.is_some() || memory.is_some();
    ensure(told, "CPU time or memory", || "neither".to_owned())?;
    let possible = cpu_percent.is_none_or(|percent| percent.is_finite() && percent >= 0.0);
    ensure(possible, "percent of a core", || format!("{cpu_percent:?}"))?;
    ensure(memory != Some(0), "memory of what runs", || "0 bytes".to_owned())?;
    Ok(Some(format!(
        "{} of a core, {} of memory",
        cpu_percent.map_or("unknown".to_owned(), |percent| format!("{percent:.1} %")),
        memory.map_or("unknown".to_owned(), |bytes| format!("{} KiB", bytes / 1024)),
    )))
}

async fn usage_stopped(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Usage)?;
    ground.at_rest().await?;
    let answer = ground.provider.usage(ground.target()).await;
    let used = success("`usage` of what does not run", answer)?;
    let nothing = Usage { cpu_percent: Some(0.0), memory: Some(0) };
    ensure(used == nothing, "0 and 0", || format!("{used:?}")).map(|()| None)
}

async fn usage_unknown(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Usage)?;
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.usage(unknown)).await?;
    refused(answer, &[ErrorCode::NotFound], "the usage of a target that does not exist")
        .map(|_| None)
}
