//! Changes, and how soon they are reported.

use drowse_core::{Ability, Observation, ProviderEvent, Status};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, timeout_at},
};

use super::{Ground, Promise, is_down, is_up, promise, state};
use crate::report::{End, Outcome, success};

pub(super) const PROMISES: &[Promise] = &[
    promise!("watch", "`watch` says when it sees every change", synced),
    promise!("watch-start", "a start is reported", start),
    promise!("watch-stop", "a stop is reported", stop),
    promise!("watch-disturbed", "what somebody else does to the target is reported", disturbed),
];

/// A watch that sees every change.
async fn watched(ground: &Ground<'_>) -> Result<Receiver<ProviderEvent>, End> {
    let mut events = ground.provider.watch();
    let deadline = Instant::now() + ground.trial.patience;
    loop {
        match timeout_at(deadline, events.recv()).await {
            Ok(Some(ProviderEvent::Synced)) => return Ok(events),
            Ok(Some(_)) => {}
            Ok(None) => return Err(End::failed("`synced`", "the end of the watch")),
            Err(_) => {
                let cause = ground.provider.cause().map(|cause| format!(": {cause}"));
                let seconds = ground.trial.patience.as_secs_f64();
                let came = format!("nothing within {seconds} s{}", cause.unwrap_or_default());
                return Err(End::failed("`synced`", came));
            }
        }
    }
}

/// The same, for a check that is about something else.
async fn watching(ground: &Ground<'_>) -> Result<Receiver<ProviderEvent>, End> {
    match watched(ground).await {
        Err(End::Failed { came, .. }) => {
            Err(End::Skipped(format!("`watch` does not begin: {came}")))
        }
        watched => watched,
    }
}

/// Waits until the target is reported as wanted, and tells how long that took.
async fn reported(
    ground: &Ground<'_>,
    events: &mut Receiver<ProviderEvent>,
    expected: &str,
    wanted: impl Fn(&Status) -> bool,
    began: Instant,
) -> Outcome {
    let deadline = Instant::now() + ground.trial.patience;
    let mut last: Option<Observation> = None;
    loop {
        match timeout_at(deadline, events.recv()).await {
            Ok(Some(ProviderEvent::Changed(seen))) if seen.handle == ground.target().handle => {
                if wanted(&seen.status) {
                    return Ok(Some(format!("{} ms after the call", began.elapsed().as_millis())));
                }
                last = Some(seen);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                let seconds = ground.trial.patience.as_secs_f64();
                let came = match last {
                    Some(seen) => format!("{} and nothing else within {seconds} s", state(&seen)),
                    None => format!("no word of it within {seconds} s"),
                };
                return Err(End::failed(expected, came));
            }
        }
    }
}

async fn synced(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Watch)?;
    watched(ground).await.map(|_| None)
}

async fn start(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Watch)?;
    ground.running().await?;
    ground.at_rest().await?;
    let mut events = watching(ground).await?;
    let began = Instant::now();
    success("`start`", ground.start().await)?;
    reported(ground, &mut events, "a report that it runs", is_up, began).await
}

async fn stop(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Watch)?;
    ground.running().await?;
    let mut events = watching(ground).await?;
    let began = Instant::now();
    success("`stop`", ground.stop().await)?;
    reported(ground, &mut events, "a report that it rests", is_down, began).await
}

async fn disturbed(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Watch)?;
    ground.running().await?;
    let mut events = watching(ground).await?;
    let began = Instant::now();
    match tokio::time::timeout(ground.trial.patience, ground.stand.disturb()).await {
        Ok(Some(Ok(()))) => {}
        Ok(Some(Err(why))) => {
            return Err(End::Skipped(format!("`disturb` of [test] did not succeed: {why}")));
        }
        Err(_) => return Err(End::Skipped("`disturb` of [test] does not end".to_owned())),
        Ok(None) => {
            return Err(End::Skipped(
                "say a command that stops or kills the target without the provider as `disturb` \
                 in [test]"
                    .to_owned(),
            ));
        }
    }
    let changed = |status: &Status| *status != Status::Running;
    reported(ground, &mut events, "a report that it does not run as before", changed, began).await
}
