//! Compares what a plugin requires with what it is granted.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use drowse_config::Item;
use drowse_core::Ability;
use drowse_plugins::{
    CommandWish, EndpointWish, NetworkWish, PluginInfo,
    grants::{Policy, Rule, USUAL_NETWORK, line_to_add, network_line, toml_key, toml_string},
    settings::{
        CommandGrant, EndpointGrant, NetworkGrant, ProviderSettings, Secret, Transport, Trust,
    },
};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// Requirements of the plugin that are not granted, each with the line to add.
pub(crate) fn missing(info: &PluginInfo, settings: &ProviderSettings) -> Vec<String> {
    let provider = toml_key(settings.name.as_str());
    let endpoints = info
        .endpoints
        .iter()
        .filter(|wish| !wish.optional && !settings.endpoints.contains_key(&wish.name))
        .map(|wish| ungranted(info, settings, wish));
    let commands = info.commands.iter().filter(|wish| !wish.optional).filter_map(|wish| {
        let granted = match wish.name.as_str() {
            "*" => !settings.commands.is_empty(),
            name => settings.commands.contains_key(name),
        };
        if granted {
            return None;
        }
        let name = if wish.name == "*" { "NAME".to_owned() } else { toml_key(&wish.name) };
        Some(format!(
            "plugin `{}` needs a command: {}; grant it with `command.{name} = {{ run = \
             [\"program\", \"argument\"] }}` in [provider.{provider}]",
            info.name,
            wish.purpose.trim_end_matches('.')
        ))
    });
    let named = missing_networks(info, settings, &settings.settings);
    let is_named = !named.is_empty();
    let networks = info.networks.iter().filter_map(|wish| {
        let granted = match wish.name.as_str() {
            // The missing network is reported by its name.
            "*" => !settings.networks.is_empty() || is_named,
            name => settings.networks.contains_key(name),
        };
        let name = if wish.name == "*" { "NAME" } else { &wish.name };
        (!wish.optional && !granted).then(|| unattached(info, settings, wish, name))
    });
    endpoints.chain(commands).chain(networks).chain(named).collect()
}

/// Networks that are named in settings of the provider or a workload and not granted.
pub(crate) fn missing_networks(
    info: &PluginInfo,
    settings: &ProviderSettings,
    naming: &Value,
) -> Vec<String> {
    let wishes = info.networks.iter();
    let named = wishes.flat_map(|wish| wish.named_in(naming).into_iter().map(move |it| (wish, it)));
    let missing = named.filter(|(_, name)| !settings.networks.contains_key(*name));
    missing.map(|(wish, name)| unattached(info, settings, wish, name)).collect()
}

fn unattached(
    info: &PluginInfo,
    settings: &ProviderSettings,
    wish: &NetworkWish,
    name: &str,
) -> String {
    format!(
        "plugin `{}` needs network `{}`: {}; grant it with `{}` in [provider.{}]",
        info.name,
        name.escape_debug(),
        one_line(wish.purpose.trim_end_matches('.')),
        network_line(name),
        toml_key(settings.name.as_str())
    )
}

/// The endpoint that an ability needs, if it is not granted: an optional one with the name of the ability.
pub(crate) fn missing_for(
    info: &PluginInfo,
    settings: &ProviderSettings,
    ability: Ability,
) -> Option<String> {
    let name = serde_json::to_value(ability).ok()?;
    let wish = info.endpoints.iter().find(|wish| Some(wish.name.as_str()) == name.as_str())?;
    let granted = settings.endpoints.contains_key(&wish.name);
    (!granted).then(|| ungranted(info, settings, wish))
}

fn ungranted(info: &PluginInfo, settings: &ProviderSettings, wish: &EndpointWish) -> String {
    let url = wish.suggested_url.as_deref().unwrap_or("…");
    format!(
        "plugin `{}` needs endpoint `{}`: {}; grant it with `endpoint.{} = {{ url = {} }}` in \
         [provider.{}]",
        info.name,
        wish.name,
        one_line(wish.purpose.trim_end_matches('.')),
        toml_key(&wish.name),
        toml_string(url),
        toml_key(settings.name.as_str())
    )
}

