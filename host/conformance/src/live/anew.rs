//! Made anew, and taken away.

use drowse_core::{Ability, Observation, RecreateOptions, RemoveOptions, Status};

use super::{Ground, Promise, is_down, promise, state};
use crate::report::{End, Outcome, ensure, success};

pub(super) const PROMISES: &[Promise] = &[
    promise!("fetch", "fetching what is newer leaves what runs as it is", fetch),
    promise!("recreate", "what runs is made anew under its handle and runs", recreate),
    promise!("recreate-stopped", "what rests is made anew and rests", recreate_stopped),
    promise!("remove", "what is taken away is missing", remove),
    promise!("remove-again", "taking away what does not exist is a success", remove_again),
];

fn may(allowed: bool, key: &str) -> Result<(), End> {
    if allowed {
        return Ok(());
    }
    Err(End::Skipped(format!("`{key} = true` in [test] allows it, if nothing of value is lost")))
}

async fn made_anew(ground: &Ground<'_>, before: &Observation) -> Result<Observation, End> {
    let options = RecreateOptions { refresh: false, stop: ground.options() };
    let answer = ground.provider.recreate(ground.target(), &options).await;
    let seen = success("`recreate`", answer)?;
    let another = seen.native_id.is_none() || seen.native_id != before.native_id;
    ensure(another, "another identity than before", || format!("{:?} again", seen.native_id))?;
    Ok(seen)
}

async fn fetch(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Fetch)?;
    may(ground.trial.may_recreate, "may-recreate")?;
    let before = ground.running().await?;
    success("`fetch`", ground.provider.fetch(ground.target()).await)?;
    let seen = success("`status` after `fetch`", ground.status().await)?;
    let same = seen.status == Status::Running && seen.native_id == before.native_id;
    ensure(same, "it runs, with the identity that it had", || state(&seen)).map(|()| None)
}

async fn recreate(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Recreate)?;
    may(ground.trial.may_recreate, "may-recreate")?;
    let before = ground.running().await?;
    made_anew(ground, &before).await?;
    let seen = ground.until(|status| *status == Status::Running).await;
    success("`status` after `recreate` of what ran", seen)?;
    Ok(None)
}

async fn recreate_stopped(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Recreate)?;
    may(ground.trial.may_recreate, "may-recreate")?;
    let before = ground.at_rest().await?;
    made_anew(ground, &before).await?;
    let seen = success("`status` after `recreate` of what rested", ground.status().await)?;
    ensure(is_down(&seen.status), "it rests", || state(&seen)).map(|()| None)
}

async fn remove(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Remove)?;
    may(ground.trial.may_remove, "may-remove")?;
    ground.at_rest().await?;
    let options = RemoveOptions { preserve_data: ground.trial.keep_data };
    success("`remove`", ground.provider.remove(ground.target(), &options).await)?;
    let seen = success("`status` after `remove`", ground.status().await)?;
    ensure(seen.status == Status::Missing, "status `missing`", || state(&seen)).map(|()| None)
}

async fn remove_again(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::Remove)?;
    may(ground.trial.may_remove, "may-remove")?;
    let options = RemoveOptions { preserve_data: true };
    let answer = ground.provider.remove(ground.target(), &options).await;
    success("`remove` of what was taken away", answer)?;
    let unknown = ground.unknown();
    let answer = ground.asked_of_unknown(ground.provider.remove(unknown, &options)).await?;
    success("`remove` of a target that does not exist", answer)?;
    Ok(None)
}
