//! Making a container that does not exist, out of what the operator wrote.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Error, Result, clock, info};

use crate::{
    daemon::{Daemon, Key},
    fetch::Fetch,
    proto::{self, Container, SnapshotKind},
    settings::{Settings, TargetSettings},
    spec,
};

/// With it nobody collects a snapshot: its data outlives the container's record.
pub(crate) const ROOT: &str = "containerd.io/gc.root";

/// The signal that a container is asked to stop with, as other tools write it down.
pub(crate) const STOP_SIGNAL: &str = "io.containerd.image.config.stop-signal";

/// Whose snapshot it is.
pub(crate) const OWNER: &str = "drowse.container";

/// Makes the container, or returns the one that somebody else has just made.
///
/// Its files are a snapshot of the same name. One that is there without a container is what an
/// earlier one has left: it is taken over with all its data.
pub(crate) fn create(
    daemon: &Daemon,
    settings: &Settings,
    id: &str,
    own: &TargetSettings,
) -> Result<Container> {
    let Some(name) = &own.image else {
        return Err(Error::not_found(
            "there is no such container; create it, or give the setting `image` to have it created",
        ));
    };
    let snapshotter = settings.snapshotter.as_str();
    let image = Fetch { daemon, settings, own, refresh: false }.image(name)?;
    let spec = spec::build(&daemon.namespace, id, &image.config, own)?;
    let key = Key { snapshotter, key: id };
    let fresh = prepare(daemon, key, &image.snapshot)?;
    let mut labels = own.labels.clone();
    if !image.config.stop_signal.is_empty() {
        labels.entry(STOP_SIGNAL.to_owned()).or_insert_with(|| image.config.stop_signal.clone());
    }
    let container = Container {
        id: id.to_owned(),
        labels,
        image: name.clone(),
        runtime: Some(proto::Runtime { name: settings.runtime.clone(), options: None }),
        spec: Some(proto::Any {
            type_url: spec::TYPE.to_owned(),
            value: spec.to_string().into_bytes(),
        }),
        snapshotter: snapshotter.to_owned(),
        snapshot_key: id.to_owned(),
        ..Container::default()
    };
    match daemon.create_container(container.clone()) {
        Ok(true) => Ok(container),
        Ok(false) => daemon
            .container(id)?
            .ok_or_else(|| Error::conflict("somebody else creates and deletes it meanwhile")),
        Err(error) => {
            if fresh && let Err(left) = daemon.remove_snapshot(key) {
                return Err(error.context(format!("its new snapshot is left behind: {left}")));
            }
            Err(error)
        }
    }
}

/// Sees to it that the container's snapshot is there. True if it was made now.
fn prepare(daemon: &Daemon, key: Key<'_>, parent: &str) -> Result<bool> {
    let id = key.key;
    let labels = [(ROOT, now()), (OWNER, id.to_owned())];
    let labels: BTreeMap<_, _> =
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(found) = daemon.snapshot(key)? {
        if found.kind != SnapshotKind::Active as i32 {
            return Err(Error::conflict(format!(
                "there is a snapshot {id:?} that is no container's; remove it"
            )));
        }
        info!("container {id:?}: taking over the data of its predecessor");
        daemon.label_snapshot(key, ROOT, &now())?;
        return Ok(false);
    }
    Ok(daemon.prepare(key, parent, labels)?.is_some())
}

/// What a label of a moment is worth: it is not read.
pub(crate) fn now() -> String {
    clock::since_epoch().as_secs().to_string()
}