/// Warnings about a connection and its credentials on this machine.
fn connection_warnings(grant: &EndpointGrant) -> Vec<String> {
    let mut warnings = Vec::new();
    match &grant.transport {
        Transport::Unix(path) if !path.exists() => {
            warnings.push(format!("there is no socket {} now", path.display()));
        }
        Transport::Https { trust, identity, .. } => {
            let ca = if let Trust::Ca(path) = trust { Some(("ca", path)) } else { None };
            let own = identity.iter().flat_map(|it| [("cert", &it.certificate), ("key", &it.key)]);
            let warning =
                |(key, path): (&str, &PathBuf)| Some(format!("`{key}`: {}", unreadable(path)?));
            warnings.extend(ca.into_iter().chain(own).filter_map(warning));
        }
        _ => {}
    }
    for (header, secret) in &grant.headers {
        let why = match secret {
            Secret::Env { name, .. } if env::var_os(name).is_none() => {
                Some(format!("environment variable {name} is not set here"))
            }
            Secret::File { path, .. } => unreadable(path),
            _ => None,
        };
        warnings.extend(why.map(|why| format!("header `{header}`: {why}")));
    }
    warnings
}

/// Rules of a grant that are missing or allow too much.
fn open_rules(
    info: &PluginInfo,
    settings: &ProviderSettings,
    wish: &EndpointWish,
    grant: &EndpointGrant,
    warnings: &mut Vec<String>,
) {
    let own = settings.settings.as_object().into_iter().flat_map(|held| held.keys());
    let followed = own.filter(|key| wish.rules_follow.contains(key)).collect::<Vec<_>>();
    if let (None, Some(setting)) = (&grant.rules, followed.first()) {
        let rules: Vec<_> = wish.rules.iter().map(|rule| toml_string(rule)).collect();
        warnings.push(format!(
            "its requests depend on the setting `{setting}`, and it has no `rules`, so those apply that \
             plugin `{}` requires without the setting; write yours in \
             [provider.{}.endpoint.{}]: rules = [{}]",
            info.name,
            toml_key(settings.name.as_str()),
            toml_key(&wish.name),
            rules.join(", "),
        ));
    }
    if grant.headers.is_empty() && grant.token.is_none() {
        return;
    }
    let rules = grant.rules.as_ref().unwrap_or(&wish.rules).iter();
    let open = rules.filter(|rule| rule.parse().is_ok_and(|rule: Rule| rule.allows_any_query()));
    warnings.extend(open.map(|rule| {
        format!(
            "the router adds credentials there, and rule {rule:?} lets any query pass with them; \
             replace `?*` by the required keys, such as `?limit=*&type=vm`"
        )
    }));
}

/// Rules that the plugin requires and the grant lacks. That may be intended: requests that need them are
/// refused. Unknown if they depend on a setting that is written.
fn fewer_rules(
    info: &PluginInfo,
    settings: &ProviderSettings,
    wish: &EndpointWish,
    grant: &EndpointGrant,
) -> Option<String> {
    if wish.rules_follow.iter().any(|setting| settings.settings.get(setting).is_some()) {
        return None;
    }
    let parse = |rules: &[String]| rules.iter().filter_map(|rule| rule.parse().ok()).collect();
    let policy = Policy::new(Some(parse(grant.rules.as_ref()?)), Some(parse(&wish.rules)));
    let lacks: Vec<&Rule> = policy.lacks().collect();
    (!lacks.is_empty()).then(|| {
        format!(
            "plugin `{}` asks for rules that are not granted, and requests that need them are refused: \
             {}",
            info.name,
            line_to_add(settings.name.as_str(), &wish.name, &lacks)
        )
    })
}

/// Grants that look wrong on this machine, each with the item that it is about. They may be right where
/// the router runs.
pub(crate) fn warnings(info: &PluginInfo, settings: &ProviderSettings) -> Vec<(Item, String)> {
    let provider = &settings.name;
    let mut warnings = Vec::new();
    for (name, grant) in &settings.endpoints {
        let item = Item::Endpoint(provider.clone(), name.clone());
        let found = endpoint_warnings(info, settings, name, grant).into_iter();
        warnings.extend(found.map(|why| (item.clone(), format!("endpoint `{name}`: {why}"))));
    }
    for (name, grant) in &settings.commands {
        let item = Item::Command(provider.clone(), name.clone());
        let found = command_warnings(info, name, grant).into_iter();
        warnings.extend(found.map(|why| (item.clone(), format!("command `{name}`: {why}"))));
    }
    for (name, grant) in &settings.networks {
        let item = Item::Network(provider.clone(), name.clone());
        let found = network_warnings(info, name, grant).into_iter();
        warnings.extend(found.map(|why| (item.clone(), format!("network `{name}`: {why}"))));
    }
    warnings
}

