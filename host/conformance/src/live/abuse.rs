//! Calls that are dropped, made again, and made at the same time.

use std::{future::Future, time::Duration};

use drowse_core::{ErrorCode, Failure, Observation, Status};
use futures_util::future::{join, join_all};
use tokio::time::sleep;

use super::{Ground, Promise, is_down, is_up, promise, state};
use crate::report::{End, Outcome, ensure, success, told};

/// A call is dropped after so many milliseconds, or another one begins.
const CUTS: [u64; 3] = [0, 5, 50];

/// So many calls at once.
const CROWD: usize = 32;

pub(super) const PROMISES: &[Promise] = &[
    promise!("start-dropped", "a start that was dropped midway can be repeated", start_dropped),
    promise!("stop-dropped", "a stop that was dropped midway can be repeated", stop_dropped),
    promise!("crowd", "many calls at once are all answered", crowd),
    promise!("start-twice", "two starts at once make one life", start_twice),
    promise!("stop-twice", "two stops at once stop it", stop_twice),
    promise!(
        "start-and-stop",
        "of a start and a stop at once each succeeds or meets a conflict",
        start_and_stop
    ),
];

async fn start_dropped(ground: &Ground<'_>) -> Outcome {
    ground.running().await?;
    for cut in CUTS.map(Duration::from_millis) {
        ground.at_rest().await?;
        // Where it was cut is what differs; how it would have ended is not asked.
        let _ = tokio::time::timeout(cut, ground.start()).await;
        let what = format!("`start` after one that was dropped after {} ms", cut.as_millis());
        success(&what, ground.repeated(|| ground.start()).await)?;
        let seen = ground.until(|status| *status == Status::Running).await;
        success("`status` after that", seen)?;
    }
    Ok(None)
}

async fn stop_dropped(ground: &Ground<'_>) -> Outcome {
    for cut in CUTS.map(Duration::from_millis) {
        ground.running().await?;
        let _ = tokio::time::timeout(cut, ground.stop()).await;
        let what = format!("`stop` after one that was dropped after {} ms", cut.as_millis());
        success(&what, ground.repeated(|| ground.stop()).await)?;
        success("`status` after that", ground.until(is_down).await)?;
    }
    Ok(None)
}

async fn crowd(ground: &Ground<'_>) -> Outcome {
    ground.running().await?;
    let answers = join_all((0..CROWD).map(|_| ground.status())).await;
    for answer in answers {
        let seen = success(&format!("each of {CROWD} `status` calls at once"), answer)?;
        ensure(is_up(&seen.status), "it runs", || state(&seen))?;
    }
    Ok(None)
}

/// The answers of those of two calls at once that succeeded: at least one does, and one of them may be
/// told that the other is at it.
fn succeeded(answers: [Result<Observation, Failure>; 2]) -> Result<Vec<Observation>, End> {
    let mut told = Vec::new();
    for answer in answers {
        match answer {
            Ok(seen) => told.push(seen),
            Err(failure) if failure.code == ErrorCode::Conflict => {}
            Err(failure) => {
                let expected = "success or conflict for each of them";
                return Err(End::failed(expected, self::told(&failure)));
            }
        }
    }
    ensure(!told.is_empty(), "success for one of them", || "conflict for both".to_owned())?;
    Ok(told)
}

/// A call that begins later.
async fn later<R>(cut: Duration, call: impl Future<Output = R>) -> R {
    sleep(cut).await;
    call.await
}

async fn start_twice(ground: &Ground<'_>) -> Outcome {
    ground.running().await?;
    for cut in CUTS.map(Duration::from_millis) {
        ground.at_rest().await?;
        let (one, other) = join(ground.start(), later(cut, ground.start())).await;
        let lives = succeeded([one, other])?.into_iter().map(|seen| seen.native_id);
        let lives: Vec<_> = lives.collect();
        let now = ground.until(|status| *status == Status::Running).await;
        let now = success("`status` after that", now)?;
        ensure(lives.iter().all(|life| *life == now.native_id), "one life from both", || {
            format!("{lives:?}, and now {:?}", now.native_id)
        })?;
    }
    Ok(None)
}

async fn stop_twice(ground: &Ground<'_>) -> Outcome {
    for cut in CUTS.map(Duration::from_millis) {
        ground.running().await?;
        let (one, other) = join(ground.stop(), later(cut, ground.stop())).await;
        succeeded([one, other])?;
        success("`status` after that", ground.until(is_down).await)?;
        success("`start` after that", ground.repeated(|| ground.start()).await)?;
    }
    Ok(None)
}

async fn start_and_stop(ground: &Ground<'_>) -> Outcome {
    ground.running().await?;
    for cut in CUTS.map(Duration::from_millis) {
        ground.at_rest().await?;
        let (start, stop) = join(ground.start(), later(cut, ground.stop())).await;
        agreed(ground, succeeded([start, stop])?).await?;
        ground.running().await?;
        let (stop, start) = join(ground.stop(), later(cut, ground.start())).await;
        agreed(ground, succeeded([stop, start])?).await?;
    }
    Ok(None)
}

/// What the target is agrees with one of the answers, and nothing is in the way of the next calls.
async fn agreed(ground: &Ground<'_>, told: Vec<Observation>) -> Result<(), End> {
    let settled = |status: &Status| *status == Status::Running || is_down(status);
    let now = success("`status` after that", ground.until(settled).await)?;
    let agrees = told.iter().any(|seen| is_up(&seen.status) == is_up(&now.status));
    ensure(agrees, "what one of them has answered", || {
        let told: Vec<_> = told.iter().map(state).collect();
        format!("{}, and now {}", told.join(" and "), state(&now))
    })?;
    let reached = !is_up(&now.status) || !ground.trial.addresses || !now.addresses.is_empty();
    ensure(reached, "what runs after that can be connected to", || state(&now))?;
    success("`start` after that", ground.repeated(|| ground.start()).await)?;
    let runs = ground.until(|status| *status == Status::Running).await;
    success("`status` after that `start`", runs)?;
    success("`stop` after that", ground.repeated(|| ground.stop()).await)?;
    success("`status` after that `stop`", ground.until(is_down).await)?;
    Ok(())
}
