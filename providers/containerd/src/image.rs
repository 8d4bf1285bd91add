//! A local image: its configuration, and the snapshot of its layers.

use drowse_provider_sdk::{Error, Result};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    daemon::Daemon,
    manifest::{self, Descriptor, Manifest},
    unpack,
};

/// Configuration of an image.
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

/// An unpacked image.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) config: Config,
    /// Key of the snapshot with all of its layers.
    pub(crate) snapshot: String,
}

/// The parts of an image for one platform.
pub(crate) struct Parts {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    /// Digests of the uncompressed layers.
    pub(crate) contents: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Whole {
    #[serde(default)]
    config: Option<Config>,
    rootfs: Rootfs,
}

#[derive(Debug, Deserialize)]
struct Rootfs {
    diff_ids: Vec<String>,
}

/// Opens a local image by its digest, and unpacks it if needed.
pub(crate) fn open(daemon: &Daemon, name: &str, digest: &str, snapshotter: &str) -> Result<Image> {
    let opened = || {
        let (parts, config) = parts(daemon, manifest(daemon, digest)?)?;
        let snapshot = unpack::unpack(daemon, snapshotter, &parts)?;
        Ok(Image { config, snapshot })
    };
    opened().map_err(|error: Error| error.context(format!("use image {name:?}")))
}

/// Reads the parts and the configuration of a local manifest.
pub(crate) fn parts(daemon: &Daemon, manifest: Manifest) -> Result<(Parts, Config)> {
    let Manifest { config, layers, .. } = manifest;
    let config = config.ok_or_else(|| broken("its manifest has no config"))?;
    let whole: Whole = json(daemon, &config.digest)?;
    let contents = whole.rootfs.diff_ids;
    if contents.is_empty() || !contents.iter().all(|digest| manifest::is_digest(digest)) {
        return Err(broken("it has no layers, or layers without a digest"));
    }
    Ok((Parts { config, layers, contents }, whole.config.unwrap_or_default()))
}

/// The manifest of an image; of an index the first whose content is local, which was pulled for
/// this platform.
fn manifest(daemon: &Daemon, target: &str) -> Result<Manifest> {
    let read = |digest: &str| {
        let manifest = Manifest::read(&daemon.content(digest)?);
        manifest.map_err(|error| error.context(digest))
    };
    let manifest = read(target)?;
    if !manifest.is_index() {
        return Ok(manifest);
    }
    for one in manifest.for_linux() {
        if !daemon.has_content(&one.digest)? {
            continue;
        }
        let found = read(&one.digest)?;
        if let Some(config) = &found.config
            && daemon.has_content(&config.digest)?
        {
            return Ok(found);
        }
    }
    Err(broken("it has no local content for Linux"))
}

fn json<T: DeserializeOwned>(daemon: &Daemon, digest: &str) -> Result<T> {
    let content = daemon.content(digest)?;
    manifest::json(&content).map_err(|error| error.context(digest))
}

fn broken(what: &str) -> Error {
    Error::invalid_request(format!("{what}; pull it again"))
}
