//! Settings of the provider and of a guest.

use drowse_provider_sdk::{Address, Error, Result, Span, settings::is_host};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the proxmox provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// How guests are stopped. Containers are always shut down.
    pub stop: StopMethod,
    /// Longest time for a start to wait until the guest runs and has an address; after that `watch`
    /// polls it. The provider's `limits.wall-time` must be longer.
    pub patience: Span,
    /// Longest pause between two queries of a task or of a changing guest.
    pub poll: Span,
    /// Interval of querying all guests, which detects changes made elsewhere.
    pub every: Span,
    /// Networks of usable guest addresses, such as `["10.0.0.0/24"]`; other addresses are ignored.
    /// Without it every address counts that is neither loopback nor link-local.
    pub networks: Option<Vec<String>>,
}

/// Settings of one guest; absent keys default to the provider's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// Address of the running guest: an IP address or a host name. A port in it overrides the port
    /// of the route. The guest is not asked for its addresses then.
    pub address: Option<String>,
    /// Networks of usable addresses of this guest.
    pub networks: Option<Vec<String>>,
    /// How this guest is stopped.
    pub stop: Option<StopMethod>,
}

/// How guests are stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopMethod {
    /// Shut down, and stopped by force after the grace time.
    #[default]
    Shutdown,
    /// Memory is written to disk, and the next start continues from there. Only for virtual
    /// machines.
    SuspendToDisk,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            stop: StopMethod::Shutdown,
            patience: Span::seconds(45),
            poll: Span::seconds(1),
            every: Span::seconds(10),
            networks: None,
        }
    }
}

impl Settings {
    /// Validates the values.
    pub(crate) fn check(&self) -> Result<()> {
        for (key, span) in [("poll", self.poll), ("every", self.every)] {
            if span.0.is_zero() {
                let why = format!("settings: key {key:?}: must be greater than zero");
                return Err(Error::invalid_request(why));
            }
        }
        parse("settings", self.networks.as_deref()).map(|_| ())
    }

    /// Networks of usable addresses of a guest, if configured.
    pub(crate) fn networks(
        &self,
        handle: &str,
        target: &TargetSettings,
    ) -> Result<Option<Vec<IpNet>>> {
        let of = format!("settings of target {handle:?}");
        match &target.networks {
            Some(own) => parse(&of, Some(own)),
            None => parse("settings", self.networks.as_deref()),
        }
    }
}

// === impl TargetSettings ===

impl TargetSettings {
    /// The operator's address of the guest.
    pub(crate) fn address(&self, handle: &str) -> Result<Option<Address>> {
        let Some(text) = self.address.as_deref() else { return Ok(None) };
        if let Some(address) = Address::parse(text) {
            // A configured port is the guest's real one, so it replaces the route's.
            return Ok(Some(address.for_any_port()));
        }
        if is_host(text) {
            return Ok(Some(Address::new(text)));
        }
        Err(Error::invalid_request(format!(
            "settings of target {handle:?}: key \"address\": {text:?} is not an IP address or a \
             host name, with or without a port"
        )))
    }
}

fn parse(of: &str, networks: Option<&[String]>) -> Result<Option<Vec<IpNet>>> {
    let Some(networks) = networks else { return Ok(None) };
    let parsed = networks.iter().map(|text| {
        text.parse().map_err(|_| {
            Error::invalid_request(format!(
                "{of}: key \"networks\": {text:?} is not a network such as 10.0.0.0/24"
            ))
        })
    });
    parsed.collect::<Result<_>>().map(Some)
}
