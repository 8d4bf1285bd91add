//! Start, stop, kill and status.

use std::time::Duration;

use drowse_core::{Ability, ErrorCode, Failure, Observation, Status, StopOptions};

use super::{Ground, Promise, is_down, is_up, promise, state};
use crate::report::{End, Outcome, ensure, refused, success};

pub(super) const PROMISES: &[Promise] = &[
    promise!("unknown-status", "a target that does not exist is missing, no error", unknown_status),
    promise!("unknown-start", "a target that does not exist is not started", unknown_start),
    promise!("unknown-stop", "a target that does not exist needs no stop", unknown_stop),
    promise!("unknown-kill", "a target that does not exist needs no kill", unknown_kill),
    promise!("start", "what rests is started and comes to run", start),
    promise!("start-addresses", "`start` tells the addresses of this life", start_addresses),
    promise!("addresses", "what runs can be connected to, what rests cannot", addresses),
    promise!("start-again", "starting what runs is a success and changes nothing", start_again),
    promise!("stop", "what runs is stopped when `stop` returns", stop),
    promise!("stop-again", "stopping what does not run is a success", stop_again),
    promise!("stop-now", "what has no grace time is stopped, too", stop_now),
    promise!("stop-signal", "`stop` honours a signal", stop_signal),
    promise!("kill", "what runs is ended by `kill`", kill),
    promise!("kill-again", "killing what does not run is a success", kill_again),
];

async fn unknown_status(ground: &Ground<'_>) -> Outcome {
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.status(unknown)).await?;
    let seen = success("`status` of a target that does not exist", answer)?;
    ensure(seen.status == Status::Missing, "status `missing`", || state(&seen)).map(|()| None)
}

async fn unknown_start(ground: &Ground<'_>) -> Outcome {
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.start(unknown)).await?;
    let what = "`start` of a target that does not exist";
    refused(answer, &[ErrorCode::NotFound, ErrorCode::Denied], what).map(|_| None)
}

async fn unknown_stop(ground: &Ground<'_>) -> Outcome {
    let (unknown, options) = (ground.unknown(), ground.options());
    let answer = ground.asked_of_unknown(ground.provider.stop(unknown, &options)).await?;
    gone("`stop` of a target that does not exist", answer)
}

async fn unknown_kill(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Kill)?;
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.kill(unknown)).await?;
    gone("`kill` of a target that does not exist", answer)
}

/// That it does not exist may be told as an error, too: nobody has to do anything then.
fn gone(what: &str, answer: Result<Observation, Failure>) -> Outcome {
    match answer {
        Err(failure) if failure.code == ErrorCode::NotFound => Ok(None),
        answer => {
            let seen = success(what, answer)?;
            let gone = seen.status == Status::Missing;
            ensure(gone, "status `missing`", || state(&seen)).map(|()| None)
        }
    }
}

async fn start(ground: &Ground<'_>) -> Outcome {
    ground.at_rest().await?;
    let seen = success("`start` of what rests", ground.start().await)?;
    ensure(is_up(&seen.status), "`start` returns `running` or `starting`", || state(&seen))?;
    success("`status` after `start`", ground.until(|status| *status == Status::Running).await)?;
    Ok(None)
}

async fn start_addresses(ground: &Ground<'_>) -> Outcome {
    ground.told_addresses()?;
    ground.running().await?;
    ground.at_rest().await?;
    let seen = success("`start`", ground.start().await)?;
    let told = seen.status != Status::Running || !seen.addresses.is_empty();
    ensure(told, "`running` with an address, or `starting`", || state(&seen))?;
    Ok(None)
}

async fn addresses(ground: &Ground<'_>) -> Outcome {
    ground.told_addresses()?;
    let seen = ground.running().await?;
    ensure(!seen.addresses.is_empty(), "an address of what runs", || {
        "none; one outside the provider's reach does not count".to_owned()
    })?;
    let seen = ground.at_rest().await?;
    ensure(seen.addresses.is_empty(), "no address of what rests", || {
        format!("{:?}", seen.addresses)
    })?;
    Ok(None)
}

async fn start_again(ground: &Ground<'_>) -> Outcome {
    let before = ground.running().await?;
    let seen = success("`start` of what runs", ground.start().await)?;
    ensure(is_up(&seen.status), "it runs after that", || state(&seen))?;
    let after = success("`status` after that", ground.status().await)?;
    same_life(&before, &after)?;
    Ok(None)
}

async fn stop(ground: &Ground<'_>) -> Outcome {
    ground.running().await?;
    let seen = success("`stop` of what runs", ground.stop().await)?;
    rests(&seen)?;
    let seen = success("`status` after `stop`", ground.status().await)?;
    rests(&seen)?;
    Ok(None)
}

async fn stop_again(ground: &Ground<'_>) -> Outcome {
    ground.at_rest().await?;
    let seen = success("`stop` of what rests", ground.stop().await)?;
    rests(&seen)?;
    Ok(None)
}

async fn stop_now(ground: &Ground<'_>) -> Outcome {
    ground.running().await?;
    let options = StopOptions { grace: Duration::ZERO, ..ground.options() };
    let answer = ground.provider.stop(ground.target(), &options).await;
    success("`stop` without grace time", answer)?;
    success("`status` after that", ground.until(is_down).await)?;
    Ok(None)
}

async fn stop_signal(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::StopSignal)?;
    ground.running().await?;
    let options = StopOptions { signal: Some("SIGTERM".to_owned()), ..ground.options() };
    let answer = ground.provider.stop(ground.target(), &options).await;
    success("`stop` with SIGTERM", answer)?;
    success("`status` after that", ground.until(is_down).await)?;
    Ok(None)
}

async fn kill(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Kill)?;
    ground.running().await?;
    success("`kill` of what runs", ground.provider.kill(ground.target()).await)?;
    success("`status` after `kill`", ground.until(is_down).await)?;
    Ok(None)
}

async fn kill_again(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Kill)?;
    ground.at_rest().await?;
    rests(&success("`kill` of what rests", ground.provider.kill(ground.target()).await)?)?;
    Ok(None)
}

fn rests(seen: &Observation) -> Result<(), End> {
    ensure(is_down(&seen.status), "`stopped` or `failed`", || state(seen))
}

/// The target was not started anew meanwhile, as far as the platform tells.
pub(super) fn same_life(before: &Observation, after: &Observation) -> Result<(), End> {
    let life =
        |seen: &Observation| (seen.native_id.clone(), seen.attributes.get("started-at").cloned());
    ensure(life(before) == life(after), "the same life as before", || {
        format!("{:?} before, {:?} after", life(before), life(after))
    })
}
