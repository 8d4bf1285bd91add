//! Description of a plugin: its own statements and the host's findings.

use std::{path::Path, time::Duration};

use drowse_core::Ability;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{bindings::types, grants::masked_url, text::sanitize};

/// Origin of plugins that are part of the router's executable.
pub(crate) const BUNDLED: &str = "bundled";

/// A plugin as `drowse plugin list` and `inspect` show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginInfo {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// Component or dynamic library.
    pub kind: PluginKind,
    /// `bundled`, or the file's path.
    pub origin: String,
    /// SHA-256 of the file, hexadecimal.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// Contract version that it was built for.
    pub contract: String,
    /// Abilities besides start, stop and status.
    pub abilities: Vec<Ability>,
    /// Endpoints that it requires or can use.
    pub endpoints: Vec<EndpointWish>,
    /// Commands that it requires or can use.
    pub commands: Vec<CommandWish>,
    /// Networks that it can attach containers to.
    pub networks: Vec<NetworkWish>,
    /// Every interface that a component imports: the most it could ever use. Empty for a dynamic
    /// library, which can do whatever the router can.
    pub imports: Vec<String>,
    /// JSON Schema of its settings.
    pub settings_schema: Value,
    /// JSON Schema of a target's settings.
    pub target_schema: Value,
    /// How it was loaded.
    pub load: Load,
    /// Duration of loading, including `describe`.
    pub load_time: Duration,
}

/// Build type of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// A WASM component, confined to its grants.
    Component,
    /// A dynamic library: trusted code without a sandbox.
    Dylib,
}

// === impl PluginKind ===

impl PluginKind {
    /// The kind for a file name: `.so` is a dynamic library.
    pub(crate) fn of_path(path: &Path) -> Self {
        match path.extension() {
            Some(end) if end == "so" => Self::Dylib,
            _ => Self::Component,
        }
    }
}

/// How a plugin was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// From the compiled cache.
    Cached,
    /// Compiled on loading.
    Compiled,
    /// Opened: a dynamic library needs no compilation.
    Opened,
}

/// An endpoint that a plugin requires or can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointWish {
    /// The name to grant.
    pub name: String,
    /// Purpose, for the operator.
    pub purpose: String,
    /// Suggested URL, masked.
    pub suggested_url: Option<String>,
    /// Rules that the plugin needs on this endpoint.
    pub rules: Vec<String>,
    /// Names of provider settings that change the requests; the rules match their default values.
    pub rules_follow: Vec<String>,
    /// Works without it.
    pub optional: bool,
}

/// A command that a plugin requires or can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandWish {
    /// The name to grant; `*` when the operator chooses.
    pub name: String,
    /// Purpose, for the operator.
    pub purpose: String,
    /// Works without it.
    pub optional: bool,
}

/// A network that a plugin can attach containers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkWish {
    /// The name to grant; `*` when the operator chooses.
    pub name: String,
    /// Purpose, for the operator.
    pub purpose: String,
    /// Works without it unless a setting names one.
    pub optional: bool,
    /// Name of the provider or target setting that selects it.
    pub setting: Option<String>,
}

// === impl PluginInfo ===

impl PluginInfo {
    /// Returns whether it is part of the router's executable.
    pub fn is_bundled(&self) -> bool {
        self.origin == BUNDLED
    }
}

// === impl EndpointWish ===

impl EndpointWish {
    /// Returns whether the endpoint is for datagrams; otherwise it is HTTP.
    pub fn wants_datagrams(&self) -> bool {
        self.suggested_url.as_deref().is_some_and(|url| url.starts_with("udp://"))
    }
}

// === impl NetworkWish ===

impl NetworkWish {
    /// The network names that these provider or target settings select.
    pub fn named_in<'a>(&self, settings: &'a Value) -> Vec<&'a str> {
        match self.setting.as_ref().and_then(|setting| settings.get(setting)) {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

// === conversions from the contract ===

impl From<types::EndpointWish> for EndpointWish {
    fn from(wish: types::EndpointWish) -> Self {
        let types::EndpointWish { name, purpose, suggested_url, rules, optional, attributes } =
            wish;
        let followed = attributes.iter().find(|it| it.name == "rules-follow");
        let followed = followed.map(|it| line(&it.value, 256)).unwrap_or_default();
        Self {
            name: line(&name, 128),
            purpose: line(&purpose, 256),
            suggested_url: suggested_url.map(|url| masked_url(&line(&url, 256))),
            rules,
            rules_follow: followed.split_whitespace().map(str::to_owned).collect(),
            optional,
        }
    }
}

impl From<types::CommandWish> for CommandWish {
    fn from(wish: types::CommandWish) -> Self {
        let types::CommandWish { name, purpose, optional, attributes: _ } = wish;
        Self { name: line(&name, 128), purpose: line(&purpose, 256), optional }
    }
}

impl From<types::NetworkWish> for NetworkWish {
    fn from(wish: types::NetworkWish) -> Self {
        let types::NetworkWish { name, purpose, optional, setting, attributes: _ } = wish;
        Self {
            name: line(&name, 128),
            purpose: line(&purpose, 256),
            optional,
            setting: setting.map(|setting| line(&setting, 128)),
        }
    }
}

/// Makes a plugin's text one safe line.
pub(crate) fn line(text: &str, limit: usize) -> String {
    sanitize(&text.replace(['\n', '\r', '\t'], " "), limit)
}

/// Makes every text in a plugin's JSON Schema one safe line.
pub(crate) fn schema(schema: Value) -> Value {
    match schema {
        Value::String(text) => Value::String(line(&text, 4096)),
        Value::Array(items) => items.into_iter().map(self::schema).collect(),
        Value::Object(entries) => {
            entries.into_iter().map(|(key, value)| (line(&key, 128), self::schema(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => schema,
    }
}

/// The flags of `abilities`, in contract order.
pub(crate) const ABILITIES: [(types::Abilities, Ability); 11] = [
    (types::Abilities::STOP_SIGNAL, Ability::StopSignal),
    (types::Abilities::PAUSE, Ability::Pause),
    (types::Abilities::KILL, Ability::Kill),
    (types::Abilities::LIST, Ability::List),
    (types::Abilities::WATCH, Ability::Watch),
    (types::Abilities::RECREATE, Ability::Recreate),
    (types::Abilities::REMOVE, Ability::Remove),
    (types::Abilities::LOGS, Ability::Logs),
    (types::Abilities::EXEC, Ability::Exec),
    (types::Abilities::USAGE, Ability::Usage),
    (types::Abilities::FETCH, Ability::Fetch),
];

/// The abilities declared by `describe`.
pub(crate) fn abilities(flags: types::Abilities) -> Vec<Ability> {
    let known = ABILITIES.into_iter();
    known.filter_map(|(flag, ability)| flags.contains(flag).then_some(ability)).collect()
}
