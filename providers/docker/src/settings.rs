//! Settings of the provider and of a container.

use std::collections::BTreeMap;

use drowse_provider_sdk::{
    Error, Result,
    settings::{check_registry, is_host},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the docker provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Addresses to use: `container` the container's own addresses (the router runs on the engine's
    /// machine or in one of its networks), `published` published ports (rootless engines, Docker
    /// Desktop, an engine on another machine), `auto` the container's own addresses or, without
    /// any, published ports.
    #[serde(default)]
    pub address: AddressKind,
    /// Network whose addresses come first; the others follow by name.
    pub network: Option<String>,
    /// Host of ports published on all interfaces and of containers in the host's network; default
    /// 127.0.0.1. Set it if the engine runs on another machine, or if the router itself runs in a
    /// container of the engine.
    pub host: Option<String>,
    /// Registries that need credentials, each with the endpoint that pulls its images: `{ "ghcr.io"
    /// = "registry" }`. The endpoint is the same engine with a header `X-Registry-Auth`. Image
    /// names without a registry belong to `docker.io`.
    #[serde(default)]
    pub registries: BTreeMap<String, String>,
}

/// Settings of one container; absent keys default to the provider's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// Addresses to use for this container.
    pub address: Option<AddressKind>,
    /// Network whose addresses come first for this container.
    pub network: Option<String>,
}

/// Addresses to use for a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressKind {
    /// The container's own addresses or, without any, published ports.
    #[default]
    Auto,
    /// Only the container's own addresses.
    Container,
    /// Only published ports.
    Published,
}

/// The settings that select the addresses of one container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressRules<'a> {
    pub(crate) kind: AddressKind,
    pub(crate) network: Option<&'a str>,
    pub(crate) host: Option<&'a str>,
}

// === impl Settings ===

impl Settings {
    /// Validates the values.
    pub(crate) fn check(&self) -> Result<()> {
        self.registries.keys().try_for_each(|it| check_registry("registries", it))?;
        let Some(host) = &self.host else { return Ok(()) };
        if is_host(host) {
            return Ok(());
        }
        Err(Error::invalid_request(format!(
            "settings: key \"host\": {host:?} is not an IP address or a host name; a port comes \
             from the container"
        )))
    }

    pub(crate) fn address_rules<'a>(&'a self, target: &'a TargetSettings) -> AddressRules<'a> {
        AddressRules {
            kind: target.address.unwrap_or(self.address),
            network: target.network.as_deref().or(self.network.as_deref()),
            host: self.host.as_deref(),
        }
    }
}
