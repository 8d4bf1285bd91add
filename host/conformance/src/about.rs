//! A plugin's description of itself, and checks of its consistency.

use std::collections::BTreeSet;

use drowse_core::Ability;
use semver::Version;
use serde_json::Value;

use crate::{
    report::{NotPassed, Outcome, ensure},
    schema,
};

/// Maximum length of a plugin name, in bytes.
const NAME: usize = 64;

/// A plugin's description of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Name.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// Declared abilities besides start, stop and status.
    pub abilities: Vec<Ability>,
    /// Imported interfaces of the contract, such as `http` and `events`; None if the runtime cannot
    /// see the imports.
    pub imports: Option<BTreeSet<String>>,
    /// Endpoints, commands and networks that the plugin requests.
    pub wishes: Vec<Wish>,
    /// Errors found when the wishes are written as grants in a configuration file.
    pub flaws: Vec<String>,
    /// JSON Schema of the provider's settings.
    pub settings_schema: Value,
    /// JSON Schema of a target's settings.
    pub target_schema: Value,
}

/// An endpoint, command or network that a plugin requests.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Name that the plugin uses in its calls.
    pub name: String,
    /// Interfaces that the plugin uses with it: `http`, `grpc`, `udp`, `command`, `network`.
    pub interfaces: BTreeSet<&'static str>,
    /// The plugin works without it.
    pub optional: bool,
}

// === impl About ===

impl About {
    pub(crate) fn can(&self, ability: Ability) -> bool {
        self.abilities.contains(&ability)
    }

    /// The plugin has at least one wish that is not optional.
    pub(crate) fn needs_grants(&self) -> bool {
        self.wishes.iter().any(|wish| !wish.optional)
    }

    pub(crate) fn check_name(&self) -> Outcome {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let begins = self.name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let fits = begins && self.name.len() <= NAME && self.name.chars().all(plain);
        let expected = "at most 64 lower-case letters, digits, `-`, `_` and `.`, beginning with a \
                        letter or digit";
        ensure(fits, expected, || format!("{:?}", self.name)).map(|()| None)
    }

    pub(crate) fn check_version(&self) -> Outcome {
        match Version::parse(&self.version) {
            Ok(_) => Ok(None),
            Err(error) => Err(NotPassed::failed(
                "a version by semantic versioning, such as 0.1.0",
                format!("{:?}: {error}", self.version),
            )),
        }
    }

    pub(crate) fn check_schemas(&self) -> Outcome {
        for (of, held) in self.schemas() {
            if let Some(flaw) = schema::flaw(held) {
                return Err(NotPassed::failed(format!("JSON Schema (2020-12) of {of}"), flaw));
            }
        }
        Ok(None)
    }

    pub(crate) fn check_closed(&self) -> Outcome {
        for (of, held) in self.schemas() {
            let expected =
                format!("a schema of {of} that refuses unknown keys: additionalProperties = false");
            ensure(schema::is_closed(held), expected, || "unknown keys are allowed".to_owned())?;
        }
        Ok(None)
    }

    pub(crate) fn check_wishes(&self) -> Outcome {
        let mut seen = BTreeSet::new();
        for wish in &self.wishes {
            let own = ["command", "network"].into_iter();
            let mut own = own.filter(|kind| wish.interfaces.contains(kind));
            let kind = own.next().unwrap_or("endpoint");
            ensure(!wish.name.is_empty(), format!("{kind}s with names"), || "none".to_owned())?;
            ensure(seen.insert((kind, &wish.name)), format!("each {kind} listed once"), || {
                format!("{kind} {:?} twice", wish.name)
            })?;
        }
        ensure(self.flaws.is_empty(), "wishes that can be written as grants", || {
            self.flaws.join("; ")
        })
        .map(|()| None)
    }

    pub(crate) fn check_imports(&self) -> Outcome {
        let Some(imports) = &self.imports else {
            return Err(NotPassed::Skipped(
                "the runtime of this plugin cannot list its imports".to_owned(),
            ));
        };
        if self.can(Ability::Watch) {
            ensure(
                imports.contains("events"),
                "ability `watch` goes with import `events`",
                || "ability `watch` without import `events`, which reports changes".to_owned(),
            )?;
        }
        for interface in ["http", "grpc", "udp", "command", "network"] {
            let asks = self.wishes.iter().find(|wish| wish.interfaces.contains(interface));
            let expected = format!("import `{interface}` matches wishes for it");
            match (asks, imports.contains(interface)) {
                (Some(wish), false) => {
                    let actual = format!("wish {:?} without import `{interface}`", wish.name);
                    return Err(NotPassed::failed(expected, actual));
                }
                (None, true) => {
                    let actual =
                        format!("import `{interface}`, and `describe` lists no wish that uses it");
                    return Err(NotPassed::failed(expected, actual));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn schemas(&self) -> [(&'static str, &Value); 2] {
        [("the settings", &self.settings_schema), ("a target's settings", &self.target_schema)]
    }
}
