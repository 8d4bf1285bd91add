//! What a plugin says of itself, and whether that makes sense.

use std::collections::BTreeSet;

use drowse_core::Ability;
use semver::Version;
use serde_json::Value;

use crate::{
    report::{End, Outcome, ensure},
    schema,
};

/// Longest name of a plugin.
const NAME: usize = 64;

/// What a plugin says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it says that it can do besides start, stop and status.
    pub abilities: Vec<Ability>,
    /// The interfaces of the contract that it imports: `http`, `events`; absent where the runtime
    /// cannot know.
    pub imports: Option<BTreeSet<String>>,
    /// The endpoints, commands and networks that it asks for.
    pub wishes: Vec<Wish>,
    /// What is wrong with its wishes as grants that an operator would write.
    pub flaws: Vec<String>,
    /// JSON Schema of its settings.
    pub settings_schema: Value,
    /// JSON Schema of a target's settings.
    pub target_schema: Value,
}

/// What a plugin asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The name by which it calls it.
    pub name: String,
    /// The interfaces through which it does: `http`, `grpc`, `udp`, `command`, `network`.
    pub interfaces: BTreeSet<&'static str>,
    /// It works without.
    pub optional: bool,
}

// === impl About ===

impl About {
    pub(crate) fn can(&self, ability: Ability) -> bool {
        self.abilities.contains(&ability)
    }

    /// It cannot do anything before something is granted.
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
            Err(error) => Err(End::failed(
                "a version by semantic versioning, such as 0.1.0",
                format!("{:?}: {error}", self.version),
            )),
        }
    }

    pub(crate) fn check_schemas(&self) -> Outcome {
        for (of, held) in self.schemas() {
            if let Some(flaw) = schema::flaw(held) {
                return Err(End::failed(format!("JSON Schema (2020-12) of {of}"), flaw));
            }
        }
        Ok(None)
    }

    pub(crate) fn check_closed(&self) -> Outcome {
        for (of, held) in self.schemas() {
            let expected =
                format!("a schema of {of} that refuses unknown keys: additionalProperties = false");
            ensure(schema::is_closed(held), expected, || "one that lets them pass".to_owned())?;
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
            ensure(seen.insert((kind, &wish.name)), format!("each {kind} once"), || {
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
            return Err(End::Skipped("what runs this plugin does not tell its imports".to_owned()));
        };
        if self.can(Ability::Watch) {
            ensure(
                imports.contains("events"),
                "ability `watch` goes with import `events`",
                || "ability `watch` without import `events`: it could report nothing".to_owned(),
            )?;
        }
        for interface in ["http", "grpc", "udp", "command", "network"] {
            let asks = self.wishes.iter().find(|wish| wish.interfaces.contains(interface));
            let expected = format!("import `{interface}` goes with wishes for it");
            match (asks, imports.contains(interface)) {
                (Some(wish), false) => {
                    let came = format!("wish {:?} without import `{interface}`", wish.name);
                    return Err(End::failed(expected, came));
                }
                (None, true) => {
                    let came = format!(
                        "import `{interface}`, and `describe` names nothing that is called by it"
                    );
                    return Err(End::failed(expected, came));
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
