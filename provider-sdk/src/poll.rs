//! Polling for platforms without events.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock,
    error::Result,
    events,
    words::{Observation, Page},
};

/// Implements [`watch`](crate::Provider::watch) by polling: every `interval` it compares the result
/// of `look` with the previous one and emits each target that appeared, changed or disappeared.
///
/// Returns only with an error of `look`; the host then restarts the watch.
pub fn watch(interval: Duration, mut look: impl FnMut() -> Result<Vec<Observation>>) -> Result<()> {
    let mut previous = by_handle(look()?);
    // Only now: any change after the first poll will be seen as a difference.
    events::synced();
    loop {
        clock::sleep(interval);
        let current = by_handle(look()?);
        for (handle, observation) in &current {
            if previous.get(handle) != Some(observation) {
                events::emit(observation.clone());
            }
        }
        for handle in previous.keys().filter(|handle| !current.contains_key(*handle)) {
            events::emit(Observation::missing(handle));
        }
        previous = current;
    }
}

/// Joins all pages of a list: `all_pages(|cursor| self.list(cursor))`.
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
