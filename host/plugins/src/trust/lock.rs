//! The lock file: plugins that the operator has accepted, by digest.
//!
//! Bundled plugins are not listed: they are part of the router's executable and change with it. So
//! a file that replaces a bundled plugin must be listed, and a listed file must exist.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{owner, verdict::Verdict};
use crate::{
    files,
    grants::toml_string,
    source::{PluginSource, absolute, is_path},
};

/// Maximum bytes of a lock file.
const LOCK_BYTES: u64 = 1 << 20;

/// Header that `drowse plugin lock` writes.
const HEAD: &str = "\
# Plugins that the router of this configuration may use, pinned by `drowse plugin lock`. A different
# file is refused until it is accepted by the same command.
";

/// The lock file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFile {
    /// Path of the lock file, which need not exist.
    pub file: PathBuf,
    /// Path of the configuration, for the command that accepts a plugin.
    pub configuration: PathBuf,
}

/// Content of a lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Accepted plugins, sorted by name.
    #[serde(default)]
    pub plugin: Vec<LockedPlugin>,
}

/// An accepted plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    /// Name that providers refer to, or a path relative to the lock file.
    pub name: String,
    /// Path of its file, relative to the lock file.
    pub origin: String,
    /// The plugin's version.
    pub version: String,
    /// SHA-256, hexadecimal.
    pub digest: String,
    /// Contract version that it was built for.
    pub contract: String,
}

// === impl LockFile ===

impl LockFile {
    /// Reads the file; none if it does not exist. The error names the file and says what to do.
    pub fn read(&self) -> Result<Option<Lock>, String> {
        let error = |why: String| format!("lock file {}: {why}", self.file.display());
        let Some(text) = owner::read(&self.file, LOCK_BYTES).map_err(error)? else {
            return Ok(None);
        };
        let text = String::from_utf8(text).map_err(|_| error("it is not text".to_owned()))?;
        let lock = toml::from_str(&text).map_err(|flaw| {
            let line = flaw.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            error(format!(
                "line {line}: {}; recreate it with `{}`",
                flaw.message().trim_end().replace('\n', " "),
                self.command("")
            ))
        })?;
        Ok(Some(lock))
    }

    /// Writes the file.
    pub fn write(&self, lock: &Lock) -> io::Result<()> {
        files::write(&self.file, lock.text().as_bytes(), 0o644)
    }

    /// The name in the file for a plugin of this reference.
    pub fn name(&self, reference: &str) -> String {
        if is_path(reference) { self.relative(Path::new(reference)) } else { reference.to_owned() }
    }

    /// A path relative to the file, if it is below its directory.
    pub fn relative(&self, path: &Path) -> String {
        let (path, file) = (absolute(path), absolute(&self.file));
        let below = file.parent().and_then(|home| path.strip_prefix(home).ok());
        match below {
            // Without a slash it would be a plugin name.
            Some(below) if below.components().count() == 1 => format!("./{}", below.display()),
            Some(below) => below.display().to_string(),
            None => path.display().to_string(),
        }
    }

    /// Returns whether the plugin is the accepted one.
    pub(super) fn verify(&self, reference: &str, source: &PluginSource) -> Verdict {
        let lock = match self.read() {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                return Verdict::NotChecked("is not checked, as there is no lock file".into());
            }
            Err(why) => return Verdict::Refused(format!("cannot be looked up: {why}")),
        };
        let name = self.name(reference);
        let held = lock.plugin.iter().find(|held| held.name == name);
        let (file, digest) = (self.file.display(), &source.digest);
        let command = self.command(reference);
        match held {
            None if source.file().is_none() => Verdict::NotChecked(
                "is part of the router's own program, which is not locked".into(),
            ),
            None => Verdict::Refused(format!(
                "is not in {file}, so it has not been accepted (sha256 {digest}); if you have put it \
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
            Some(_) => Verdict::Verified(format!("matches {file}")),
        }
    }

    /// The command that accepts a plugin, or all plugins if `reference` is empty.
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
    /// Adds a plugin, replacing the entry of its name.
    pub fn accept(&mut self, plugin: LockedPlugin) {
        self.forget(&plugin.name);
        self.plugin.push(plugin);
        self.plugin.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Returns whether there is an entry of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.plugin.iter().any(|held| held.name == name)
    }

    /// Removes the entry of this name.
    pub fn forget(&mut self, name: &str) {
        self.plugin.retain(|held| held.name != name);
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for LockedPlugin { name, origin, version, digest, contract } in &self.plugin {
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
