//! For platforms that report nothing: look again and again, and emit what differs.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock,
    error::Result,
    events,
    words::{Observation, Page},
};

/// A whole [`watch`](crate::Provider::watch) made of looks: every `interval` it compares what
/// `look` returns with the look before and emits each target that came, changed or went.
///
/// Returns only with `look`'s error, as `watch` does; the host then begins anew.
pub fn watch(interval: Duration, mut look: impl FnMut() -> Result<Vec<Observation>>) -> Result<()> {
    let mut known = by_handle(look()?);
    // Only now: a change after the first look will be seen as a difference to it.
    events::synced();
    loop {
        clock::sleep(interval);
        let current = by_handle(look()?);
        for (handle, observation) in &current {
            if known.get(handle) != Some(observation) {
                events::emit(observation.clone());
            }
        }
        for handle in known.keys().filter(|handle| !current.contains_key(*handle)) {
            events::emit(Observation::missing(handle));
        }
        known = current;
    }
}

/// All pages of a list, one after the other: `all_pages(|cursor| self.list(cursor))`.
pub fn all_pages(mut list: impl FnMut(Option<&str>) -> Result<Page>) -> Result<Vec<Observation>> {
    let mut observations = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = list(cursor.as_deref())?;
        observations.extend(page.observations);
        match page.next {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(observations),
        }
    }
}

fn by_handle(observations: Vec<Observation>) -> BTreeMap<String, Observation> {
    observations.into_iter().map(|it| (it.handle.clone(), it)).collect()
}

#[cfg(test)]
mod tests;
