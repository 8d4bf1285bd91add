//! Checks of a description.

use std::collections::BTreeSet;

use drowse_provider_rules::Rule;

use crate::{bindings::exports::drowse::provider::provider::Guest, glue::Glue, provider::Provider};

/// Panics with the errors of a provider's description: an invalid name, a rule that no host
/// understands, settings that accept unknown keys, a setting that does not exist.
pub fn check_description<P: Provider>() {
    let description = Glue::<P>::describe();
    let mut errors = Vec::new();
    if !is_name(&description.name) {
        errors.push(format!("name {:?}: lower-case words joined by `-`", description.name));
    }
    let numbers = description.version.split(['-', '+']).next().unwrap_or_default().split('.');
    if numbers.map(str::parse::<u64>).filter(Result::is_ok).count() != 3 {
        errors.push(format!("version {:?}: not by semantic versioning", description.version));
    }
    if description.summary.is_empty() || description.summary.contains('\n') {
        errors.push("summary: one sentence".to_owned());
    }
    let mut names = BTreeSet::new();
    for wish in &description.endpoints {
        if !is_name(&wish.name) || !names.insert(&wish.name) {
            errors.push(format!("endpoint {:?}: not a name, or not unique", wish.name));
        }
        if wish.purpose.is_empty() {
            errors.push(format!("endpoint {:?}: no purpose", wish.name));
        }
        if wish.wants_datagrams() {
            if !wish.rules.is_empty() {
                errors.push(format!("endpoint {:?}: datagrams have no rules", wish.name));
            }
        } else if wish.rules.is_empty() {
            errors.push(format!("endpoint {:?}: no rules, so nothing may be called", wish.name));
        }
        for rule in &wish.rules {
            if let Err(error) = rule.parse::<Rule>() {
                errors.push(format!("endpoint {:?}: {error}", wish.name));
            }
        }
    }
    for wish in &description.commands {
        if wish.name != "*" && !is_name(&wish.name) {
            errors.push(format!("command {:?}: not a name", wish.name));
        }
    }
    let mut settings = BTreeSet::new();
    for (of, schema) in
        [("settings", &description.settings_schema), ("target", &description.target_schema)]
    {
        match serde_json::from_str::<serde_json::Value>(schema) {
            Ok(schema) => {
                if schema["additionalProperties"] != false {
                    errors
                        .push(format!("{of}: unknown keys are accepted; add deny_unknown_fields"));
                }
                let properties = schema["properties"].as_object();
                settings.extend(
                    properties.into_iter().flat_map(|properties| properties.keys().cloned()),
                );
            }
            Err(error) => errors.push(format!("{of}: the schema is not JSON: {error}")),
        }
    }
    for wish in &description.networks {
        if wish.name != "*" && !is_name(&wish.name) {
            errors.push(format!("network {:?}: not a name", wish.name));
        }
        if let Some(setting) = wish.setting.as_ref().filter(|it| !settings.contains(*it)) {
            errors.push(format!("network {:?}: there is no setting {setting:?}", wish.name));
        }
    }
    assert!(errors.is_empty(), "the description of {:?}: {errors:#?}", description.name);
}

fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(word)
}
