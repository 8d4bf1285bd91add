//! An image that is here: what it runs, and the snapshot that its layers were unpacked to.

use drowse_provider_sdk::{Error, Result};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::daemon::{Daemon, Key};

/// Most entries of an index that are looked at.
const MANIFESTS: usize = 64;

/// What an image says of the containers made of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    pub(crate) env: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) working_dir: String,
    pub(crate) user: String,
    pub(crate) stop_signal: String,
}

/// An image, found and unpacked.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) config: Config,
    /// The key of the snapshot with all of its layers.
    pub(crate) snapshot: String,
}

/// A manifest, or an index of several.
#[derive(Debug, Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
}

#[derive(Debug, Deserialize)]
struct Whole {
    #[serde(default)]
    config: Option<Config>,
    rootfs: Layers,
}

#[derive(Debug, Deserialize)]
struct Layers {
    diff_ids: Vec<String>,
}

/// Finds an image by its whole name.
pub(crate) fn find(daemon: &Daemon, name: &str, snapshotter: &str) -> Result<Image> {
    let namespace = &daemon.namespace;
    let Some(target) = daemon.image(name)? else {
        return Err(Error::not_found(format!(
            "there is no image {name:?} in namespace {namespace:?}; pull it there, for instance by \
             `ctr --namespace {namespace} images pull {name}`"
        )));
    };
    let manifest = manifest(daemon, name, &target)?;
    let config = manifest.config.ok_or_else(|| broken(name, "its manifest has no config"))?;
    let whole: Whole = json(daemon, name, &config.digest)?;
    let snapshot = chain(&whole.rootfs.diff_ids).ok_or_else(|| broken(name, "it has no layers"))?;
    let key = Key { snapshotter, key: &snapshot };
    if daemon.snapshot(key)?.is_none() {
        return Err(Error::not_found(format!(
            "image {name:?} is not unpacked for the snapshotter {snapshotter:?}; pull it by a tool \
             that unpacks it, for instance `ctr --namespace {namespace} images pull --snapshotter \
             {snapshotter} {name}`"
        )));
    }
    Ok(Image { config: whole.config.unwrap_or_default(), snapshot })
}

/// The manifest of an image; of an index the first whose content is here, which is what was pulled
/// for this machine.
fn manifest(daemon: &Daemon, name: &str, target: &str) -> Result<Manifest> {
    let manifest: Manifest = json(daemon, name, target)?;
    if manifest.manifests.is_empty() {
        return Ok(manifest);
    }
    let fits = |it: &&Descriptor| it.platform.as_ref().is_none_or(|it| it.os == "linux");
    for one in manifest.manifests.iter().filter(fits).take(MANIFESTS) {
        if !daemon.has_content(&one.digest)? {
            continue;
        }
        let found: Manifest = json(daemon, name, &one.digest)?;
        if let Some(config) = &found.config
            && daemon.has_content(&config.digest)?
        {
            return Ok(found);
        }
    }
    Err(broken(name, "nothing of it is here for Linux"))
}

fn json<T: DeserializeOwned>(daemon: &Daemon, name: &str, digest: &str) -> Result<T> {
    serde_json::from_slice(&daemon.content(digest)?)
        .map_err(|error| broken(name, &format!("{digest} cannot be read: {error}")))
}

fn broken(name: &str, what: &str) -> Error {
    Error::invalid_request(format!("image {name:?} cannot be used: {what}; pull it again"))
}

/// The key under which layers are unpacked: each is named by the digest of the one below and its
/// own (OCI image specification, "layer chain id").
fn chain(layers: &[String]) -> Option<String> {
    let (first, rest) = layers.split_first()?;
    Some(rest.iter().fold(first.clone(), |below, layer| {
        let digest = Sha256::digest(format!("{below} {layer}"));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_named_by_all_of_its_layers() {
        assert_eq!(chain(&[]), None);
        assert_eq!(chain(&["sha256:aa".into()]).as_deref(), Some("sha256:aa"));
        // printf 'sha256:aa sha256:bb' | sha256sum
        assert_eq!(
            chain(&["sha256:aa".into(), "sha256:bb".into()]).as_deref(),
            Some("sha256:b68ad689d6d1ec110ea1c13617437ad6f3766d4b3b309f6a603a222e07a0164f")
        );
    }
}