fn endpoint_warnings(
    info: &PluginInfo,
    settings: &ProviderSettings,
    name: &str,
    grant: &EndpointGrant,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let (plugin, datagrams) = (&info.name, matches!(grant.transport, Transport::Udp { .. }));
    match info.endpoints.iter().find(|wish| wish.name == name) {
        None => warnings.push(format!("plugin `{plugin}` does not use it")),
        Some(wish) if wish.wants_datagrams() && !datagrams => warnings.push(format!(
            "plugin `{plugin}` sends datagrams there; its url should begin with `udp://`"
        )),
        Some(wish) if !wish.wants_datagrams() && datagrams => warnings.push(format!(
            "plugin `{plugin}` sends HTTP requests there, and its url is for datagrams"
        )),
        Some(wish) => {
            warnings.extend(fewer_rules(info, settings, wish, grant));
            open_rules(info, settings, wish, grant, &mut warnings);
        }
    }
    warnings.extend(connection_warnings(grant));
    if let Some(token) = &grant.token {
        let found = connection_warnings(token).into_iter();
        warnings.extend(found.map(|why| format!("`token`: {why}")));
    }
    warnings
}

fn command_warnings(info: &PluginInfo, name: &str, grant: &CommandGrant) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(path) = grant.directory.as_ref().filter(|path| !path.is_dir()) {
        warnings.push(format!("there is no directory {} now", path.display()));
    }
    if let Some(path) = grant.limits.cgroup.as_ref().filter(|path| !path.is_dir()) {
        warnings.push(format!("there is no cgroup {} now", path.display()));
    }
    if grant.limits.processes.is_some() && rustix::process::geteuid().is_root() {
        warnings.push(
            "`limits.processes` does not apply to root, so the program is not started; set \
             pids.max in a cgroup and name that as `limits.cgroup`"
                .to_owned(),
        );
    }
    if !info.commands.iter().any(|wish| wish.name == "*" || wish.name == name) {
        warnings.push(format!("plugin `{}` does not use it", info.name));
    }
    warnings
}

fn network_warnings(info: &PluginInfo, name: &str, grant: &NetworkGrant) -> Vec<String> {
    let mut warnings = Vec::new();
    if !info.networks.iter().any(|wish| wish.name == "*" || wish.name == name) {
        warnings.push(format!("plugin `{}` does not use it", info.name));
    }
    warnings.extend(unreadable(&grant.config));
    if !grant.plugins.iter().any(|directory| directory.is_dir()) {
        warnings.push("none of the directories in `plugin-dirs` exists".to_owned());
    }
    warnings
}

/// Writes the endpoints that a plugin requires as grants in TOML, for the operator to review.
pub(crate) fn write(provider: &str, wishes: &[EndpointWish], toml: &mut String) {
    // Writing to a string cannot fail.
    for wish in wishes {
        let comment =
            |line: &str| if wish.optional { format!("# {line}") } else { line.to_owned() };
        let _ = writeln!(toml, "\n# {}", one_line(&wish.purpose));
        if wish.optional {
            let _ = writeln!(toml, "# The plugin works without it.");
        }
        let title = format!("[provider.{}.endpoint.{}]", toml_key(provider), toml_key(&wish.name));
        let url = wish.suggested_url.as_deref().unwrap_or("https://host.example:443");
        let _ = writeln!(toml, "{}", comment(&title));
        let _ = writeln!(toml, "{}", comment(&format!("url = {}", toml_string(url))));
        if wish.rules.is_empty() {
            continue;
        }
        let _ = writeln!(toml, "# The only requests it may send; take out what it shall not do.");
        let _ = writeln!(toml, "{}", comment("rules = ["));
        for rule in &wish.rules {
            let _ = writeln!(toml, "{}", comment(&format!("    {},", toml_string(rule))));
        }
        let _ = writeln!(toml, "{}", comment("]"));
    }
}

