//! Watching: changes and the delay until they are reported.

use drowse_core::{Ability, Observation, ProviderEvent, Status};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, timeout_at},
};

use super::{Fixture, LiveCheck, check, is_down, is_up, state};
use crate::report::{NotPassed, Outcome, success};

pub(super) const CHECKS: &[LiveCheck] = &[
    check!("watch", "`watch` emits `synced` when it sees every change", synced),
    check!("watch-start", "`watch` reports a start", start),
    check!("watch-stop", "`watch` reports a stop", stop),
    check!("watch-disturbed", "`watch` reports a change made outside the provider", disturbed),
];

/// Starts a watch and waits until it is synced.
async fn watched(fixture: &Fixture<'_>) -> Result<Receiver<ProviderEvent>, NotPassed> {
    let mut events = fixture.provider.watch();
    let deadline = Instant::now() + fixture.test_target.patience;
    loop {
        match timeout_at(deadline, events.recv()).await {
            Ok(Some(ProviderEvent::Synced)) => return Ok(events),
            Ok(Some(_)) => {}
            Ok(None) => return Err(NotPassed::failed("`synced`", "the end of the watch")),
            Err(_) => {
                let cause = fixture.provider.cause().map(|cause| format!(": {cause}"));
                let seconds = fixture.test_target.patience.as_secs_f64();
                let actual = format!("no event within {seconds} s{}", cause.unwrap_or_default());
                return Err(NotPassed::failed("`synced`", actual));
            }
        }
    }
}

/// As [`watched`], but a watch that does not begin skips the check.
async fn watching(fixture: &Fixture<'_>) -> Result<Receiver<ProviderEvent>, NotPassed> {
    match watched(fixture).await {
        Err(NotPassed::Failed { actual, .. }) => {
            Err(NotPassed::Skipped(format!("`watch` does not begin: {actual}")))
        }
        watched => watched,
    }
}

/// Waits until the target is reported as wanted; the note is the delay.
async fn reported(
    fixture: &Fixture<'_>,
    events: &mut Receiver<ProviderEvent>,
    expected: &str,
    wanted: impl Fn(&Status) -> bool,
    began: Instant,
) -> Outcome {
    let deadline = Instant::now() + fixture.test_target.patience;
    let mut last: Option<Observation> = None;
    loop {
        match timeout_at(deadline, events.recv()).await {
            Ok(Some(ProviderEvent::Changed(seen))) if seen.handle == fixture.target().handle => {
                if wanted(&seen.status) {
                    return Ok(Some(format!("{} ms after the call", began.elapsed().as_millis())));
                }
                last = Some(seen);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                let seconds = fixture.test_target.patience.as_secs_f64();
                let actual = match last {
                    Some(seen) => format!("{} and no other state within {seconds} s", state(&seen)),
                    None => format!("no report within {seconds} s"),
                };
                return Err(NotPassed::failed(expected, actual));
            }
        }
    }
}

async fn synced(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Watch)?;
    watched(fixture).await.map(|_| None)
}

async fn start(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Watch)?;
    fixture.running().await?;
    fixture.stopped().await?;
    let mut events = watching(fixture).await?;
    let began = Instant::now();
    success("`start`", fixture.start().await)?;
    reported(fixture, &mut events, "a report of `running` or `starting`", is_up, began).await
}

async fn stop(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Watch)?;
    fixture.running().await?;
    let mut events = watching(fixture).await?;
    let began = Instant::now();
    success("`stop`", fixture.stop().await)?;
    reported(fixture, &mut events, "a report of `stopped` or `failed`", is_down, began).await
}

async fn disturbed(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Watch)?;
    fixture.running().await?;
    let mut events = watching(fixture).await?;
    let began = Instant::now();
    match tokio::time::timeout(fixture.test_target.patience, fixture.host.disturb()).await {
        Ok(Some(Ok(()))) => {}
        Ok(Some(Err(why))) => {
            return Err(NotPassed::Skipped(format!("`disturb` in [test] failed: {why}")));
        }
        Err(_) => {
            return Err(NotPassed::Skipped("`disturb` in [test] did not end in time".to_owned()));
        }
        Ok(None) => {
            return Err(NotPassed::Skipped(
                "set `disturb` in [test] to a command that stops or kills the target without the \
                 provider"
                    .to_owned(),
            ));
        }
    }
    let changed = |status: &Status| *status != Status::Running;
    reported(fixture, &mut events, "a report of another status than `running`", changed, began)
        .await
}
