//! Unpacks the layers of an image into the snapshot of its containers.
//!
//! Each layer is applied to a snapshot of its own on top of the previous one, which is then
//! committed under the name that all clients use. Clients that unpack the same image concurrently
//! create the same snapshots: the first commit wins.

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{Error, Result, clock, info, warn};

use crate::{
    daemon::{Daemon, Key},
    image::Parts,
    lease,
    manifest::{self, chain},
};

/// Unpacks missing layers, and returns the key of the topmost snapshot.
pub(crate) fn unpack(daemon: &Daemon, snapshotter: &str, parts: &Parts) -> Result<String> {
    let chain = chain(&parts.contents);
    let Some(top) = chain.last() else { return Err(Error::invalid_request("it has no layers")) };
    if daemon.snapshot(Key { snapshotter, key: top })?.is_some() {
        return Ok(top.clone());
    }
    if parts.layers.len() != parts.contents.len() {
        return Err(Error::invalid_request(format!(
            "it has {} layers, but its configuration lists {}",
            parts.layers.len(),
            parts.contents.len()
        )));
    }
    let layers = parts.layers.len();
    info!("unpacking an image of {layers} layers");
    lease::with_lease(daemon, &format!("unpack-{}", manifest::short(top)), |daemon| {
        let mut below = "";
        for (index, name) in chain.iter().enumerate() {
            if daemon.snapshot(Key { snapshotter, key: name })?.is_none() {
                let unpacked = layer(daemon, snapshotter, parts, index, below, name);
                unpacked.map_err(|error| {
                    error.context(format!("unpack layer {} of {layers}", index + 1))
                })?;
            }
            below = name;
        }
        // The image's configuration references the snapshots, so they stay as long as the image.
        let label = format!("containerd.io/gc.ref.snapshot.{snapshotter}");
        daemon.label_content(&parts.config.digest, &label, top)?;
        Ok(top.clone())
    })
}

/// Unpacks one layer on top of the previous ones.
fn layer(
    daemon: &Daemon,
    snapshotter: &str,
    parts: &Parts,
    index: usize,
    below: &str,
    name: &str,
) -> Result<()> {
    // Other clients leave snapshots with this prefix alone.
    let now: Duration = clock::since_epoch();
    let temporary = format!("extract-{} {name}", now.as_nanos());
    let key = Key { snapshotter, key: &temporary };
    let mounts = daemon
        .prepare(key, below, BTreeMap::new())?
        .ok_or_else(|| Error::conflict("another client unpacks it"))?;
    let made = || {
        let applied = daemon.apply(&parts.layers[index].to_proto(), mounts)?;
        if applied != parts.contents[index] {
            return Err(Error::invalid_request(format!(
                "its content has the digest {applied}, but the image lists {}",
                parts.contents[index]
            )));
        }
        daemon.commit_snapshot(key, name)
    };
    let made: Result<bool> = made();
    if !matches!(made, Ok(true))
        && let Err(error) = daemon.remove_snapshot(key)
    {
        warn!("remove snapshot {temporary:?}: {error}");
    }
    made.map(drop)
}
