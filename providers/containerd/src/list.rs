//! Lists all containers of the namespace, in pages ordered by id.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Page, Result};

use crate::{daemon::Daemon, observe, proto::Container};

/// Maximum containers of a page.
const PAGE: usize = 1_000;

/// The page after this id.
pub(crate) fn page(daemon: &Daemon, after: Option<&str>) -> Result<Page> {
    let mut containers = daemon.containers()?;
    let tasks: BTreeMap<_, _> =
        daemon.tasks()?.into_iter().map(|task| (task.id.clone(), task)).collect();
    containers.sort_by(|one, other| one.id.cmp(&other.id));
    containers.retain(|container| after.is_none_or(|after| container.id.as_str() > after));
    let more = containers.len() > PAGE;
    containers.truncate(PAGE);
    let next = containers.last().filter(|_| more).map(|last| last.id.clone());
    let seen = |container: &Container| observe::seen(container, tasks.get(&container.id));
    Ok(Page { observations: containers.iter().map(seen).collect(), next })
}
