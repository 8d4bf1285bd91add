//! What a plugin says of itself, and what the host found out.

use std::{path::Path, time::Duration};

use drowse_core::Ability;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{bindings::types, fault::clean, grants::masked_url, load::Source};

/// A plugin as `drowse plugin list` and `inspect` show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginInfo {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// What it is built as.
    pub kind: Kind,
    /// `bundled`, or the file's path.
    pub origin: String,
    /// SHA-256 of the file, hexadecimal.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// The version of the contract that it was built for.
    pub contract: String,
    /// What it can do besides start, stop and status.
    pub abilities: Vec<Ability>,
    /// Endpoints it wants to call.
    pub endpoints: Vec<EndpointWish>,
    /// Commands it wants to run.
    pub commands: Vec<CommandWish>,
    /// Networks it wants to attach containers to.
    pub networks: Vec<NetworkWish>,
    /// Every interface that a component imports: what it could ever make use of. A dynamic library
    /// can do whatever the router can.
    pub imports: Vec<String>,
    /// JSON Schema of its settings.
    pub settings_schema: Value,
    /// JSON Schema of a target's settings.
    pub target_schema: Value,
    /// How it was loaded.
    pub load: Load,
    /// How long loading took, with `describe`.
    pub load_time: Duration,
}

/// What a plugin is built as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A WASM component: confined to what it was granted.
    Component,
    /// A dynamic library: trusted code that nothing confines.
    Dylib,
}

// === impl Kind ===

impl Kind {
    /// By the name of its file.
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
    /// From our compiled cache.
    Cached,
    /// Compiled now.
    Compiled,
    /// Opened, as it is machine code already.
    Opened,
}

/// An endpoint that a plugin wants to call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointWish {
    /// The name to grant.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// A usual place.
    pub suggested_url: Option<String>,
    /// What it needs there.
    pub rules: Vec<String>,
    /// Settings of the provider that say what it sends: the rules are for what holds when nobody
    /// writes them.
    pub rules_follow: Vec<String>,
    /// Works without it.
    pub optional: bool,
}

/// A command that a plugin wants to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandWish {
    /// The name to grant; `*` when the operator chooses.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Works without it.
    pub optional: bool,
}

/// A network that a plugin wants to attach containers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkWish {
    /// The name to grant; `*` when the operator chooses.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Works without it, as long as no setting names one.
    pub optional: bool,
    /// The setting of a provider or of a workload that names it.
    pub setting: Option<String>,
}

// === impl PluginInfo ===

impl PluginInfo {
    /// It is part of the router's own program.
    pub fn is_bundled(&self) -> bool {
        self.origin == Source::BUNDLED
    }
}

// === impl EndpointWish ===

impl EndpointWish {
    /// It wants to send datagrams there; anything else is HTTP.
    pub fn wants_datagrams(&self) -> bool {
        self.suggested_url.as_deref().is_some_and(|url| url.starts_with("udp://"))
    }
}

// === impl NetworkWish ===

impl NetworkWish {
    /// The names of networks in these settings, of the provider or of a workload.
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

/// What a plugin says of itself, as one harmless line.
pub(crate) fn line(text: &str, limit: usize) -> String {
    clean(&text.replace(['\n', '\r', '\t'], " "), limit)
}

/// A plugin's schema with every text in it as one harmless line.
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

/// The flags of `abilities` in the contract's order.
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

/// The abilities that `describe` gives.
pub(crate) fn abilities(flags: types::Abilities) -> Vec<Ability> {
    let known = ABILITIES.into_iter();
    known.filter_map(|(flag, ability)| flags.contains(flag).then_some(ability)).collect()
}
