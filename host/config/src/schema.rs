//! The shape of a configuration: which keys there are, what they take, what they mean. The reader
//! and the reference are both made from it, so neither knows a key that the other does not.

use crate::keys;

/// The keys of one kind of table.
#[derive(Debug)]
pub(crate) struct Table {
    /// As it is written in a file, for instance `[workload.NAME]`.
    pub(crate) title: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    pub(crate) keys: &'static [Key],
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    pub(crate) doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// One value: its word in the reference, and how an error names it.
    Value { word: &'static str, expected: &'static str },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A table.
    Table(&'static Table),
    /// A table of tables, by names the operator chooses.
    Named(&'static Table),
    /// Any number of tables.
    Tables(&'static Table),
}

/// What happens when a key is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Presence {
    /// It is an error.
    Required,
    /// As if this TOML value were there.
    Default(&'static str),
    /// It means this, in words.
    Otherwise(&'static str),
}

/// Every table, in the order of the reference.
pub(crate) const TABLES: &[&Table] = &[
    &keys::ROUTER,
    &keys::listener::LISTENER,
    &keys::listener::LISTENER_LIMITS,
    &keys::who::PROXY_PROTOCOL,
    &keys::provider::PROVIDER,
    &keys::provider::ENDPOINT,
    &keys::provider::COMMAND,
    &keys::provider::COMMAND_LIMITS,
    &keys::provider::NETWORK,
    &keys::provider::PROVIDER_LIMITS,
    &keys::plugins::PLUGIN_LIMITS,
    &keys::WORKLOAD,
    &keys::life::SLEEP,
    &keys::life::DEEPER,
    &keys::life::BUSY,
    &keys::life::READY,
    &keys::WAKE,
    &keys::who::PROBE,
    &keys::life::POOL,
    &keys::ROUTE,
    &keys::who::ROUTE_WAKE,
    &keys::who::AUTH,
    &keys::waiting::WAITING,
];

/// The tables of a file for `drowse plugin test` that a configuration does not have.
pub(crate) const TRIAL_TABLES: &[&Table] = &[&keys::trial::TEST];

/// Names of other proxies and container tools, and the keys that mean the same, in the order in
/// which they are looked for.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("address", &["bind", "url"]),
    ("cmd", &["run"]),
    ("command", &["run"]),
    ("container", &["target"]),
    ("container-name", &["target"]),
    ("container_name", &["target"]),
    ("depends-on", &["needs"]),
    ("depends_on", &["needs"]),
    ("domain", &["host"]),
    ("entrypoint", &["run"]),
    ("env", &["environment"]),
    ("group", &["pool"]),
    ("handle", &["target"]),
    ("healthcheck", &["ready"]),
    ("hostname", &["host"]),
    ("listen", &["bind"]),
    ("prefix", &["path"]),
    ("server-name", &["host"]),
    ("server_name", &["host"]),
    ("service", &["workload", "target"]),
    ("session-duration", &["idle"]),
    ("session_duration", &["idle"]),
    ("socket", &["url"]),
    ("upstream", &["workload"]),
    ("vm", &["target"]),
    ("vmid", &["target"]),
];

// === impl Key ===

/// A key that must be there.
pub(crate) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, presence: Presence::Required, doc }
}

/// A key that is `value` unless it is there.
pub(crate) const fn default(
    name: &'static str,
    kind: Kind,
    value: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, presence: Presence::Default(value), doc }
}

/// A key whose absence means something that no value says.
pub(crate) const fn optional(
    name: &'static str,
    kind: Kind,
    otherwise: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, presence: Presence::Otherwise(otherwise), doc }
}

// === impl Table ===

impl Table {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The key that has the meaning of `name` in other programs.
    pub(crate) fn synonym(&self, name: &str) -> Option<&'static str> {
        let (_, keys) = SYNONYMS.iter().find(|(other, _)| *other == name)?;
        keys.iter().find_map(|key| self.key(key)).map(|key| key.name)
    }

    /// The key that somebody who wrote `name` meant, if it can be guessed.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.keys.iter().map(|key| key.name))
    }
}

/// Returns the entry of `known` that was probably meant by `name`: a misspelling, a beginning, or the only
/// one that ends with it, as `max-held` for `held`.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let name = plain(name);
    let suffix = format!("-{name}");
    let mut endings = Vec::new();
    let candidates = known.into_iter().map(|key| {
        let held = plain(key);
        let singular = held.strip_suffix('s').unwrap_or(&held);
        if held.ends_with(&suffix) || singular.ends_with(&suffix) {
            endings.push(key);
        }
        let distance = match held == name || singular == name {
            true => 0,
            false => strsim::damerau_levenshtein(&held, &name),
        };
        let begins = name.len() >= 3 && (held.starts_with(&name) || name.starts_with(&held));
        (distance, begins, key)
    });
    let near = candidates
        .filter(|(distance, begins, _)| *distance <= (name.chars().count() / 3).max(1) || *begins)
        .min_by_key(|(distance, begins, _)| (*distance, !*begins))
        .map(|(_, _, key)| key);
    match (near, endings.as_slice()) {
        (None, [only]) => Some(only),
        (near, _) => near,
    }
}

// === impl Kind ===

impl Kind {
    /// The word in the reference.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Value { word, .. } => word,
            Self::Choice(_) => "choice",
            Self::Table(_) => "table",
            Self::Named(_) => "named tables",
            Self::Tables(_) => "list of tables",
        }
    }

    /// How an error names what should have been there.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Value { expected, .. } => expected.to_owned(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match words.as_slice() {
                    [only] => only.clone(),
                    [first @ .., last] => format!("{} or {last}", first.join(", ")),
                    [] => "nothing".to_owned(),
                }
            }
            Self::Table(table) | Self::Named(table) | Self::Tables(table) => {
                format!("the table {}", table.title)
            }
        }
    }
}
