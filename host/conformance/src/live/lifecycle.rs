//! Start, stop, kill and status.

use std::time::Duration;

use drowse_core::{Ability, ErrorCode, Failure, Observation, Status, StopOptions};

use super::{Fixture, LiveCheck, check, is_down, is_up, state};
use crate::report::{NotPassed, Outcome, ensure, refused, success};

pub(super) const CHECKS: &[LiveCheck] = &[
    check!(
        "unknown-status",
        "`status` of an unknown target is `missing`, not an error",
        unknown_status
    ),
    check!("unknown-start", "`start` of an unknown target is refused", unknown_start),
    check!(
        "unknown-stop",
        "`stop` of an unknown target succeeds or answers not_found",
        unknown_stop
    ),
    check!(
        "unknown-kill",
        "`kill` of an unknown target succeeds or answers not_found",
        unknown_kill
    ),
    check!("start", "`start` brings a stopped target to `running`", start),
    check!("start-addresses", "`start` returns the addresses of the new instance", start_addresses),
    check!("addresses", "a running target has an address, a stopped one has none", addresses),
    check!("start-again", "`start` of a running target succeeds and changes nothing", start_again),
    check!("stop", "the target is stopped when `stop` returns", stop),
    check!("stop-again", "`stop` of a stopped target succeeds", stop_again),
    check!("stop-now", "`stop` without grace time stops the target", stop_now),
    check!("stop-signal", "`stop` accepts a signal", stop_signal),
    check!("kill", "`kill` ends a running target", kill),
    check!("kill-again", "`kill` of a stopped target succeeds", kill_again),
];

async fn unknown_status(fixture: &Fixture<'_>) -> Outcome {
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.status(unknown)).await?;
    let seen = success("`status` of an unknown target", answer)?;
    ensure(seen.status == Status::Missing, "status `missing`", || state(&seen)).map(|()| None)
}

async fn unknown_start(fixture: &Fixture<'_>) -> Outcome {
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.start(unknown)).await?;
    let what = "`start` of an unknown target";
    refused(answer, &[ErrorCode::NotFound, ErrorCode::Denied], what).map(|_| None)
}

async fn unknown_stop(fixture: &Fixture<'_>) -> Outcome {
    let (unknown, options) = (fixture.unknown(), fixture.options());
    let answer = fixture.call_unknown(fixture.provider.stop(unknown, &options)).await?;
    expect_missing("`stop` of an unknown target", answer)
}

async fn unknown_kill(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Kill)?;
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.kill(unknown)).await?;
    expect_missing("`kill` of an unknown target", answer)
}

/// A failure `not_found` is accepted, too: it leaves nothing to do.
fn expect_missing(what: &str, answer: Result<Observation, Failure>) -> Outcome {
    match answer {
        Err(failure) if failure.code == ErrorCode::NotFound => Ok(None),
        answer => {
            let seen = success(what, answer)?;
            let missing = seen.status == Status::Missing;
            ensure(missing, "status `missing`", || state(&seen)).map(|()| None)
        }
    }
}

async fn start(fixture: &Fixture<'_>) -> Outcome {
    fixture.stopped().await?;
    let seen = success("`start` of a stopped target", fixture.start().await)?;
    ensure(is_up(&seen.status), "`start` returns `running` or `starting`", || state(&seen))?;
    success("`status` after `start`", fixture.wait_for(|status| *status == Status::Running).await)?;
    Ok(None)
}

async fn start_addresses(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_addresses()?;
    fixture.running().await?;
    fixture.stopped().await?;
    let seen = success("`start`", fixture.start().await)?;
    let reached = seen.status != Status::Running || !seen.addresses.is_empty();
    ensure(reached, "`running` with an address, or `starting`", || state(&seen))?;
    Ok(None)
}

async fn addresses(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_addresses()?;
    let seen = fixture.running().await?;
    ensure(!seen.addresses.is_empty(), "an address of the running target", || {
        "none; addresses that the provider's policy refuses do not count".to_owned()
    })?;
    let seen = fixture.stopped().await?;
    ensure(seen.addresses.is_empty(), "no address of the stopped target", || {
        format!("{:?}", seen.addresses)
    })?;
    Ok(None)
}

async fn start_again(fixture: &Fixture<'_>) -> Outcome {
    let before = fixture.running().await?;
    let seen = success("`start` of a running target", fixture.start().await)?;
    ensure(is_up(&seen.status), "`running` or `starting` after that", || state(&seen))?;
    let after = success("`status` after that", fixture.status().await)?;
    same_instance(&before, &after)?;
    Ok(None)
}

async fn stop(fixture: &Fixture<'_>) -> Outcome {
    fixture.running().await?;
    let seen = success("`stop` of a running target", fixture.stop().await)?;
    expect_stopped(&seen)?;
    let seen = success("`status` after `stop`", fixture.status().await)?;
    expect_stopped(&seen)?;
    Ok(None)
}

async fn stop_again(fixture: &Fixture<'_>) -> Outcome {
    fixture.stopped().await?;
    let seen = success("`stop` of a stopped target", fixture.stop().await)?;
    expect_stopped(&seen)?;
    Ok(None)
}

async fn stop_now(fixture: &Fixture<'_>) -> Outcome {
    fixture.running().await?;
    let options = StopOptions { grace: Duration::ZERO, ..fixture.options() };
    let answer = fixture.provider.stop(fixture.target(), &options).await;
    success("`stop` without grace time", answer)?;
    success("`status` after that", fixture.wait_for(is_down).await)?;
    Ok(None)
}

async fn stop_signal(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::StopSignal)?;
    fixture.running().await?;
    let options = StopOptions { signal: Some("SIGTERM".to_owned()), ..fixture.options() };
    let answer = fixture.provider.stop(fixture.target(), &options).await;
    success("`stop` with SIGTERM", answer)?;
    success("`status` after that", fixture.wait_for(is_down).await)?;
    Ok(None)
}

async fn kill(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Kill)?;
    fixture.running().await?;
    success("`kill` of a running target", fixture.provider.kill(fixture.target()).await)?;
    success("`status` after `kill`", fixture.wait_for(is_down).await)?;
    Ok(None)
}

async fn kill_again(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Kill)?;
    fixture.stopped().await?;
    expect_stopped(&success(
        "`kill` of a stopped target",
        fixture.provider.kill(fixture.target()).await,
    )?)?;
    Ok(None)
}

fn expect_stopped(seen: &Observation) -> Result<(), NotPassed> {
    ensure(is_down(&seen.status), "`stopped` or `failed`", || state(seen))
}

/// The target was not restarted in between, as far as the platform reports it.
pub(super) fn same_instance(before: &Observation, after: &Observation) -> Result<(), NotPassed> {
    let instance =
        |seen: &Observation| (seen.native_id.clone(), seen.attributes.get("started-at").cloned());
    ensure(instance(before) == instance(after), "the instance from before", || {
        format!("{:?} before, {:?} after", instance(before), instance(after))
    })
}
