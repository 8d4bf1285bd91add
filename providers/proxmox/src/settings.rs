//! What the operator writes for the provider and for a guest.

use drowse_provider_sdk::{Address, Error, Result, Span};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the proxmox provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// How guests are stopped. Containers are always shut down.
    pub stop: StopMethod,
    /// So long a start waits for the guest to run and to have an address before it returns; after
    /// that `watch` follows it. The provider's `limits.wall` must be longer.
    pub patience: Span,
    /// The longest pause between two looks at a task or at a guest that is about to change.
    pub poll: Span,
    /// Between two looks at all guests, by which changes are noticed that were made elsewhere.
    pub every: Span,
    /// The networks in which guests are reached, such as `["10.0.0.0/24"]`: addresses outside are
    /// left out. Without it every address counts that is neither loopback nor link-local.
    pub networks: Option<Vec<String>>,
}

/// Settings of one guest; what is absent is as for the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// Where it is reached when it runs: an IP address or a name. With a port, visitors are sent
    /// there whatever port the route says. Nobody is asked for its addresses then.
    pub address: Option<String>,
    /// The networks in which this guest is reached.
    pub networks: Option<Vec<String>>,
    /// How this guest is stopped.
    pub stop: Option<StopMethod>,
}

/// How guests are stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopMethod {
    /// Asked to shut down, and stopped by force after the grace time.
    #[default]
    Shutdown,
    /// Its memory is written to disk; the next start continues where it was. For virtual machines.
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
    /// Whether the values make sense.
    pub(crate) fn check(&self) -> Result<()> {
        for (key, span) in [("poll", self.poll), ("every", self.every)] {
            if span.0.is_zero() {
                let why = format!("settings: key {key:?}: expected more than nothing");
                return Err(Error::invalid_request(why));
            }
        }
        parse("settings", self.networks.as_deref()).map(|_| ())
    }

    /// The networks in which a guest is reached, if anybody said.
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
    /// Where it is by the operator's word.
    pub(crate) fn address(&self, handle: &str) -> Result<Option<Address>> {
        let Some(text) = self.address.as_deref() else { return Ok(None) };
        if let Some(address) = Address::parse(text) {
            // A port that is told is where the guest is, and not what routes call it.
            return Ok(Some(address.for_any_port()));
        }
        let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.parse::<std::net::IpAddr>().is_ok() || !text.is_empty() && text.chars().all(name) {
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
