//! What is there.

use std::collections::BTreeSet;

use drowse_core::{Ability, Observation};
use tokio::time::Instant;

use super::{Ground, LAST_PAUSE, Promise, promise, state};
use crate::report::{End, Outcome, ensure, success};

/// The most observations that a page may have.
const PAGE: usize = 1_000;
/// More pages than any platform has.
const PAGES: usize = 1_000;

pub(super) const PROMISES: &[Promise] = &[
    promise!("list", "the target is among those that `list` tells, as it is", list),
    promise!("list-pages", "the pages of `list` end and repeat nothing", pages),
];

async fn list(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::List)?;
    let seen = ground.running().await?;
    let handle = &ground.target().handle;
    let began = Instant::now();
    loop {
        let all = all(ground).await?;
        let Some(listed) = all.iter().find(|listed| listed.handle == *handle) else {
            let came = format!("{} others and no {handle:?}", all.len());
            return Err(End::failed("the target in the list", came));
        };
        if listed.status == seen.status {
            return Ok(None);
        }
        // It may be some seconds old.
        if began.elapsed() + LAST_PAUSE > ground.trial.patience {
            return Err(End::failed(format!("listed as {}", state(&seen)), state(listed)));
        }
        tokio::time::sleep(LAST_PAUSE).await;
    }
}

async fn pages(ground: &Ground<'_>) -> Outcome {
    ground.needs(Ability::List)?;
    let all = all(ground).await?;
    let mut handles = BTreeSet::new();
    for listed in &all {
        ensure(handles.insert(&listed.handle), "each target once", || {
            format!("{:?} twice", listed.handle)
        })?;
    }
    Ok(Some(format!("{} targets", all.len())))
}

async fn all(ground: &Ground<'_>) -> Result<Vec<Observation>, End> {
    let mut all = Vec::new();
    let mut cursors = BTreeSet::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let page = ground.provider.list(cursor.as_deref()).await;
        let (page, next) = success("`list`", page)?;
        ensure(page.len() <= PAGE, format!("at most {PAGE} on a page"), || page.len().to_string())?;
        all.extend(page);
        let Some(next) = next else { return Ok(all) };
        ensure(cursors.insert(next.clone()), "a cursor that goes on", || {
            format!("{next:?} for the second time")
        })?;
        cursor = Some(next);
    }
    Err(End::failed("a last page", format!("more than {PAGES} pages")))
}
