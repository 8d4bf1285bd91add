//! Dropped, retry_on_conflict and concurrent calls.

use std::{future::Future, time::Duration};

use drowse_core::{ErrorCode, Failure, Observation, Status};
use futures_util::future::{join, join_all};
use tokio::time::sleep;

use super::{Fixture, LiveCheck, check, is_down, is_up, state};
use crate::report::{NotPassed, Outcome, ensure, failure_text, success};

/// Delays in milliseconds after which a call is dropped or a second one begins.
const DELAYS_MS: [u64; 3] = [0, 5, 50];

/// Number of concurrent calls.
const CONCURRENT_CALLS: usize = 32;

pub(super) const CHECKS: &[LiveCheck] = &[
    check!("start-dropped", "`start` succeeds after a dropped `start`", start_dropped),
    check!("stop-dropped", "`stop` succeeds after a dropped `stop`", stop_dropped),
    check!("concurrent-status", "concurrent calls are all answered", concurrent_status),
    check!("start-twice", "two concurrent starts create one instance", start_twice),
    check!("stop-twice", "two concurrent stops stop the target", stop_twice),
    check!(
        "start-and-stop",
        "concurrent `start` and `stop` each succeed or answer conflict",
        start_and_stop
    ),
];

async fn start_dropped(fixture: &Fixture<'_>) -> Outcome {
    fixture.running().await?;
    for delay in DELAYS_MS.map(Duration::from_millis) {
        fixture.stopped().await?;
        // Only the time of the drop matters; the result is ignored.
        let _ = tokio::time::timeout(delay, fixture.start()).await;
        let what = format!("`start` after one that was dropped after {} ms", delay.as_millis());
        success(&what, fixture.retry_on_conflict(|| fixture.start()).await)?;
        let seen = fixture.wait_for(|status| *status == Status::Running).await;
        success("`status` after that", seen)?;
    }
    Ok(None)
}

async fn stop_dropped(fixture: &Fixture<'_>) -> Outcome {
    for delay in DELAYS_MS.map(Duration::from_millis) {
        fixture.running().await?;
        let _ = tokio::time::timeout(delay, fixture.stop()).await;
        let what = format!("`stop` after one that was dropped after {} ms", delay.as_millis());
        success(&what, fixture.retry_on_conflict(|| fixture.stop()).await)?;
        success("`status` after that", fixture.wait_for(is_down).await)?;
    }
    Ok(None)
}

async fn concurrent_status(fixture: &Fixture<'_>) -> Outcome {
    fixture.running().await?;
    let answers = join_all((0..CONCURRENT_CALLS).map(|_| fixture.status())).await;
    for answer in answers {
        let seen =
            success(&format!("each of {CONCURRENT_CALLS} concurrent `status` calls"), answer)?;
        ensure(is_up(&seen.status), "`running` or `starting`", || state(&seen))?;
    }
    Ok(None)
}

/// Returns the observations of the calls that successes. At least one of two concurrent calls
/// succeeds; the other may answer conflict.
fn successes(answers: [Result<Observation, Failure>; 2]) -> Result<Vec<Observation>, NotPassed> {
    let mut observations = Vec::new();
    for answer in answers {
        match answer {
            Ok(seen) => observations.push(seen),
            Err(failure) if failure.code == ErrorCode::Conflict => {}
            Err(failure) => {
                let expected = "success or conflict for each of them";
                return Err(NotPassed::failed(expected, failure_text(&failure)));
            }
        }
    }
    ensure(!observations.is_empty(), "success for one of them", || "conflict for both".to_owned())?;
    Ok(observations)
}

/// Runs a call after a delay.
async fn delayed<R>(delay: Duration, call: impl Future<Output = R>) -> R {
    sleep(delay).await;
    call.await
}

async fn start_twice(fixture: &Fixture<'_>) -> Outcome {
    fixture.running().await?;
    for delay in DELAYS_MS.map(Duration::from_millis) {
        fixture.stopped().await?;
        let (one, other) = join(fixture.start(), delayed(delay, fixture.start())).await;
        let instances = successes([one, other])?.into_iter().map(|seen| seen.native_id);
        let instances: Vec<_> = instances.collect();
        let now = fixture.wait_for(|status| *status == Status::Running).await;
        let now = success("`status` after that", now)?;
        ensure(instances.iter().all(|id| *id == now.native_id), "one instance for both", || {
            format!("{instances:?}, and now {:?}", now.native_id)
        })?;
    }
    Ok(None)
}

async fn stop_twice(fixture: &Fixture<'_>) -> Outcome {
    for delay in DELAYS_MS.map(Duration::from_millis) {
        fixture.running().await?;
        let (one, other) = join(fixture.stop(), delayed(delay, fixture.stop())).await;
        successes([one, other])?;
        success("`status` after that", fixture.wait_for(is_down).await)?;
        success("`start` after that", fixture.retry_on_conflict(|| fixture.start()).await)?;
    }
    Ok(None)
}

async fn start_and_stop(fixture: &Fixture<'_>) -> Outcome {
    fixture.running().await?;
    for delay in DELAYS_MS.map(Duration::from_millis) {
        fixture.stopped().await?;
        let (start, stop) = join(fixture.start(), delayed(delay, fixture.stop())).await;
        check_consistent(fixture, successes([start, stop])?).await?;
        fixture.running().await?;
        let (stop, start) = join(fixture.stop(), delayed(delay, fixture.start())).await;
        check_consistent(fixture, successes([stop, start])?).await?;
    }
    Ok(None)
}

/// The target's state agrees with one of the answers, and later calls succeed.
async fn check_consistent(
    fixture: &Fixture<'_>,
    answers: Vec<Observation>,
) -> Result<(), NotPassed> {
    let settled = |status: &Status| *status == Status::Running || is_down(status);
    let now = success("`status` after that", fixture.wait_for(settled).await)?;
    let agrees = answers.iter().any(|seen| is_up(&seen.status) == is_up(&now.status));
    ensure(agrees, "the state in one of the answers", || {
        let answers: Vec<_> = answers.iter().map(state).collect();
        format!("{}, and now {}", answers.join(" and "), state(&now))
    })?;
    let reached =
        !is_up(&now.status) || !fixture.test_target.addresses || !now.addresses.is_empty();
    ensure(reached, "an address while the target runs", || state(&now))?;
    success("`start` after that", fixture.retry_on_conflict(|| fixture.start()).await)?;
    let runs = fixture.wait_for(|status| *status == Status::Running).await;
    success("`status` after that `start`", runs)?;
    success("`stop` after that", fixture.retry_on_conflict(|| fixture.stop()).await)?;
    success("`status` after that `stop`", fixture.wait_for(is_down).await)?;
    Ok(())
}
