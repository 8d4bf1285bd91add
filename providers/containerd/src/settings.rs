//! Settings of the provider and of a container.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Error, Result, Span, settings::check_registry};
use schemars::JsonSchema;
use serde::Deserialize;

/// Namespaces whose owners react to changes by other clients.
const FOREIGN: [&str; 2] = ["moby", "k8s.io"];

/// Maximum length of a containerd id, in bytes.
const MAX_ID: usize = 76;

/// Settings of the containerd provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Namespace of the containers.
    pub namespace: String,
    /// Snapshotter of new containers.
    pub snapshotter: String,
    /// Granted network for containers with their own network namespace.
    pub network: Option<String>,
    /// Runtime of new containers.
    pub runtime: String,
    /// Registries to pull from, each with its endpoint: `{ "registry.lan:5000" = "registry" }`. A
    /// host to which a registry redirects for its layers needs an entry as well. Nothing is pulled
    /// from other registries.
    pub registries: BTreeMap<String, String>,
    /// Timeout for a registry to answer with a manifest.
    pub registry_timeout: Span,
    /// When images are pulled.
    pub pull: Pull,
    /// Also control `moby` or `k8s.io`, whose owners, Docker and Kubernetes, react to changes.
    pub foreign: bool,
}

/// Settings of one container. With `image` the container is created at its first start; the other
/// creation settings apply only then.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TargetSettings {
    /// Full name of the image, for instance `docker.io/library/nginx:1.27`.
    pub image: Option<String>,
    /// When the image is pulled; default is the provider's setting.
    pub pull: Option<Pull>,
    /// Program and arguments; default is the image's.
    pub command: Option<Vec<String>>,
    /// Environment variables added to the image's.
    pub env: BTreeMap<String, String>,
    /// Host directories and files that are mounted.
    pub mounts: Vec<Mount>,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// Numeric user and group, `1000` or `1000:1000`; default is the image's.
    pub user: Option<String>,
    /// Working directory; default is the image's.
    pub directory: Option<String>,
    /// Share the host's network.
    #[serde(rename = "host-network")]
    pub host_network: bool,
    /// Granted network instead of the provider's.
    pub network: Option<String>,
    /// File to which output is appended; without one the output is lost.
    pub log: Option<String>,
}

/// When the image of a new container is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// If the registry has another version than the local image.
    #[default]
    Newer,
    /// If there is no local image.
    Missing,
    /// Never by the router.
    Never,
}

/// A host directory or file in a container.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mount {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Mount it read-only.
    #[serde(default)]
    pub read_only: bool,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            snapshotter: "overlayfs".to_owned(),
            network: None,
            runtime: "io.containerd.runc.v2".to_owned(),
            registries: BTreeMap::new(),
            registry_timeout: Span::seconds(15),
            pull: Pull::Newer,
            foreign: false,
        }
    }
}

impl Settings {
    /// Validates the values.
    pub(crate) fn check(&self) -> Result<()> {
        let namespace = &self.namespace;
        if !is_id(namespace) {
            return Err(Error::invalid_request(format!(
                "settings: key \"namespace\": {namespace:?} is not a valid name"
            )));
        }
        if FOREIGN.contains(&namespace.as_str()) && !self.foreign {
            return Err(Error::invalid_request(format!(
                "settings: key \"namespace\": {namespace:?} belongs to Docker or Kubernetes, which \
                 react to changes by others; use another namespace, or set foreign = true"
            )));
        }
        self.registries.keys().try_for_each(|it| check_registry("registries", it))?;
        if self.registry_timeout.0.is_zero() {
            return Err(Error::invalid_request(
                "settings: key \"registry-timeout\": must be greater than zero, for example 15s",
            ));
        }
        Ok(())
    }
}

// === impl TargetSettings ===

impl TargetSettings {
    /// Validates the values.
    pub(crate) fn check(&self, attempt: &str) -> Result<()> {
        let wrong = |what: String| Err(Error::invalid_request(format!("{attempt}: {what}")));
        if let Some(image) = self.image.as_ref().filter(|image| !is_plain(image)) {
            return wrong(format!("{image:?} is not an image name"));
        }
        if self.command.as_ref().is_some_and(Vec::is_empty) {
            return wrong("the command is empty; name a program".to_owned());
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return wrong(format!("{name:?} is not a variable name"));
        }
        let paths = self.mounts.iter().flat_map(|mount| [&mount.source, &mount.target]);
        if let Some(path) = paths.chain(&self.log).find(|path| !path.starts_with('/')) {
            return wrong(format!("{path:?} is not an absolute path; begin with `/`"));
        }
        Ok(())
    }
}

/// containerd's id syntax: groups of letters and digits, separated by `.`, `_` or `-`.
pub(crate) fn is_id(id: &str) -> bool {
    let group =
        |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_alphanumeric());
    id.len() <= MAX_ID && id.split(['.', '_', '-']).all(group)
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic())
}
