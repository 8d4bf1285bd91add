//! From the layers of an image to the snapshot that containers are made of.
//!
//! Each layer is put on top of the one below in a snapshot of its own, which is then committed under
//! the name that everybody gives it. Whoever else unpacks the same image at the same time makes the
//! same snapshots: the first one counts.

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{Error, Result, clock, info, warn};

use crate::{
    daemon::{Daemon, Key},
    image::Parts,
    lease,
    manifest::{self, chain},
};

/// Unpacks what is not unpacked, and returns the key of the topmost snapshot.
pub(crate) fn unpack(daemon: &Daemon, snapshotter: &str, parts: &Parts) -> Result<String> {
    let chain = chain(&parts.contents);
    let Some(top) = chain.last() else { return Err(Error::invalid_request("it has no layers")) };
    if daemon.snapshot(Key { snapshotter, key: top })?.is_some() {
        return Ok(top.clone());
    }
    if parts.layers.len() != parts.contents.len() {
        return Err(Error::invalid_request(format!(
            "it has {} layers, and its configuration tells of {}",
            parts.layers.len(),
            parts.contents.len()
        )));
    }
    let layers = parts.layers.len();
    info!("unpacking an image of {layers} layers");
    lease::hold(daemon, &format!("unpack-{}", manifest::short(top)), |daemon| {
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
        // The image's configuration holds the snapshots as long as the image is there.
        let label = format!("containerd.io/gc.ref.snapshot.{snapshotter}");
        daemon.label_content(&parts.config.digest, &label, top)?;
        Ok(top.clone())
    })
}

/// Unpacks one layer on top of those below.
fn layer(
    daemon: &Daemon,
    snapshotter: &str,
    parts: &Parts,
    index: usize,
    below: &str,
    name: &str,
) -> Result<()> {
    // What others leave alone as somebody's work is called like this.
    let now: Duration = clock::since_epoch();
    let temporary = format!("extract-{} {name}", now.as_nanos());
    let key = Key { snapshotter, key: &temporary };
    let mounts = daemon
        .prepare(key, below, BTreeMap::new())?
        .ok_or_else(|| Error::conflict("somebody else unpacks it"))?;
    let made = || {
        let applied = daemon.apply(&parts.layers[index].to_proto(), mounts)?;
        if applied != parts.contents[index] {
            return Err(Error::invalid_request(format!(
                "what is in it has the digest {applied}, and not {}, as the image says",
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