/// Writes the commands that a plugin requires as grants in TOML, to be filled in.
pub(crate) fn write_commands(provider: &str, wishes: &[CommandWish], toml: &mut String) {
    for wish in wishes {
        let name = if wish.name == "*" { "NAME".to_owned() } else { toml_key(&wish.name) };
        // Writing to a string cannot fail.
        let _ = writeln!(toml, "\n# {}", one_line(&wish.purpose));
        let _ = match wish.optional {
            true => writeln!(toml, "# The plugin works without it."),
            false => writeln!(toml, "# It does not work without it: put your program in."),
        };
        let comment = if wish.optional { "# " } else { "" };
        let _ = writeln!(toml, "{comment}[provider.{}.command.{name}]", toml_key(provider));
        let _ = writeln!(toml, "{comment}run = [\"/path/to/program\", \"argument\"]");
    }
}

/// Writes the networks that a plugin requires as grants in TOML, to be filled in.
pub(crate) fn write_networks(provider: &str, wishes: &[NetworkWish], toml: &mut String) {
    for wish in wishes {
        let name = if wish.name == "*" { "NAME".to_owned() } else { toml_key(&wish.name) };
        // Writing to a string cannot fail.
        let _ = writeln!(toml, "\n# {}", one_line(&wish.purpose));
        if let Some(setting) = &wish.setting {
            let _ = writeln!(toml, "# The setting `{}` says which one it is.", toml_key(setting));
        }
        let comment = if wish.optional { "# " } else { "" };
        let _ = writeln!(toml, "{comment}[provider.{}.network.{name}]", toml_key(provider));
        let _ = writeln!(toml, "{comment}config = {}", toml_string(USUAL_NETWORK));
    }
}

/// Writes the settings of a schema as keys of the preceding table; required ones get a value to replace.
pub(crate) fn write_settings(schema: &Value, toml: &mut String) {
    for (name, line) in properties(schema) {
        let key = toml_key(&name);
        // Writing to a string cannot fail.
        let _ = writeln!(toml, "# settings.{key}: {line}");
        if !required(schema).any(|required| required == name) {
            continue;
        }
        let value = match schema["properties"][&name]["type"].as_str() {
            Some("integer" | "number") => "1",
            Some("boolean") => "false",
            Some("array") => "[]",
            Some("object") => "{}",
            _ => "\"put yours here\"",
        };
        let _ = writeln!(toml, "settings.{key} = {value}");
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unreadable(path: &Path) -> Option<String> {
    fs::File::open(path).err().map(|error| format!("cannot read {}: {error}", path.display()))
}

/// The required properties of a JSON Schema.
fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let held = schema.get("required").and_then(|held| held.as_array());
    held.into_iter().flatten().filter_map(|name| name.as_str())
}

/// Properties of a JSON Schema for people: name → what it takes and means.
pub(crate) fn properties(schema: &Value) -> BTreeMap<String, String> {
    let Some(properties) = schema.get("properties").and_then(|held| held.as_object()) else {
        return BTreeMap::new();
    };
    properties
        .iter()
        .map(|(name, property)| {
            let word = |key: &str| property.get(key).and_then(|held| held.as_str());
            let mut line = takes(schema, property, 0);
            if required(schema).any(|required| required == name) {
                line.push_str(", required");
            }
            if let Some(default) = property.get("default").filter(|held| !held.is_null()) {
                let _ = write!(line, ", default {default}");
            }
            if let Some(description) = word("description") {
                let _ = write!(line, ": {}", one_line(description));
            }
            (name.clone(), line)
        })
        .collect()
}

/// The type of a property, in words.
fn takes(schema: &Value, property: &Value, depth: usize) -> String {
    let words = |held: &Value| {
        let held = held.as_array().into_iter().flatten();
        held.filter(|word| !word.is_null()).map(Value::to_string).collect::<Vec<_>>()
    };
    if let Some(choices) = property.get("enum") {
        return words(choices).join(" or ");
    }
    if let Some(only) = property.get("const") {
        return only.to_string();
    }
    let parts = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| property.get(key)?.as_array());
    // A schema may refer to itself, so the depth is limited.
    if depth < 4 {
        let referred = property.get("$ref").and_then(Value::as_str);
        if let Some(held) = referred.and_then(|path| schema.pointer(path.strip_prefix('#')?)) {
            return takes(schema, held, depth + 1);
        }
        if let Some(parts) = parts {
            let all = parts.iter().filter(|part| part.get("type") != Some(&"null".into()));
            let all: Vec<_> = all.map(|part| takes(schema, part, depth + 1)).collect();
            return all.join(" or ");
        }
    }
    match property.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            kinds.filter(|kind| *kind != "null").collect::<Vec<_>>().join(" or ")
        }
        _ => "value".to_owned(),
    }
}
