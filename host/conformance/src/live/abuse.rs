//! Calls that are dropped, made again, and made at the same time.

use std::time::Duration;

use drowse_core::{ErrorCode, Failure, Observation, Status};
use futures_util::future::{join, join_all};

use super::{Ground, Promise, is_down, is_up, promise, state};
use crate::report::{End, Outcome, ensure, success, told};

/// A call is dropped after so many milliseconds.
const CUTS: [u64; 3] = [0, 5, 50];

/// So many calls at once.
const CROWD: usize = 32;

pub(super) const PROMISES: &[Promise] = &[
    promise!("start-dropped", "a start that was dropped midway can be repeated", start_dropped),
    promise!("stop-dropped", "a stop that was dropped midway can be repeated", stop_dropped),
    promise!("crowd", "many calls at once are all answered", crowd),
    promise!("start-twice", "two starts at once make one life", start_twice),
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

/// What came of one of two calls at once: one of them may be told that the other is at it.
fn or_conflict(answer: Result<Observation, Failure>) -> Result<Option<Observation>, End> {
    match answer {
        Ok(seen) => Ok(Some(seen)),
        Err(failure) if failure.code == ErrorCode::Conflict => Ok(None),
        Err(failure) => Err(End::failed("success or conflict for each of them", told(&failure))),
    }
}

async fn start_twice(ground: &Ground<'_>) -> Outcome {
    ground.running().await?;
    ground.at_rest().await?;
    let (one, other) = join(ground.start(), ground.start()).await;
    let mut lives = Vec::new();
    for answer in [one, other] {
        lives.extend(or_conflict(answer)?.map(|seen| seen.native_id));
    }
    ensure(!lives.is_empty(), "success for one of them", || "conflict for both".to_owned())?;
    let now = ground.until(|status| *status == Status::Running).await;
    let now = success("`status` after that", now)?;
    let same = lives.iter().all(|life| *life == now.native_id);
    ensure(same, "the life that runs now from both", || {
        format!("{lives:?}, and now {:?}", now.native_id)
    })?;
    Ok(None)
}
