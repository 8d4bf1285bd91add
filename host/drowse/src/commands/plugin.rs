//! `drowse plugin`: list, inspect, and in modules of their own test and new.

pub(crate) mod new;
pub(crate) mod trial;

use std::path::Path;

use drowse_core::Ability;
use drowse_plugins::{Kind, PluginInfo};
use serde::Serialize;

use crate::{
    cli::ConfigFile,
    commands::{plugins, runtime},
    error::Error,
    grants, locate,
    output::{Output, Tone},
    table::{Cell, Table},
};

/// What an operator must know of a dynamic library.
const TRUSTED: &str = "dylib    trusted code without a sandbox: it can do whatever the router can; \
                       limits.memory and limits.cpu,\n         endpoints and commands bind what it \
                       asks of the router, not what it does by itself";

#[derive(Serialize)]
struct Listed {
    name: String,
    #[serde(flatten)]
    info: Option<PluginInfo>,
    problem: Option<String>,
}

pub(crate) fn list(config: &ConfigFile, output: &Output) -> Result<(), Error> {
    let paths = locate::paths(config)?;
    let dir = paths.plugins.clone();
    let runtime = runtime()?;
    let listed = runtime.block_on(async {
        let plugins = plugins(paths, runtime.handle())?;
        let listed = plugins.list().await;
        plugins.shutdown().await;
        Ok::<_, Error>(listed)
    })?;
    let rows: Vec<Listed> = listed
        .into_iter()
        .map(|(name, found)| match found {
            Ok(mut info) => {
                // One `name` in the object: the one that a provider refers to.
                info.name.clone_from(&name);
                Listed { name, info: Some(info), problem: None }
            }
            Err(problem) => Listed { name, info: None, problem: Some(problem) },
        })
        .collect();
    let value: Vec<_> = rows.iter().map(object).collect::<Result<_, _>>()?;
    output.answer(&value, |output| listing(&rows, &dir, output))
}

pub(crate) fn inspect(reference: &str, config: &ConfigFile, output: &Output) -> Result<(), Error> {
    let paths = locate::paths(config)?;
    let reference = named(reference);
    let runtime = runtime()?;
    let info = runtime.block_on(async {
        let plugins = plugins(paths, runtime.handle())?;
        let info = plugins.inspect(&reference).await.map_err(Error::new);
        plugins.shutdown().await;
        info
    })?;
    output.answer(&info, |output| sheet(&info, output))
}

/// A plugin as it was named on the command line: a file beside us goes before a name.
fn named(reference: &str) -> String {
    if Path::new(reference).is_file() && !reference.contains('/') {
        format!("./{reference}")
    } else {
        reference.to_owned()
    }
}

fn kind(kind: Kind) -> Cell {
    match kind {
        Kind::Component => Cell::from("component"),
        Kind::Dylib => Cell::from("dylib").in_tone(Tone::Bad),
    }
}

fn object(listed: &Listed) -> Result<serde_json::Value, Error> {
    let value = match &listed.info {
        Some(info) => serde_json::to_value(info),
        None => serde_json::to_value(listed),
    };
    value.map_err(Error::new)
}

fn listing(rows: &[Listed], dir: &Path, output: &Output) -> String {
    let dir = dir.display();
    if rows.is_empty() {
        return format!("No plugins: none in the box, none in {dir}.");
    }
    let mut table = Table::new(&["PLUGIN", "VERSION", "KIND", "FROM", "WHAT IT DOES"]);
    let mut problems = String::new();
    for row in rows {
        match &row.info {
            Some(info) => table.row([
                Cell::from(&row.name),
                Cell::from(&info.version),
                kind(info.kind),
                Cell::from(&info.origin),
                Cell::from(&info.summary),
            ]),
            None => table.row([
                Cell::from(&row.name),
                Cell::from("-"),
                Cell::from("-"),
                Cell::from("-"),
                Cell::from("cannot be used, see below").in_tone(Tone::Bad),
            ]),
        }
        if let Some(problem) = &row.problem {
            problems.push_str(&format!("\n{}: {problem}\n", row.name));
        }
    }
    format!("{}{problems}\nMore are looked for in {dir}.", table.render(output))
}

fn sheet(info: &PluginInfo, output: &Output) -> String {
    let title = |text: &str| format!("\n{}\n", output.paint(text, Tone::Title));
    let mut text = format!(
        "{} {}, for contract {}\n{}\n",
        output.paint(&info.name, Tone::Title),
        info.version,
        info.contract,
        info.summary
    );
    text.push_str(&format!(
        "\nfrom     {}, {} KiB\nsha256   {}\n",
        info.origin,
        info.size.div_ceil(1024),
        info.digest
    ));
    let every = ["start", "stop", "status"].map(str::to_owned).into_iter();
    let abilities: Vec<_> = every.chain(info.abilities.iter().map(ability)).collect();
    text.push_str(&format!("can      {}\n", abilities.join(", ")));
    text.push_str(&match info.kind {
        Kind::Component => format!("imports  {}\n", info.imports.join("\n         ")),
        Kind::Dylib => format!("{}\n", output.paint(TRUSTED, Tone::Bad)),
    });

    if !info.endpoints.is_empty() {
        text.push_str(&title("Endpoints it asks for"));
    }
    for wish in &info.endpoints {
        let optional = if wish.optional { " (works without it)" } else { "" };
        text.push_str(&format!("  {}{optional}: {}\n", wish.name, wish.purpose));
        if let Some(url) = &wish.suggested_url {
            text.push_str(&format!("    usually at {url}\n"));
        }
        if wish.wants_datagrams() {
            text.push_str("    datagrams, which have no rules\n");
        }
        for rule in &wish.rules {
            text.push_str(&format!("    {rule}\n"));
        }
    }
    if !info.commands.is_empty() {
        text.push_str(&title("Commands it asks for"));
    }
    for wish in &info.commands {
        let optional = if wish.optional { " (works without it)" } else { "" };
        let name = if wish.name == "*" { "any that is granted" } else { &wish.name };
        text.push_str(&format!("  {name}{optional}: {}\n", wish.purpose));
    }
    for (heading, schema) in [
        ("Settings of a provider", &info.settings_schema),
        ("Settings of a workload", &info.target_schema),
    ] {
        text.push_str(&title(heading));
        let properties = grants::properties(schema);
        if properties.is_empty() {
            text.push_str("  none\n");
        }
        for (name, line) in properties {
            text.push_str(&format!("  {name}: {line}\n"));
        }
    }
    text
}

/// An ability's word.
pub(crate) fn ability(ability: &Ability) -> String {
    match serde_json::to_value(ability) {
        Ok(serde_json::Value::String(word)) => word,
        _ => format!("{ability:?}"),
    }
}
