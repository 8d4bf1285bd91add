//! What the operator writes for the provider and for a container.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Error, Result, Span};
use schemars::JsonSchema;
use serde::Deserialize;

/// Namespaces whose owners react to what somebody else does there.
const FOREIGN: [&str; 2] = ["moby", "k8s.io"];

/// Longest id that containerd takes.
const ID: usize = 76;

/// Settings of the containerd provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// The namespace whose containers are looked after.
    pub namespace: String,
    /// The snapshotter of containers that are created.
    pub snapshotter: String,
    /// The granted network that containers with a network namespace of their own are attached to.
    pub network: Option<String>,
    /// The runtime of containers that are created.
    pub runtime: String,
    /// Registries that images are pulled from, each with the endpoint that leads there:
    /// `{ "registry.lan:5000" = "registry" }`. Where a registry sends for its layers is one, too, by its
    /// host. From others nothing is pulled.
    pub registries: BTreeMap<String, String>,
    /// How long a registry may take to tell what it has.
    pub registry_timeout: Span,
    /// When images are pulled.
    pub pull: Pull,
    /// Also look after `moby` or `k8s.io`, whose owners, Docker and Kubernetes, will react.
    pub foreign: bool,
}

/// Settings of one container. With `image` it is created when it is started and does not exist;
/// what else is said of its making counts only then.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TargetSettings {
    /// The image's whole name, for instance `docker.io/library/nginx:1.27`.
    pub image: Option<String>,
    /// When it is pulled, if not as the provider's settings say.
    pub pull: Option<Pull>,
    /// The program and its arguments; the image's own when absent.
    pub command: Option<Vec<String>>,
    /// Added to the image's environment.
    pub env: BTreeMap<String, String>,
    /// Directories and files of this machine that the container sees.
    pub mounts: Vec<Mount>,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// Numbers of user and group, `1000` or `1000:1000`; the image's own when absent.
    pub user: Option<String>,
    /// Where the program starts; the image's own when absent.
    pub directory: Option<String>,
    /// The container shares this machine's network.
    #[serde(rename = "host-network")]
    pub host_network: bool,
    /// The granted network, instead of the provider's.
    pub network: Option<String>,
    /// The file that its output is appended to; without one the output is lost.
    pub log: Option<String>,
}

/// When the image of a container that is made is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// When its registry has another one by the name than the one that is here.
    #[default]
    Newer,
    /// When there is none here.
    Missing,
    /// Not by the router.
    Never,
}

/// A directory or file of this machine in a container.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mount {
    /// Its path on this machine.
    pub source: String,
    /// Its path in the container.
    pub target: String,
    /// The container cannot change it.
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
    /// Whether the values make sense.
    pub(crate) fn check(&self) -> Result<()> {
        let namespace = &self.namespace;
        if !is_id(namespace) {
            return Err(Error::invalid_request(format!(
                "settings: key \"namespace\": {namespace:?} cannot be one"
            )));
        }
        if FOREIGN.contains(&namespace.as_str()) && !self.foreign {
            return Err(Error::invalid_request(format!(
                "settings: key \"namespace\": {namespace:?} belongs to Docker or Kubernetes, which \
                 react to what others do there; use a namespace of your own, or set foreign = true"
            )));
        }
        let name = |word: &str| {
            let part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !word.is_empty() && word.chars().all(part)
        };
        if let Some(odd) = self.registries.keys().find(|host| !host.split(':').all(name)) {
            return Err(Error::invalid_request(format!(
                "settings: key \"registries\": {odd:?} is not the beginning of an image's name; \
                 write for instance docker.io or registry.lan:5000"
            )));
        }
        if self.registry_timeout.0.is_zero() {
            return Err(Error::invalid_request(
                "settings: key \"registry-timeout\": nobody answers in no time; write for instance 15s",
            ));
        }
        Ok(())
    }
}

// === impl TargetSettings ===

impl TargetSettings {
    /// Whether the values make sense.
    pub(crate) fn check(&self, attempt: &str) -> Result<()> {
        let wrong = |what: String| Err(Error::invalid_request(format!("{attempt}: {what}")));
        if let Some(image) = self.image.as_ref().filter(|image| !is_plain(image)) {
            return wrong(format!("{image:?} is not the name of an image"));
        }
        if self.command.as_ref().is_some_and(Vec::is_empty) {
            return wrong("the command is empty; name a program".to_owned());
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return wrong(format!("{name:?} is not the name of a variable"));
        }
        let paths = self.mounts.iter().flat_map(|mount| [&mount.source, &mount.target]);
        if let Some(path) = paths.chain(&self.log).find(|path| !path.starts_with('/')) {
            return wrong(format!("{path:?} is not a whole path; begin with `/`"));
        }
        Ok(())
    }
}

/// What containerd takes as an id: letters and digits in groups, with `.`, `_` or `-` between.
pub(crate) fn is_id(id: &str) -> bool {
    let group =
        |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_alphanumeric());
    id.len() <= ID && id.split(['.', '_', '-']).all(group)
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic())
}
