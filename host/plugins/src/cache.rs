//! Compiled plugins on disk, in a directory that is ours alone.
//!
//! Compiled code is machine code: what is loaded is trusted like the router itself. So only what
//! this program compiled becomes a [`Compiled`], and a file counts only when it belongs to us, no
//! other user may write to it or to a directory above it, and it is what its checksum beside it says.
//! Its bytes are read once; those that were checked are loaded. Anything else is dropped and compiled
//! again.

use std::{
    fs::{self, DirBuilder},
    hash::{Hash, Hasher},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{
    files::{owned, read, write},
    vouch,
};

/// Files that are kept; the oldest go first. A plugin has two.
const FILES: usize = 128;

/// The directory of compiled plugins; nothing is kept when it cannot be used.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: Option<PathBuf>,
}

/// Machine code that this program made, or made earlier and kept where nobody else writes.
pub(crate) struct Compiled(Vec<u8>);

/// Names the compiled form of one plugin for one engine.
#[derive(Clone, Debug)]
pub(crate) struct Key(String);

// === impl Compiled ===

impl Compiled {
    /// Compiles a component.
    pub(crate) fn compile(engine: &Engine, component: &[u8]) -> wasmtime::Result<Self> {
        engine.precompile_component(component).map(Self)
    }

    /// What a compiler answered that this process started.
    pub(crate) fn from_compiler(code: Vec<u8>) -> Self {
        Self(code)
    }

    /// The machine code with what belongs to it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The compiled form of a component that is loaded.
    pub(crate) fn of(component: &Component) -> wasmtime::Result<Self> {
        component.serialize().map(Self)
    }

    /// Loads it.
    #[allow(unsafe_code)]
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: these bytes come from `precompile_component` or `serialize` of this program,
        // directly, or over a pipe from a child process that runs nothing else, or through
        // `Cache::read`, which checks who could have written them. They are in our memory.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}

// === impl Key ===

impl Key {
    /// The key for plugin bytes of this digest.
    pub(crate) fn new(digest: &str, engine: &Engine) -> Self {
        let mut hasher = Hash256(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = hex(&hasher.0.finalize());
        Self(format!("{digest}-{}", &engine[..16]))
    }
}

/// SHA-256 behind the standard library's interface, so that keys are the same in every run.
struct Hash256(Sha256);

impl Hasher for Hash256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes(digest[..8].try_into().expect("a SHA-256 digest has 32 bytes"))
    }
}

// === impl Cache ===

impl Cache {
    /// Uses this directory, and makes it if need be. If it cannot be used, says why once and keeps
    /// nothing.
    pub(crate) fn open(dir: &Path) -> Self {
        match private(dir) {
            Ok(()) => Self { dir: Some(dir.to_owned()) },
            Err(error) => {
                let dir = dir.display();
                tracing::warn!(
                    "compiled plugins are not kept: {dir}: {error}; every start compiles them again"
                );
                Self { dir: None }
            }
        }
    }

    /// The compiled plugin of this key, if it is there and as we left it.
    pub(crate) fn read(&self, key: &Key) -> Option<Compiled> {
        let (code, sum) = self.paths(key)?;
        match vouched(&code, &sum) {
            Ok(bytes) => Some(Compiled(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("compiled plugin {} is dropped: {error}", code.display());
                self.drop(key);
                None
            }
        }
    }

    /// Keeps a compiled plugin. Failing to is no failure of anything else.
    pub(crate) fn keep(&self, key: &Key, compiled: &Compiled) {
        let Some((code, sum)) = self.paths(key) else { return };
        let checksum = hex(&Sha256::digest(&compiled.0));
        let written =
            write(&code, &compiled.0, 0o600).and_then(|()| write(&sum, checksum.as_bytes(), 0o600));
        if let Err(error) = written {
            tracing::warn!("compiled plugin {} cannot be kept: {error}", code.display());
        }
        self.prune();
    }

    /// Forgets the compiled plugin of this key.
    pub(crate) fn drop(&self, key: &Key) {
        if let Some((code, sum)) = self.paths(key) {
            // What cannot be removed is not loaded either.
            let _ = (fs::remove_file(code), fs::remove_file(sum));
        }
    }

    fn paths(&self, key: &Key) -> Option<(PathBuf, PathBuf)> {
        let dir = self.dir.as_ref()?;
        Some((dir.join(format!("{}.cwasm", key.0)), dir.join(format!("{}.sha256", key.0))))
    }

    fn prune(&self) {
        let Some(entries) = self.dir.as_ref().and_then(|dir| fs::read_dir(dir).ok()) else {
            return;
        };
        let mut files: Vec<_> = entries
            .filter_map(|entry| entry.ok())
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let excess = files.len().saturating_sub(FILES);
        for (_, path) in files.drain(..excess) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes sure that the directory exists, is ours alone, and that no other user could put another one
/// in its place.
fn private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() {
        return Err(io::Error::other("it is not a directory"));
    }
    owned(&found)?;
    vouch::way(dir).map_err(io::Error::other)
}

/// The content of `code`, if it is what `sum` says and both are ours alone.
fn vouched(code: &Path, sum: &Path) -> io::Result<Vec<u8>> {
    let expected = read(sum)?;
    let bytes = read(code)?;
    if hex(&Sha256::digest(&bytes)).as_bytes() != expected {
        return Err(io::Error::other("it is not what was written there"));
    }
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache, Key, Compiled) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("compiled"));
        let engine = Engine::default();
        (dir, cache, Key::new("abc", &engine), Compiled(b"machine code".to_vec()))
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let (_dir, cache, key, compiled) = cache();
        assert!(cache.read(&key).is_none());
        cache.keep(&key, &compiled);
        assert_eq!(cache.read(&key).unwrap().0, compiled.0);
        assert_eq!(
            Key::new("abc", &Engine::default()).0,
            key.0,
            "keys do not change from run to run"
        );
    }

    #[test]
    fn a_changed_or_readable_or_linked_file_is_dropped() {
        let tricks: [fn(&Path); 3] = [
            |code| fs::write(code, "other code").unwrap(),
            |code| fs::set_permissions(code, fs::Permissions::from_mode(0o644)).unwrap(),
            |code| {
                let elsewhere = code.with_extension("elsewhere");
                fs::rename(code, &elsewhere).unwrap();
                std::os::unix::fs::symlink(elsewhere, code).unwrap();
            },
        ];
        for trick in tricks {
            let (_dir, cache, key, compiled) = cache();
            cache.keep(&key, &compiled);
            let (code, _) = cache.paths(&key).unwrap();
            trick(&code);
            assert!(cache.read(&key).is_none());
            assert!(fs::symlink_metadata(&code).is_err(), "it is gone");
        }
    }

    #[test]
    fn a_directory_below_one_that_others_may_change_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        for (mode, used) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
            let cache = Cache::open(&shared.join("compiled"));
            assert_eq!(cache.dir.is_some(), used, "{mode:o}");
        }
        // Behind a link as well.
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&shared, &link).unwrap();
        assert!(Cache::open(&link.join("compiled")).dir.is_none());
    }

    /// Runs only as root, which may give a directory away.
    #[test]
    fn a_directory_below_one_of_another_user_is_not_used() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(12_345), None).unwrap();
        let cache = Cache::open(&theirs.join("compiled"));
        assert!(cache.dir.is_none(), "its owner could put another directory there");
    }

    #[test]
    fn a_directory_of_others_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let cache = Cache::open(dir.path());
        let key = Key("k".into());
        cache.keep(&key, &Compiled(Vec::new()));
        assert!(cache.read(&key).is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
