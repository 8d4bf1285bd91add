//! Listing of targets.

use std::collections::BTreeSet;

use drowse_core::{Ability, Observation};
use tokio::time::Instant;

use super::{Fixture, LAST_PAUSE, LiveCheck, check, state};
use crate::report::{NotPassed, Outcome, ensure, success};

/// Maximum observations on a page.
const PAGE: usize = 1_000;
/// Maximum pages; more than any platform has.
const PAGES: usize = 1_000;

pub(super) const CHECKS: &[LiveCheck] = &[
    check!("list", "`list` contains the target with its status", list),
    check!("list-pages", "the pages of `list` end and contain each target once", pages),
];

async fn list(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::List)?;
    let seen = fixture.running().await?;
    let handle = &fixture.target().handle;
    let began = Instant::now();
    loop {
        let all = all(fixture).await?;
        let Some(listed) = all.iter().find(|listed| listed.handle == *handle) else {
            let actual = format!("{} others and no {handle:?}", all.len());
            return Err(NotPassed::failed("the target in the list", actual));
        };
        if listed.status == seen.status {
            return Ok(None);
        }
        // A listed observation may be some seconds old.
        if began.elapsed() + LAST_PAUSE > fixture.test_target.patience {
            return Err(NotPassed::failed(format!("listed as {}", state(&seen)), state(listed)));
        }
        tokio::time::sleep(LAST_PAUSE).await;
    }
}

async fn pages(fixture: &Fixture<'_>) -> Outcome {
    fixture.require_ability(Ability::List)?;
    let all = all(fixture).await?;
    let mut handles = BTreeSet::new();
    for listed in &all {
        ensure(handles.insert(&listed.handle), "each target once", || {
            format!("{:?} twice", listed.handle)
        })?;
    }
    Ok(Some(format!("{} targets", all.len())))
}

async fn all(fixture: &Fixture<'_>) -> Result<Vec<Observation>, NotPassed> {
    let mut all = Vec::new();
    let mut cursors = BTreeSet::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let page = fixture.provider.list(cursor.as_deref()).await;
        let (page, next) = success("`list`", page)?;
        ensure(page.len() <= PAGE, format!("at most {PAGE} on a page"), || page.len().to_string())?;
        all.extend(page);
        let Some(next) = next else { return Ok(all) };
        ensure(cursors.insert(next.clone()), "a new cursor", || {
            format!("{next:?} for the second time")
        })?;
        cursor = Some(next);
    }
    Err(NotPassed::failed("a last page", format!("more than {PAGES} pages")))
}
