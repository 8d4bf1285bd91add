//! The lock file: the plugins that the operator has accepted, by their digests.
//!
//! Bundled plugins do not stand in it: they are part of the router's own program and change with
//! it. So a file that takes a bundled plugin's place must stand in it, and one that stands in it
//! must not be missing.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Verdict, owner};
use crate::{
    files,
    grants::toml_string,
    load::Source,
    plugins::{absolute, is_path},
};

/// Largest lock file.
const LOCK_BYTES: u64 = 1 << 20;

/// What `drowse plugin lock` writes at the top.
const HEAD: &str = "\
# The plugins that this configuration's router may use, as `drowse plugin lock` found them. Another
# file in their place is refused until it is accepted by the same command.
";

/// Where the lock file of a configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockPlace {
    /// The lock file, which need not exist.
    pub file: PathBuf,
    /// The configuration, for the command that accepts a plugin.
    pub configuration: PathBuf,
}

/// What stands in a lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// One for each file, by name.
    #[serde(default)]
    pub plugin: Vec<Locked>,
}

/// A plugin that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// What providers call it: a name, or a path relative to the lock file.
    pub name: String,
    /// Its file, relative to the lock file.
    pub origin: String,
    /// The plugin's own version.
    pub version: String,
    /// SHA-256, hexadecimal.
    pub digest: String,
    /// The version of the contract that it was built for.
    pub contract: String,
}

// === impl LockPlace ===

impl LockPlace {
    /// What stands in the file; none when it does not exist. The error names the file and says what
    /// to do.
    pub fn read(&self) -> Result<Option<Lock>, String> {
        let told = |why: String| format!("lock file {}: {why}", self.file.display());
        let Some(text) = owner::read(&self.file, LOCK_BYTES).map_err(told)? else {
            return Ok(None);
        };
        let text = String::from_utf8(text).map_err(|_| told("it is not text".to_owned()))?;
        let lock = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            told(format!(
                "line {line}: {}; write it anew with `{}`",
                error.message().trim_end().replace('\n', " "),
                self.command("")
            ))
        })?;
        Ok(Some(lock))
    }

    /// Writes the file.
    pub fn write(&self, lock: &Lock) -> io::Result<()> {
        files::write(&self.file, lock.text().as_bytes(), 0o644)
    }

    /// The name that stands in the file for a plugin of this reference.
    pub fn name(&self, reference: &str) -> String {
        if is_path(reference) { self.relative(Path::new(reference)) } else { reference.to_owned() }
    }

    /// A path relative to the file, where it is below its directory.
    pub fn relative(&self, path: &Path) -> String {
        let (path, file) = (absolute(path), absolute(&self.file));
        let below = file.parent().and_then(|home| path.strip_prefix(home).ok());
        match below {
            // A name without a slash would be a plugin's name.
            Some(below) if below.components().count() == 1 => format!("./{}", below.display()),
            Some(below) => below.display().to_string(),
            None => path.display().to_string(),
        }
    }

    /// Whether the plugin is the one that was accepted.
    pub(super) fn judge(&self, reference: &str, source: &Source) -> Verdict {
        let lock = match self.read() {
            Ok(Some(lock)) => lock,
            Ok(None) => return Verdict::Silent("has no lock file to be in".into()),
            Err(why) => return Verdict::Refused(format!("cannot be looked up: {why}")),
        };
        let name = self.name(reference);
        let held = lock.plugin.iter().find(|held| held.name == name);
        let (file, digest) = (self.file.display(), &source.digest);
        let command = self.command(reference);
        match held {
            None if source.file().is_none() => {
                Verdict::Silent("is part of the router's own program, which is not locked".into())
            }
            None => Verdict::Refused(format!(
                "is not in {file}, so nobody has accepted it (sha256 {digest}); if you have put it \
                 there, accept it with `{command}`"
            )),
            Some(held) if source.file().is_none() => Verdict::Refused(format!(
                "is the bundled one, and {file} has {} (sha256 {}), which is not there; put it \
                 back, or accept the bundled one with `{command}`",
                held.origin, held.digest
            )),
            Some(held) if held.digest != *digest => Verdict::Refused(format!(
                "is not the one that was accepted: its sha256 is {digest}, and {file} has {} \
                 ({} {}); if you have replaced it, accept it with `{command}`",
                held.digest, held.name, held.version
            )),
            Some(_) => Verdict::Vouched(format!("is what {file} says")),
        }
    }

    /// The command that accepts a plugin, or all of them.
    fn command(&self, reference: &str) -> String {
        let mut command = "drowse plugin lock".to_owned();
        for word in [reference, "--config"].into_iter().filter(|word| !word.is_empty()) {
            command.push(' ');
            command.push_str(&owner::quoted(Path::new(word)));
        }
        format!("{command} {}", owner::quoted(&self.configuration))
    }
}

// === impl Lock ===

impl Lock {
    /// Notes a plugin in place of what stood there under its name.
    pub fn accept(&mut self, plugin: Locked) {
        self.forget(&plugin.name);
        self.plugin.push(plugin);
        self.plugin.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Whether something stands there under this name.
    pub fn holds(&self, name: &str) -> bool {
        self.plugin.iter().any(|held| held.name == name)
    }

    /// Takes out what stands there under this name.
    pub fn forget(&mut self, name: &str) {
        self.plugin.retain(|held| held.name != name);
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for Locked { name, origin, version, digest, contract } in &self.plugin {
            text.push_str("\n[[plugin]]\n");
            for (key, value) in [
                ("name", name),
                ("origin", origin),
                ("version", version),
                ("digest", digest),
                ("contract", contract),
            ] {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{key} = {}", toml_string(value));
            }
        }
        text
    }
}
