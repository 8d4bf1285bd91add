//! What the operator writes for the provider and for a container.

use std::{collections::BTreeMap, net::IpAddr};

use drowse_provider_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the docker provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// How containers are reached: `container` by their own addresses (the router runs on the
    /// engine's machine or in one of its networks), `published` by published ports (rootless
    /// engines, Docker Desktop, an engine on another machine), `auto` by their own addresses and,
    /// if there is none, by published ports.
    #[serde(default)]
    pub address: AddressKind,
    /// The network whose addresses are preferred; else networks come in the order of their names.
    pub network: Option<String>,
    /// Where ports published on all interfaces, and containers in the host's network, are reached;
    /// 127.0.0.1 when absent. Set it when the engine runs on another machine, or on the machine
    /// whose container the router is.
    pub host: Option<String>,
    /// Registries that want credentials, each with the endpoint through which its images are pulled:
    /// `{ "ghcr.io" = "registry" }`. The endpoint is the same engine with a header
    /// `X-Registry-Auth`. Names of images without a registry are of `docker.io`.
    #[serde(default)]
    pub registries: BTreeMap<String, String>,
}

/// Settings of one container; what is absent is as for the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// How this container is reached.
    pub address: Option<AddressKind>,
    /// The network whose addresses are preferred for this container.
    pub network: Option<String>,
}

/// How containers are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressKind {
    /// By their own addresses; if they have none, by published ports.
    #[default]
    Auto,
    /// By their own addresses only.
    Container,
    /// By published ports only.
    Published,
}

/// The settings that decide how one container is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    pub(crate) kind: AddressKind,
    pub(crate) network: Option<&'a str>,
    pub(crate) host: Option<&'a str>,
}

// === impl Settings ===

impl Settings {
    /// Whether the values make sense.
    pub(crate) fn check(&self) -> Result<()> {
        let name = |host: &str| {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        for registry in self.registries.keys() {
            // As it stands in the names of images: there is neither scheme nor path.
            if !registry.split(':').all(name) {
                return Err(Error::invalid_request(format!(
                    "settings: key \"registries\": {registry:?} is not the beginning of an image's \
                     name; write for instance ghcr.io or registry.lan:5000"
                )));
            }
        }
        let Some(host) = &self.host else { return Ok(()) };
        if host.parse::<IpAddr>().is_ok() || name(host) {
            return Ok(());
        }
        Err(Error::invalid_request(format!(
            "settings: key \"host\": {host:?} is not an IP address or a host name; a port comes \
             from the container"
        )))
    }

    pub(crate) fn reach<'a>(&'a self, target: &'a TargetSettings) -> Reach<'a> {
        Reach {
            kind: target.address.unwrap_or(self.address),
            network: target.network.as_deref().or(self.network.as_deref()),
            host: self.host.as_deref(),
        }
    }
}
