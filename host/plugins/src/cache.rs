//! Compiled plugins on disk, in a private directory.
//!
//! Compiled code is machine code and as trusted as the router itself. So a [`CompiledCode`] is only
//! created from code that this program compiled. A file is accepted only if it belongs to our user,
//! no other user can write to it or to any directory above it, and it matches the checksum beside
//! it. It is read once, and the checked bytes are the loaded bytes. Any other file is removed and
//! the plugin compiled again.

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
    files::{check_private, read, write},
    text::hex,
    trust::owner::check_path,
};

/// Maximum files; the oldest are removed first. A plugin has two.
const FILES: usize = 128;

/// The directory of compiled plugins; nothing is cached if it cannot be used.
#[derive(Debug)]
pub(crate) struct CompiledCache {
    dir: Option<PathBuf>,
}

/// Machine code that this program compiled, now or earlier.
pub(crate) struct CompiledCode(Vec<u8>);

/// Identifies the compiled code of one plugin for one engine.
#[derive(Clone, Debug)]
pub(crate) struct CacheKey(String);

// === impl CompiledCode ===

impl CompiledCode {
    /// Compiles a component.
    pub(crate) fn compile(engine: &Engine, component: &[u8]) -> wasmtime::Result<Self> {
        engine.precompile_component(component).map(Self)
    }

    /// Code from a compiler process that this process started.
    pub(crate) fn from_compiler(code: Vec<u8>) -> Self {
        Self(code)
    }

    /// The serialized machine code.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The compiled code of a loaded component.
    pub(crate) fn of(component: &Component) -> wasmtime::Result<Self> {
        component.serialize().map(Self)
    }

    /// Loads the component.
    #[allow(unsafe_code)]
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: these bytes come from `precompile_component` or `serialize` of this program,
        // directly, or over a pipe from a child process that runs nothing else, or through
        // `CompiledCache::read`, which checks who could have written them. They are in our memory.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}

// === impl CacheKey ===

impl CacheKey {
    /// The key of plugin bytes with this digest.
    pub(crate) fn new(digest: &str, engine: &Engine) -> Self {
        let mut hasher = Hash256(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = hex(&hasher.0.finalize());
        Self(format!("{digest}-{}", &engine[..16]))
    }
}

/// SHA-256 as a [`Hasher`], so that keys are the same in every process.
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

// === impl CompiledCache ===

impl CompiledCache {
    /// Uses this directory, creating it if necessary. If it cannot be used, logs the reason and
    /// caches nothing.
    pub(crate) fn open(dir: &Path) -> Self {
        match make_private(dir) {
            Ok(()) => Self { dir: Some(dir.to_owned()) },
            Err(error) => {
                let dir = dir.display();
                tracing::warn!(
                    "compiled plugins are not cached: {dir}: {error}; every start compiles them again"
                );
                Self { dir: None }
            }
        }
    }

    /// The compiled code of this key, if it exists and is unmodified.
    pub(crate) fn read(&self, key: &CacheKey) -> Option<CompiledCode> {
        let (code, sum) = self.paths(key)?;
        match read_verified(&code, &sum) {
            Ok(bytes) => Some(CompiledCode(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("compiled plugin {} is removed: {error}", code.display());
                self.remove(key);
                None
            }
        }
    }

    /// Stores compiled code. A failure is logged only.
    pub(crate) fn store(&self, key: &CacheKey, compiled: &CompiledCode) {
        let Some((code, sum)) = self.paths(key) else { return };
        let checksum = hex(&Sha256::digest(&compiled.0));
        let written =
            write(&code, &compiled.0, 0o600).and_then(|()| write(&sum, checksum.as_bytes(), 0o600));
        if let Err(error) = written {
            tracing::warn!("compiled plugin {} cannot be cached: {error}", code.display());
        }
        self.prune();
    }

    /// Removes the compiled code of this key.
    pub(crate) fn remove(&self, key: &CacheKey) {
        if let Some((code, sum)) = self.paths(key) {
            // A file that cannot be removed is not loaded either.
            let _ = (fs::remove_file(code), fs::remove_file(sum));
        }
    }

    fn paths(&self, key: &CacheKey) -> Option<(PathBuf, PathBuf)> {
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

/// Creates the directory if necessary; fails unless only our user may access it and no other user
/// could replace it.
fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() {
        return Err(io::Error::other("it is not a directory"));
    }
    check_private(&found)?;
    check_path(dir).map_err(io::Error::other)
}

/// The content of `code`, if it matches the checksum in `sum` and both are private.
fn read_verified(code: &Path, sum: &Path) -> io::Result<Vec<u8>> {
    let expected = read(sum)?;
    let bytes = read(code)?;
    if hex(&Sha256::digest(&bytes)).as_bytes() != expected {
        return Err(io::Error::other("it does not match its checksum"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn cache() -> (tempfile::TempDir, CompiledCache, CacheKey, CompiledCode) {
        let dir = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(&dir.path().join("compiled"));
        let engine = Engine::default();
        (dir, cache, CacheKey::new("abc", &engine), CompiledCode(b"machine code".to_vec()))
    }

    #[test]
    fn cached_code_is_read_again() {
        let (_dir, cache, key, compiled) = cache();
        assert!(cache.read(&key).is_none());
        cache.store(&key, &compiled);
        assert_eq!(cache.read(&key).unwrap().0, compiled.0);
        assert_eq!(
            CacheKey::new("abc", &Engine::default()).0,
            key.0,
            "keys are the same in every process"
        );
    }

    #[test]
    fn a_modified_readable_or_linked_file_is_removed() {
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
            cache.store(&key, &compiled);
            let (code, _) = cache.paths(&key).unwrap();
            trick(&code);
            assert!(cache.read(&key).is_none());
            assert!(fs::symlink_metadata(&code).is_err(), "it is removed");
        }
    }

    #[test]
    fn a_directory_below_one_that_others_may_write_to_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        for (mode, used) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
            let cache = CompiledCache::open(&shared.join("compiled"));
            assert_eq!(cache.dir.is_some(), used, "{mode:o}");
        }
        // The same behind a symbolic link.
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&shared, &link).unwrap();
        assert!(CompiledCache::open(&link.join("compiled")).dir.is_none());
    }

    /// Runs as root only, which can change a directory's owner.
    #[test]
    fn a_directory_below_one_of_another_user_is_not_used() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(12_345), None).unwrap();
        let cache = CompiledCache::open(&theirs.join("compiled"));
        assert!(cache.dir.is_none(), "its owner could replace the directory");
    }

    #[test]
    fn a_directory_that_others_may_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let cache = CompiledCache::open(dir.path());
        let key = CacheKey("k".into());
        cache.store(&key, &CompiledCode(Vec::new()));
        assert!(cache.read(&key).is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
