//! `drowse plugin list` and `drowse plugin inspect`.

use std::path::Path;

use anyhow::{Result, anyhow};
use drowse_plugins::PluginInfo;
use serde_json::json;

use crate::{
    home,
    output::{self, Table},
};

pub(crate) fn list(config: Option<&Path>, json: bool) -> Result<()> {
    let runtime = home::runtime()?;
    let plugins = home::plugins_anywhere(config, &runtime)?;
    let listed = runtime.block_on(plugins.list());
    if json {
        let rows: Vec<_> = listed
            .iter()
            .map(|(name, found)| match found {
                Ok(info) => json!({ "name": name, "plugin": info }),
                Err(cause) => json!({ "name": name, "error": cause }),
            })
            .collect();
        return output::json(&rows);
    }
    let mut table = Table::new(&["NAME", "VERSION", "FROM", "WHAT"]);
    let mut causes = Vec::new();
    for (name, found) in listed {
        match found {
            Ok(info) => table.row([name, info.version, info.origin, info.summary]),
            Err(cause) => {
                table.row([name, "-".into(), "-".into(), "cannot be loaded".into()]);
                causes.push(cause);
            }
        }
    }
    table.print();
    for cause in causes {
        println!("\n! {cause}");
    }
    Ok(())
}

pub(crate) fn inspect(config: Option<&Path>, plugin: &str, json: bool) -> Result<()> {
    let runtime = home::runtime()?;
    let plugins = home::plugins_anywhere(config, &runtime)?;
    let info = runtime.block_on(plugins.inspect(plugin)).map_err(|cause| anyhow!(cause))?;
    if json {
        return output::json(&info);
    }
    for line in lines(&info) {
        println!("{line}");
    }
    Ok(())
}

fn lines(info: &PluginInfo) -> Vec<String> {
    let abilities: Vec<String> = info
        .abilities
        .iter()
        .filter_map(|ability| Some(serde_json::to_value(ability).ok()?.as_str()?.to_owned()))
        .collect();
    let mut lines = vec![
        format!("{} {}: {}", info.name, info.version, info.summary),
        format!("  from       {} ({} KiB)", info.origin, info.size.div_ceil(1024)),
        format!("  sha256     {}", info.digest),
        format!("  contract   drowse:provider@{}", info.contract),
        format!("  abilities  start, stop, status, {}", abilities.join(", ")),
        String::new(),
        "It can reach nothing but these, and each only when it is granted:".into(),
    ];
    lines.extend(info.imports.iter().map(|import| format!("  {import}")));
    if !info.endpoints.is_empty() || !info.commands.is_empty() {
        lines.push(String::new());
        lines.push("It asks for these grants:".into());
        lines.extend(grants(info).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// What a plugin wants, as TOML for its `[provider.…]` table.
pub(crate) fn grants(info: &PluginInfo) -> Vec<String> {
    let mut lines = Vec::new();
    for wish in &info.endpoints {
        lines.push(format!("# {}{}", wish.purpose, optional(wish.optional)));
        let url = wish.suggested_url.as_deref().unwrap_or("https://host:port");
        lines.push(format!("[provider.{}.endpoint.{}]", info.name, wish.name));
        lines.push(format!("url = {url:?}"));
        lines.push("rules = [".into());
        lines.extend(wish.rules.iter().map(|rule| format!("    {rule:?},")));
        lines.push("]".into());
    }
    for wish in &info.commands {
        let name = if wish.name == "*" { "NAME" } else { wish.name.as_str() };
        lines.push(format!("# {}{}", wish.purpose, optional(wish.optional)));
        lines.push(format!("# [provider.{}.command.{name}]", info.name));
        lines.push("# run = [\"/path/to/program\", \"--argument\"]".into());
    }
    lines
}

fn optional(optional: bool) -> &'static str {
    if optional { " (works without it)" } else { "" }
}
