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

/// A plugin that somebody asks about, and what was found out.
#[derive(Serialize)]
struct Checked {
    plugin: String,
    /// Nobody refuses it.
    ok: bool,
    #[serde(flatten)]
    found: Option<Verification>,
    /// Why it cannot be used at all.
    problem: Option<String>,
}

/// What the lock file says now.
#[derive(Serialize)]
struct Written<'a> {
    lock: &'a Path,
    #[serde(flatten)]
    held: &'a Lock,
}

/// Where plugins are looked for and what they are compared with.
struct Ground {
    paths: Paths,
    /// The plugins of the providers.
    used: BTreeSet<String>,
}

pub(crate) fn lock(named: &[String], config: &ConfigFile, output: &Output) -> Result<(), Error> {
    let path = locate::config(config)?;
    let mut ground =
        Ground::of(&Config::load(&path, &DefaultPaths::of_this_user()).map_err(Error::new)?);
    // What it says up to now refuses nothing that is accepted now.
    let Some(place) = ground.paths.trust.lock.take() else {
        return Err(Error::new("this configuration has no place for a lock file"));
    };
    let before = place.read();
    // One that cannot be read is written anew, but only as a whole.
    let before = match named {
        [] => before.unwrap_or_default(),
        _ => before.map_err(Error::new)?,
    };
    let before = before.unwrap_or_default();
    let mut held = if named.is_empty() { Lock::default() } else { before.clone() };
    let checked = check(&ground, named)?;
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
        return Err(Error::new(format!("{problems}\n\nThe lock file stays as it is.")));
    }
    place.write(&held).map_err(|error| {
        Error::new(format!("cannot write the lock file {}: {error}", place.file.display()))
    })?;
    let written = Written { lock: &place.file, held: &held };
    output.answer(&written, |output| changes(&before, &written, output))
}

pub(crate) fn verify(named: &[String], config: &ConfigFile, output: &Output) -> Result<(), Error> {
    let ground = match locate::find(config) {
        Some(path) => {
            Ground::of(&Config::load(&path, &DefaultPaths::of_this_user()).map_err(Error::new)?)
        }
        None if named.is_empty() => return Err(locate::missing()),
        None => Ground::of_nothing(config)?,
    };
    let checked = check(&ground, named)?;
    output.answer(&checked, |output| sheets(&checked, output))?;
    if checked.iter().all(|plugin| plugin.ok) { Ok(()) } else { Err(Error::told()) }
}

// === impl Ground ===

impl Ground {
    fn of(config: &Config) -> Self {
        Self {
            paths: config.paths(),
            used: config.providers.iter().map(|provider| provider.plugin.clone()).collect(),
        }
    }

    /// Without a configuration.
    fn of_nothing(config: &ConfigFile) -> Result<Self, Error> {
        let paths = locate::paths(config)?;
        Ok(Self { paths, used: BTreeSet::new() })
    }
}

/// Looks at these plugins, or at those that are used.
fn check(ground: &Ground, named: &[String]) -> Result<Vec<Checked>, Error> {
    let references: Vec<String> = match named {
        [] => ground.used.iter().cloned().collect(),
        named => named.iter().map(|name| plugin::named(name)).collect(),
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        let plugins = plugins(ground.paths.clone(), runtime.handle())?;
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

/// Notes a file, and forgets about one where the bundled plugin is used.
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
    let gone: String = gone.map(|old| format!("{} {} is out\n", old.name, old.version)).collect();
    let path = written.lock.display();
    match written.held.plugin.len() {
        0 => format!(
            "{gone}Wrote {path}: no plugin, as only those in the box are used. A file in their \
             place is refused."
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
