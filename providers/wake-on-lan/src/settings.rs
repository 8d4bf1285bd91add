//! What the operator writes: where a machine is, and how it is put to sleep.

use drowse_provider_sdk::{Address, Error, Result, Span, encode, settings};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::packet::Six;

/// The place of a target's name in a path.
const NAME: &str = "{name}";

/// Settings of the provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// The request to the endpoint `agent` that puts a machine to sleep.
    pub sleep: Option<Ask>,
    /// The request to the endpoint `agent` that tells whether a machine is awake: it is when the
    /// answer is 2xx.
    pub status: Option<Look>,
    /// So long a machine that was woken counts as running though nothing shows it yet.
    pub boot: Span,
    /// A machine that is still awake so long after it was asked to sleep has failed to.
    pub patience: Span,
}

/// A request that changes a machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ask {
    /// `POST` unless said otherwise.
    #[serde(default = "post")]
    pub method: String,
    /// Path and query; `{name}` is the target's name, percent-encoded.
    pub path: String,
}

/// A request that changes nothing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Look {
    /// Path and query; `{name}` is the target's name, percent-encoded.
    pub path: String,
}

/// Settings of one machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetSettings {
    /// Where it is reached when it is awake: an IP address or a name, with a port or without.
    pub address: String,
    /// The MAC address of its network card; the target's name when that is one.
    pub mac: Option<String>,
    /// The card's SecureOn password, six bytes written like a MAC address. It travels openly, so it
    /// keeps nobody out who can listen.
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
    /// Finds what could never work.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(Ask { method, path }) = &self.sleep {
            settings::check_method("sleep.method", method)?;
            check_path("sleep.path", path)?;
        }
        self.status.as_ref().map_or(Ok(()), |look| check_path("status.path", &look.path))
    }
}

fn check_path(key: &str, path: &str) -> Result<()> {
    settings::check_path(key, path)?;
    if path.replace(NAME, "").contains(['{', '}']) {
        return Err(settings::refuse(key, "no braces but those of {name}"));
    }
    Ok(())
}

/// A path with the target's name in it.
pub(crate) fn filled(path: &str, name: &str) -> String {
    path.replace(NAME, &encode(name))
}

// === impl TargetSettings ===

impl TargetSettings {
    /// Where visitors are sent.
    pub(crate) fn address(&self, name: &str) -> Result<Address> {
        let text = &self.address;
        match Address::parse(text) {
            // A port that is told is where the machine serves, and not what routes call it.
            Some(address) => Ok(address.for_any_port()),
            None if text.is_empty() || text.matches(':').count() == 1 => {
                Err(wrong(name, "address", text, "a host or host:port, such as 192.168.1.20"))
            }
            None => Ok(Address::new(text.trim_matches(['[', ']']))),
        }
    }

    /// The card of the target of this name.
    pub(crate) fn card(&self, name: &str) -> Result<Six> {
        let card = match &self.mac {
            Some(text) => Six::parse(text)
                .ok_or_else(|| wrong(name, "mac", text, "a MAC address such as 00:11:22:aa:bb:cc")),
            None => Six::parse(name).ok_or_else(|| {
                Error::invalid_request(format!(
                    "settings of target {name:?}: key \"mac\" is missing, and the name is no MAC \
                     address: add mac = \"00:11:22:aa:bb:cc\""
                ))
            }),
        }?;
        if card.is_group() {
            let card = card.to_string();
            return Err(wrong(name, "mac", &card, "the address of one card, not of a group"));
        }
        Ok(card)
    }

    /// What the card wants to hear besides its address.
    pub(crate) fn password(&self, name: &str) -> Result<Option<Six>> {
        let parse = |text: &String| {
            Six::parse(text).ok_or_else(|| {
                Error::invalid_request(format!(
                    "settings of target {name:?}: key \"secure-on\": expected six bytes such as \
                     00:11:22:aa:bb:cc"
                ))
            })
        };
        self.secure_on.as_ref().map(parse).transpose()
    }
}

fn wrong(name: &str, key: &str, found: &str, expected: &str) -> Error {
    Error::invalid_request(format!(
        "settings of target {name:?}: key \"{key}\": expected {expected}, found {found:?}"
    ))
}
