//! Pause and resume.

use drowse_core::{Ability, ErrorCode, Status};

use super::{Fixture, LiveCheck, check, is_down, is_up, lifecycle::same_instance, state};
use crate::report::{Outcome, ensure, refused, success};

pub(super) const CHECKS: &[LiveCheck] = &[
    check!("pause", "`pause` pauses a running target", pause),
    check!("pause-again", "`pause` of a paused target succeeds", pause_again),
    check!("pause-stopped", "`pause` of a stopped target is a conflict", pause_stopped),
    check!("pause-unknown", "`pause` of an unknown target is refused", pause_unknown),
    check!("resume", "`resume` continues a paused target", resume),
    check!("resume-running", "`resume` of a running target succeeds", resume_running),
    check!("start-paused", "`start` continues a paused target", start_paused),
    check!("stop-paused", "`stop` stops a paused target", stop_paused),
];

async fn pause(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Pause)?;
    fixture.running().await?;
    success("`pause` of a running target", fixture.provider.pause(fixture.target()).await)?;
    let seen = fixture.wait_for(|status| *status == Status::Paused).await;
    success("`status` after `pause`", seen)?;
    Ok(None)
}

async fn pause_again(fixture: &Fixture<'_>) -> Outcome {
    fixture.paused().await?;
    let seen =
        success("`pause` of a paused target", fixture.provider.pause(fixture.target()).await)?;
    ensure(seen.status == Status::Paused, "status `paused`", || state(&seen)).map(|()| None)
}

async fn pause_stopped(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Pause)?;
    fixture.stopped().await?;
    let answer = fixture.provider.pause(fixture.target()).await;
    refused(answer, &[ErrorCode::Conflict], "`pause` of a stopped target").map(|_| None)
}

async fn pause_unknown(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Pause)?;
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.pause(unknown)).await?;
    let codes = [ErrorCode::NotFound, ErrorCode::Conflict];
    refused(answer, &codes, "`pause` of an unknown target").map(|_| None)
}

async fn resume(fixture: &Fixture<'_>) -> Outcome {
    let paused = fixture.paused().await?;
    let answer = fixture.provider.resume(fixture.target()).await;
    success("`resume` of a paused target", answer)?;
    let seen = fixture.wait_for(|status| *status == Status::Running).await;
    same_instance(&paused, &success("`status` after `resume`", seen)?)?;
    Ok(None)
}

async fn resume_running(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Pause)?;
    fixture.running().await?;
    let seen =
        success("`resume` of a running target", fixture.provider.resume(fixture.target()).await)?;
    ensure(is_up(&seen.status), "`running` or `starting`", || state(&seen)).map(|()| None)
}

async fn start_paused(fixture: &Fixture<'_>) -> Outcome {
    let paused = fixture.paused().await?;
    success("`start` of a paused target", fixture.start().await)?;
    let seen = fixture.wait_for(|status| *status == Status::Running).await;
    same_instance(&paused, &success("`status` after `start`", seen)?)?;
    Ok(None)
}

async fn stop_paused(fixture: &Fixture<'_>) -> Outcome {
    fixture.paused().await?;
    success("`stop` of a paused target", fixture.stop().await)?;
    success("`status` after `stop`", fixture.wait_for(is_down).await)?;
    Ok(None)
}
