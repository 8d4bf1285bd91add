//! `drowse plugin`: list and inspect; its modules are test and new.

pub(crate) mod new;
pub(crate) mod trial;

use std::path::Path;

use drowse_config::Paths;
use drowse_core::Ability;
use drowse_plugins::{ListedPlugin, PluginInfo, PluginKind, Verdict, VerificationResult};
use serde::Serialize;

use crate::{
    cli::ConfigFile,
    commands::{plugins, runtime},
    error::Error,
    grants, locate,
    output::{Output, Tone},
    table::{Cell, Table},
};

/// Warning about a dynamic library.
const TRUSTED: &str = "dylib    trusted code without a sandbox: it can do whatever the router can; \
                       limits.memory and limits.cpu-time,\n         endpoints and commands apply to its \
                       calls of the router, not to its own code";

/// A plugin for `--json`.
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    info: Option<PluginInfo>,
    #[serde(flatten)]
    verification: Option<VerificationResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
    let rows: Vec<Row> = listed.iter().cloned().map(Row::of).collect();
    output.answer(&rows, |output| listing(&listed, &dir, output))
}

pub(crate) fn inspect(reference: &str, config: &ConfigFile, output: &Output) -> Result<(), Error> {
    let (reference, paths) = inspected(reference, locate::paths(config)?);
    let runtime = runtime()?;
    let info = runtime.block_on(async {
        let plugins = plugins(paths, runtime.handle())?;
        let info = plugins.inspect(&reference).await.map_err(Error::new);
        plugins.shutdown().await;
        info
    })?;
    output.answer(&info, |output| sheet(&info, output))
}

/// The reference of a plugin on the command line: a file in the working directory takes precedence over
/// a name.
pub(super) fn named(reference: &str) -> String {
    if Path::new(reference).is_file() && !reference.contains('/') {
        format!("./{reference}")
    } else {
        reference.to_owned()
    }
}

/// The reference and the paths to inspect a plugin: only what a router would refuse is refused. A file in
/// the plugin directory is referred to by its name.
fn inspected(reference: &str, mut paths: Paths) -> (String, Paths) {
    let reference = named(reference);
    if !reference.contains('/') {
        return (reference, paths);
    }
    if let Some(name) = name_in(&paths.plugins, Path::new(&reference)) {
        return (name, paths);
    }
    paths.trust = paths.trust.for_path(&reference);
    (reference, paths)
}

/// The name by which a router finds this file in the plugin directory, if it does.
fn name_in(directory: &Path, file: &Path) -> Option<String> {
    let file = file.canonicalize().ok()?;
    let directory = directory.canonicalize().ok()?;
    let name = file.file_stem().filter(|_| file.parent() == Some(&directory))?.to_str()?;
    let found = ["wasm", "so"].map(|end| directory.join(format!("{name}.{end}")));
    (found.into_iter().find(|path| path.exists())? == file).then(|| name.to_owned())
}

// === impl Row ===

impl Row {
    fn of(listed: ListedPlugin) -> Self {
        let ListedPlugin { name, verification, info } = listed;
        match info {
            // The object has one `name`: that of the file, which a provider refers to.
            Ok(info) => Self {
                name: None,
                info: Some(PluginInfo { name, ..info }),
                verification,
                problem: None,
            },
            Err(problem) => {
                Self { name: Some(name), info: None, verification, problem: Some(problem) }
            }
        }
    }
}

/// The verification result in a word or two.
fn verified(verification: Option<&VerificationResult>) -> Cell {
    let Some(VerificationResult { lock, signature }) = verification else { return Cell::from("-") };
    let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
    if refused(lock) || refused(signature) {
        let by = if refused(lock) { "refused by lock" } else { "refused by key" };
        return Cell::from(by).in_tone(Tone::Bad);
    }
    match [lock, signature].map(|verdict| matches!(verdict, Verdict::Verified(_))) {
        [true, true] => Cell::from("lock, key"),
        [true, false] => Cell::from("lock"),
        [false, true] => Cell::from("key"),
        [false, false] => Cell::from("-"),
    }
}

fn kind(kind: PluginKind) -> Cell {
    match kind {
        PluginKind::Component => Cell::from("component"),
        PluginKind::Dylib => Cell::from("dylib").in_tone(Tone::Bad),
    }
}

fn listing(listed: &[ListedPlugin], dir: &Path, output: &Output) -> String {
    let dir = dir.display();
    if listed.is_empty() {
        return format!("No plugins: none bundled, none in {dir}.");
    }
    let mut table =
        Table::new(&["PLUGIN", "VERSION", "KIND", "FROM", "VERIFIED BY", "WHAT IT DOES"]);
    let mut problems = String::new();
    for ListedPlugin { name, verification, info } in listed {
        let verified = verified(verification.as_ref());
        match info {
            Ok(info) => table.row([
                Cell::from(name),
                Cell::from(&info.version),
                kind(info.kind),
                Cell::from(&info.origin),
                verified,
                Cell::from(&info.summary),
            ]),
            Err(problem) => {
                table.row([
                    Cell::from(name),
                    Cell::from("-"),
                    Cell::from("-"),
                    Cell::from("-"),
                    verified,
                    Cell::from("cannot be used, see below").in_tone(Tone::Bad),
                ]);
                problems.push_str(&format!("\n{name}: {problem}\n"));
            }
        }
    }
    format!("{}{problems}\nYour own plugins belong in {dir}.", table.render(output))
}

/// The name of a command or network.
fn any(name: &str) -> &str {
    if name == "*" { "any that is granted" } else { name }
}

/// The first line about a requirement of a plugin.
fn requirement(name: &str, purpose: &str, optional: bool) -> String {
    let optional = if optional { " (works without it)" } else { "" };
    format!("  {name}{optional}: {purpose}\n")
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
        PluginKind::Component => format!("imports  {}\n", info.imports.join("\n         ")),
        PluginKind::Dylib => format!("{}\n", output.paint(TRUSTED, Tone::Bad)),
    });

    if !info.endpoints.is_empty() {
        text.push_str(&title("Endpoints it asks for"));
    }
    for wish in &info.endpoints {
        text.push_str(&requirement(&wish.name, &wish.purpose, wish.optional));
        if let Some(url) = &wish.suggested_url {
            text.push_str(&format!("    usually at {url}\n"));
        }
        if wish.wants_datagrams() {
            text.push_str("    datagrams, which have no rules\n");
        }
        if !wish.rules_follow.is_empty() {
            let settings = wish.rules_follow.join("`, `");
            text.push_str(&format!("    as the settings `{settings}` require; without them:\n"));
        }
        for rule in &wish.rules {
            text.push_str(&format!("    {rule}\n"));
        }
    }
    if !info.commands.is_empty() {
        text.push_str(&title("Commands it asks for"));
    }
    for wish in &info.commands {
        text.push_str(&requirement(any(&wish.name), &wish.purpose, wish.optional));
    }
    if !info.networks.is_empty() {
        text.push_str(&title("Networks it asks for"));
    }
    for wish in &info.networks {
        text.push_str(&requirement(any(&wish.name), &wish.purpose, wish.optional));
        if let Some(setting) = &wish.setting {
            text.push_str(&format!("    named by the setting `{setting}`\n"));
        }
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

/// The name of an ability.
pub(crate) fn ability(ability: &Ability) -> String {
    match serde_json::to_value(ability) {
        Ok(serde_json::Value::String(word)) => word,
        _ => format!("{ability:?}"),
    }
}
