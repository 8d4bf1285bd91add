//! Pause and resume.

use drowse_core::{Ability, ErrorCode, Status};

use super::{Ground, Promise, is_down, is_up, life::same_life, promise, state};
use crate::report::{Outcome, ensure, refused, success};

pub(super) const PROMISES: &[Promise] = &[
    promise!("pause", "what runs is paused", pause),
    promise!("pause-again", "pausing what is paused is a success", pause_again),
    promise!("pause-stopped", "pausing what does not run is a conflict", pause_stopped),
    promise!("pause-unknown", "a target that does not exist is not paused", pause_unknown),
    promise!("resume", "what is paused is continued by `resume`", resume),
    promise!("resume-running", "resuming what runs is a success", resume_running),
    promise!("start-paused", "what is paused is continued by `start`", start_paused),
    promise!("stop-paused", "what is paused is stopped by `stop`", stop_paused),
];

async fn pause(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Pause)?;
    ground.running().await?;
    success("`pause` of what runs", ground.provider.pause(ground.target()).await)?;
    let seen = ground.until(|status| *status == Status::Paused).await;
    success("`status` after `pause`", seen)?;
    Ok(None)
}

async fn pause_again(ground: &Ground<'_>) -> Outcome {
    ground.paused().await?;
    let seen = success("`pause` of what is paused", ground.provider.pause(ground.target()).await)?;
    ensure(seen.status == Status::Paused, "status `paused`", || state(&seen)).map(|()| None)
}

async fn pause_stopped(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Pause)?;
    ground.at_rest().await?;
    let answer = ground.provider.pause(ground.target()).await;
    refused(answer, &[ErrorCode::Conflict], "`pause` of what does not run").map(|_| None)
}

async fn pause_unknown(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Pause)?;
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.pause(unknown)).await?;
    let codes = [ErrorCode::NotFound, ErrorCode::Conflict];
    refused(answer, &codes, "`pause` of a target that does not exist").map(|_| None)
}

async fn resume(ground: &Ground<'_>) -> Outcome {
    let paused = ground.paused().await?;
    let answer = ground.provider.resume(ground.target()).await;
    success("`resume` of what is paused", answer)?;
    let seen = ground.until(|status| *status == Status::Running).await;
    same_life(&paused, &success("`status` after `resume`", seen)?)?;
    Ok(None)
}

async fn resume_running(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Pause)?;
    ground.running().await?;
    let seen = success("`resume` of what runs", ground.provider.resume(ground.target()).await)?;
    ensure(is_up(&seen.status), "it runs", || state(&seen)).map(|()| None)
}

async fn start_paused(ground: &Ground<'_>) -> Outcome {
    let paused = ground.paused().await?;
    success("`start` of what is paused", ground.start().await)?;
    let seen = ground.until(|status| *status == Status::Running).await;
    same_life(&paused, &success("`status` after `start`", seen)?)?;
    Ok(None)
}

async fn stop_paused(ground: &Ground<'_>) -> Outcome {
    ground.paused().await?;
    success("`stop` of what is paused", ground.stop().await)?;
    success("`status` after `stop`", ground.until(is_down).await)?;
    Ok(None)
}
