//! Settings: the address of a machine, and how it is put to sleep.

use drowse_provider_sdk::{Address, Error, Result, Span, encode, settings};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::packet::SixBytes;

/// Placeholder of a target's name in a path.
const NAME_PLACEHOLDER: &str = "{name}";

/// Settings of the provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Request to the endpoint `agent` that puts a machine to sleep.
    pub sleep: Option<Request>,
    /// Request to the endpoint `agent` that checks whether a machine is awake: a 2xx response means
    /// awake.
    pub status: Option<StatusQuery>,
    /// Time for which a woken machine counts as running without an answer.
    pub boot: Span,
    /// Timeout for a machine to fall asleep.
    pub patience: Span,
}

/// A request that changes a machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// HTTP method; default `POST`.
    #[serde(default = "post")]
    pub method: String,
    /// Path and query; `{name}` is the target's name, percent-encoded.
    pub path: String,
}

/// A request that changes nothing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StatusQuery {
    /// Path and query; `{name}` is the target's name, percent-encoded.
    pub path: String,
}

/// Settings of one machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// Address of the machine when it is awake: an IP address or a host name, with or without a
    /// port.
    pub address: String,
    /// MAC address of its network card; default is the target's name.
    pub mac: Option<String>,
    /// SecureOn password of the card, six bytes written like a MAC address. It is sent in clear
    /// text, so any listener can read it.
    pub secure_on: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self { sleep: None, status: None, boot: Span::seconds(180), patience: Span::seconds(45) }
    }
}

impl Settings {
    /// Validates the values.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(Request { method, path }) = &self.sleep {
            settings::check_method("sleep.method", method)?;
            check_path("sleep.path", path)?;
        }
        self.status.as_ref().map_or(Ok(()), |query| check_path("status.path", &query.path))
    }
}

fn check_path(key: &str, path: &str) -> Result<()> {
    settings::check_path(key, path)?;
    if path.replace(NAME_PLACEHOLDER, "").contains(['{', '}']) {
        return Err(settings::refuse(key, "no braces except in {name}"));
    }
    Ok(())
}

/// Fills the target's name into a path.
pub(crate) fn fill_name(path: &str, name: &str) -> String {
    path.replace(NAME_PLACEHOLDER, &encode(name))
}

// === impl TargetSettings ===

impl TargetSettings {
    /// Address to which traffic is forwarded.
    pub(crate) fn address(&self, name: &str) -> Result<Address> {
        let text = &self.address;
        match Address::parse(text) {
            // A configured port is the machine's real one, so it replaces the route's.
            Some(address) => Ok(address.for_any_port()),
            None if text.is_empty() || text.matches(':').count() == 1 => {
                Err(invalid(name, "address", text, "a host or host:port, such as 192.168.1.20"))
            }
            None => Ok(Address::new(text.trim_matches(['[', ']']))),
        }
    }

    /// MAC address of the target of this name.
    pub(crate) fn card(&self, name: &str) -> Result<SixBytes> {
        let card = match &self.mac {
            Some(text) => SixBytes::parse(text).ok_or_else(|| {
                invalid(name, "mac", text, "a MAC address such as 00:11:22:aa:bb:cc")
            }),
            None => SixBytes::parse(name).ok_or_else(|| {
                Error::invalid_request(format!(
                    "settings of target {name:?}: key \"mac\" is missing, and the name is no MAC \
                     address: add mac = \"00:11:22:aa:bb:cc\""
                ))
            }),
        }?;
        if card.is_group() {
            let card = card.to_string();
            return Err(invalid(name, "mac", &card, "the address of one card, not of a group"));
        }
        Ok(card)
    }

    /// The card's password.
    pub(crate) fn password(&self, name: &str) -> Result<Option<SixBytes>> {
        let parse = |text: &String| {
            SixBytes::parse(text).ok_or_else(|| {
                Error::invalid_request(format!(
                    "settings of target {name:?}: key \"secure-on\": expected six bytes such as \
                     00:11:22:aa:bb:cc"
                ))
            })
        };
        self.secure_on.as_ref().map(parse).transpose()
    }
}

fn invalid(name: &str, key: &str, found: &str, expected: &str) -> Error {
    Error::invalid_request(format!(
        "settings of target {name:?}: key \"{key}\": expected {expected}, found {found:?}"
    ))
}
