//! `drowse plugin lock` and `drowse plugin verify`

use std::{collections::BTreeSet, path::Path};

use drowse_config::{Config, DefaultPaths, Paths};
use drowse_plugins::{Lock, LockFile, LockedPlugin, PluginInfo, Verdict, Verification};
use serde::Serialize;

use crate::{
    cli::ConfigFile,
    commands::{plugin, plugins, runtime},
    error::Error,
    locate,
    output::{Output, Tone},
    table::{Cell, Table},
};

/// A plugin and the result of its verification.
#[derive(Serialize)]
struct Checked {
    plugin: String,
    /// Neither the lock file nor a signature refuses it.
    ok: bool,
    #[serde(flatten)]
    found: Option<Verification>,
    /// Why the plugin cannot be used.
    problem: Option<String>,
}

/// The written lock file.
#[derive(Serialize)]
struct Written<'a> {
    lock: &'a Path,
    #[serde(flatten)]
    held: &'a Lock,
}

/// The paths of plugins and the trust policy, with the plugins in use.
struct Context {
    paths: Paths,
    /// The plugins of the providers.
    used: BTreeSet<String>,
}

pub(crate) fn lock(named: &[String], config: &ConfigFile, output: &Output) -> Result<(), Error> {
    let path = locate::config(config)?;
    let mut context =
        Context::of(&Config::load(&path, &DefaultPaths::of_this_user()).map_err(Error::new)?);
    // The present lock file must not refuse what is locked now.
    let Some(place) = context.paths.trust.lock.take() else {
        return Err(Error::new("this configuration has no place for a lock file"));
    };
    let before = place.read();
    // An unreadable lock file is replaced, but only as a whole.
    let before = match named {
        [] => before.unwrap_or_default(),
        _ => before.map_err(Error::new)?,
    };
    let before = before.unwrap_or_default();
    let mut held = if named.is_empty() { Lock::default() } else { before.clone() };
    let checked = check(&context, named)?;
    let mut problems = Vec::new();
    for plugin in checked {
        match (plugin.problem, plugin.found) {
            (Some(problem), _) => problems.push(problem),
            (None, Some(found)) => match found.verification.signature {
                Verdict::Refused(why) => {
                    problems.push(format!("plugin {}: it {why}", plugin.plugin));
                }
                _ => accept(&mut held, &place, place.name(&plugin.plugin), found.info),
            },
            (None, None) => {}
        }
    }
    if !problems.is_empty() {
        let problems = problems.join("\n\n");
        return Err(Error::new(format!("{problems}\n\nThe lock file was not changed.")));
    }
    place.write(&held).map_err(|error| {
        Error::new(format!("cannot write the lock file {}: {error}", place.file.display()))
    })?;
    let written = Written { lock: &place.file, held: &held };
    output.answer(&written, |output| changes(&before, &written, output))
}

pub(crate) fn verify(named: &[String], config: &ConfigFile, output: &Output) -> Result<(), Error> {
    let context = match locate::find(config) {
        Some(path) => {
            Context::of(&Config::load(&path, &DefaultPaths::of_this_user()).map_err(Error::new)?)
        }
        None if named.is_empty() => return Err(locate::missing()),
        None => Context::of_nothing(config)?,
    };
    let checked = check(&context, named)?;
    output.answer(&checked, |output| sheets(&checked, output))?;
    if checked.iter().all(|plugin| plugin.ok) { Ok(()) } else { Err(Error::printed()) }
}

// === impl Context ===

impl Context {
    fn of(config: &Config) -> Self {
        Self {
            paths: config.paths(),
            used: config.providers.iter().map(|provider| provider.plugin.clone()).collect(),
        }
    }

    /// The context without a configuration.
    fn of_nothing(config: &ConfigFile) -> Result<Self, Error> {
        let paths = locate::paths(config)?;
        Ok(Self { paths, used: BTreeSet::new() })
    }
}

