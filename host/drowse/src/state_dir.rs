//! The state directory, whose files survive restarts of the router.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use drowse_plugins::files;

const LOCK: &str = "router.lock";

/// The state directory, locked for this router until it is dropped.
pub(crate) struct StateDir {
    directory: PathBuf,
    _lock: File,
}

// === impl StateDir ===

impl StateDir {
    /// Opens the directory, creating it if necessary. Fails if other users could change its files, or if
    /// another router uses it.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let directory = directory.canonicalize()?;
        check_owner(&directory)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = lock.open(directory.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other(
                "another router uses it: give this router another `state-dir`",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Its path.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file atomically.
    pub(crate) fn write(&self, name: &str, text: &[u8]) -> io::Result<()> {
        files::write(&self.directory.join(name), text, 0o600)
    }
}

/// Fails if another user could change files in a directory, or replace it.
fn check_owner(directory: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let found = fs::metadata(directory)?;
    if found.uid() != user {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(io::Error::other("other users may write to it: its mode must be 0700 or 0755"));
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    let above = fs::metadata(parent)?;
    let sticky = above.mode() & 0o1000 != 0;
    if ![user, 0].contains(&above.uid()) || above.mode() & 0o022 != 0 && !sticky {
        let message =
            format!("other users may write to the directory above it, {}", parent.display());
        return Err(io::Error::other(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
