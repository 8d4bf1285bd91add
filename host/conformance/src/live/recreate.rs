//! Recreate, fetch and remove.

use drowse_core::{Ability, Observation, RecreateOptions, RemoveOptions, Status};

use super::{Fixture, LiveCheck, check, is_down, state};
use crate::report::{NotPassed, Outcome, ensure, success};

pub(super) const CHECKS: &[LiveCheck] = &[
    check!("fetch", "`fetch` does not change the running target", fetch),
    check!(
        "recreate",
        "`recreate` of a running target leaves a running one under its handle",
        recreate
    ),
    check!(
        "recreate-stopped",
        "`recreate` of a stopped target leaves a stopped one",
        recreate_stopped
    ),
    check!("remove", "a removed target has status `missing`", remove),
    check!("remove-again", "`remove` of a missing target succeeds", remove_again),
];

fn may(allowed: bool, key: &str) -> Result<(), NotPassed> {
    if allowed {
        return Ok(());
    }
    Err(NotPassed::Skipped(format!("set `{key} = true` in [test] if the target may be lost")))
}

async fn recreate_target(
    fixture: &Fixture<'_>,
    before: &Observation,
) -> Result<Observation, NotPassed> {
    let options = RecreateOptions { refresh: false, stop: fixture.options() };
    let answer = fixture.provider.recreate(fixture.target(), &options).await;
    let seen = success("`recreate`", answer)?;
    let another = seen.native_id.is_none() || seen.native_id != before.native_id;
    ensure(another, "a new native id", || format!("{:?} again", seen.native_id))?;
    Ok(seen)
}

async fn fetch(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Fetch)?;
    may(fixture.test_target.may_recreate, "may-recreate")?;
    let before = fixture.running().await?;
    success("`fetch`", fixture.provider.fetch(fixture.target()).await)?;
    let seen = success("`status` after `fetch`", fixture.status().await)?;
    let same = seen.status == Status::Running && seen.native_id == before.native_id;
    ensure(same, "`running` with the native id it had", || state(&seen)).map(|()| None)
}

async fn recreate(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Recreate)?;
    may(fixture.test_target.may_recreate, "may-recreate")?;
    let before = fixture.running().await?;
    recreate_target(fixture, &before).await?;
    let seen = fixture.wait_for(|status| *status == Status::Running).await;
    success("`status` after `recreate` of a running target", seen)?;
    Ok(None)
}

async fn recreate_stopped(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Recreate)?;
    may(fixture.test_target.may_recreate, "may-recreate")?;
    let before = fixture.stopped().await?;
    recreate_target(fixture, &before).await?;
    let seen = success("`status` after `recreate` of a stopped target", fixture.status().await)?;
    ensure(is_down(&seen.status), "`stopped` or `failed`", || state(&seen)).map(|()| None)
}

async fn remove(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Remove)?;
    may(fixture.test_target.may_remove, "may-remove")?;
    fixture.stopped().await?;
    let options = RemoveOptions { preserve_data: fixture.test_target.keep_data };
    success("`remove`", fixture.provider.remove(fixture.target(), &options).await)?;
    let seen = success("`status` after `remove`", fixture.status().await)?;
    ensure(seen.status == Status::Missing, "status `missing`", || state(&seen)).map(|()| None)
}

async fn remove_again(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::Remove)?;
    may(fixture.test_target.may_remove, "may-remove")?;
    let options = RemoveOptions { preserve_data: true };
    let answer = fixture.provider.remove(fixture.target(), &options).await;
    success("`remove` of a removed target", answer)?;
    let unknown = fixture.unknown();
    let answer = fixture.call_unknown(fixture.provider.remove(unknown, &options)).await?;
    success("`remove` of a target that does not exist", answer)?;
    Ok(None)
}