/// Verifies these plugins, or those in use.
fn check(context: &Context, named: &[String]) -> Result<Vec<Checked>, Error> {
    let references: Vec<String> = match named {
        [] => context.used.iter().cloned().collect(),
        named => named.iter().map(|name| plugin::named(name)).collect(),
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        let plugins = plugins(context.paths.clone(), runtime.handle())?;
        let mut checked = Vec::with_capacity(references.len());
        for plugin in references {
            checked.push(match plugins.verify(&plugin).await {
                Ok(found) => Checked {
                    ok: found.verification.holds(),
                    plugin,
                    found: Some(found),
                    problem: None,
                },
                Err(problem) => Checked { ok: false, plugin, found: None, problem: Some(problem) },
            });
        }
        plugins.shutdown().await;
        Ok(checked)
    })
}

/// Adds a plugin to the lock file, or removes it if the bundled one is used.
fn accept(held: &mut Lock, place: &LockFile, name: String, info: PluginInfo) {
    if info.is_bundled() {
        held.forget(&name);
        return;
    }
    held.accept(LockedPlugin {
        name,
        origin: place.relative(info.origin.as_ref()),
        version: info.version,
        digest: info.digest,
        contract: info.contract,
    });
}

fn changes(before: &Lock, written: &Written<'_>, output: &Output) -> String {
    let mut table = Table::new(&["PLUGIN", "VERSION", "FROM", "SHA256", ""]);
    for held in &written.held.plugin {
        let old = before.plugin.iter().find(|old| old.name == held.name);
        let (word, tone) = match old {
            None => ("new".to_owned(), Tone::Good),
            Some(old) if old.digest == held.digest => ("as before".to_owned(), Tone::Quiet),
            Some(old) => (format!("was {} {}", old.version, old.digest), Tone::Busy),
        };
        table.row([
            Cell::from(&held.name),
            Cell::from(&held.version),
            Cell::from(&held.origin),
            Cell::from(&held.digest),
            Cell::from(word.as_str()).in_tone(tone),
        ]);
    }
    let gone = before
        .plugin
        .iter()
        .filter(|old| !written.held.plugin.iter().any(|held| held.name == old.name));
    let gone: String =
        gone.map(|old| format!("{} {} was removed\n", old.name, old.version)).collect();
    let path = written.lock.display();
    match written.held.plugin.len() {
        0 => format!(
            "{gone}Wrote {path}: no entries, because only bundled plugins are used. Files that \
             replace them are refused."
        ),
        _ => format!("{}{gone}\nWrote {path}.", table.render(output)),
    }
}

fn sheets(checked: &[Checked], output: &Output) -> String {
    if checked.is_empty() {
        return "No provider is configured, so no plugin is used.".to_owned();
    }
    let mut text = String::new();
    for plugin in checked {
        let title = output.paint(&plugin.plugin, Tone::Title);
        let Some(Verification { info, verification, .. }) = &plugin.found else {
            let problem = plugin.problem.as_deref().unwrap_or_default();
            text.push_str(&format!(
                "{title} {}\n  {problem}\n\n",
                output.paint("refused", Tone::Bad)
            ));
            continue;
        };
        let word = match plugin.ok {
            true => output.paint("may be used", Tone::Good),
            false => output.paint("refused", Tone::Bad),
        };
        text.push_str(&format!(
            "{title} {word}\n  is {} {}, for contract {}, from {}\n  has sha256 {}\n",
            info.name, info.version, info.contract, info.origin, info.digest
        ));
        if !info.is_bundled() {
            text.push_str("  can be written by root and the router's user alone\n");
        }
        for verdict in [&verification.lock, &verification.signature] {
            text.push_str(&match verdict {
                Verdict::Verified(why) => format!("  {}\n", output.paint(why, Tone::Good)),
                Verdict::NotChecked(why) => format!("  {}\n", output.paint(why, Tone::Quiet)),
                Verdict::Refused(why) => format!("  {}\n", output.paint(why, Tone::Bad)),
            });
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}
