//! Checks licences, banned crates and sources of the dependencies against `deny.toml`.
//!
//! Works without network and tools; cargo-deny is run in addition if it is installed.

use std::{collections::BTreeSet, fs, iter::Peekable, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    run::run,
    workspace::{Workspace, cargo_metadata},
};

#[derive(Deserialize)]
struct Policy {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Absent for packages of the workspace.
    source: Option<String>,
}

/// Checks all dependencies.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let policy = Policy::read(&workspace.root().join("deny.toml"))?;
    let metadata: Metadata = serde_json::from_value(cargo_metadata(&["--locked"])?)?;
    let mut violations =
        metadata.packages.iter().flat_map(|package| policy.judge(package)).collect::<Vec<_>>();
    let registries = metadata.packages.iter().flat_map(|package| &package.source);
    let registries = registries.collect::<BTreeSet<_>>();
    if registries.len() > 1 {
        violations.push(format!("packages come from more than one registry: {registries:?}"));
    }
    if !violations.is_empty() {
        bail!("violations of deny.toml:\n  {}", violations.join("\n  "));
    }
    println!("    {} packages comply with deny.toml", metadata.packages.len());

    let installed = crate::run::output(workspace.cargo().args(["deny", "--version"])).is_ok();
    if installed {
        run(workspace.cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"]))
    } else {
        println!("    cargo-deny is not installed: advisories were not checked");
        Ok(())
    }
}

// === impl Policy ===

impl Policy {
    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("read {}", file.display()))
    }

    fn judge(&self, package: &Package) -> Vec<String> {
        let Package { name, version, license, source } = package;
        let mut violations = Vec::new();
        if let Some(ban) = self.bans.deny.iter().find(|ban| ban.name == *name) {
            violations.push(format!("{name} {version} is banned: {}", ban.reason));
        }
        if let Some(source) = source
            && !source.starts_with("registry+")
        {
            violations.push(format!("{name} {version} comes from {source}"));
        }
        match license {
            None => violations.push(format!("{name} {version} has no licence")),
            Some(license) if !self.allows(license) => {
                violations.push(format!("{name} {version} is under {license}"));
            }
            Some(_) => {}
        }
        violations
    }

    /// Whether an SPDX expression can be satisfied by allowed licences. Older packages use `/` for
    /// `OR`. An invalid expression is not allowed.
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let mut words = spaced.split_whitespace().peekable();
        self.any_of(&mut words).is_some_and(|met| met && words.next().is_none())
    }

    /// None if the expression is invalid, as in the functions below.
    fn any_of<'a>(&self, words: &mut Words<impl Iterator<Item = &'a str>>) -> Option<bool> {
        let mut met = self.all_of(words)?;
        while words.next_if_eq(&"OR").is_some() {
            met |= self.all_of(words)?;
        }
        Some(met)
    }

    fn all_of<'a>(&self, words: &mut Words<impl Iterator<Item = &'a str>>) -> Option<bool> {
        let mut met = self.one(words)?;
        while words.next_if_eq(&"AND").is_some() {
            met &= self.one(words)?;
        }
        Some(met)
    }

    fn one<'a>(&self, words: &mut Words<impl Iterator<Item = &'a str>>) -> Option<bool> {
        let word = words.next()?;
        if word == "(" {
            let met = self.any_of(words)?;
            return words.next_if_eq(&")").map(|_| met);
        }
        if words.next_if_eq(&"WITH").is_some() {
            let exception = words.next()?;
            return Some(self.licenses.allow.contains(&format!("{word} WITH {exception}")));
        }
        Some(self.licenses.allow.contains(word))
    }
}

type Words<I> = Peekable<I>;

#[cfg(test)]
mod tests;
