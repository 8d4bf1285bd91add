//! The control socket: bound by one router at a time, accessible to its user only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tokio::net::UnixListener;

#[cfg(test)]
mod tests;

/// A bound control socket. Dropping it removes the socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    files: SocketFiles,
}

/// The socket's file and its lock file. The kernel releases the lock of a router that has died. Dropping
/// this removes both files.
#[derive(Debug)]
pub(crate) struct SocketFiles {
    path: PathBuf,
    lock: PathBuf,
    _lock_file: File,
}

/// The reason why the control socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Another router has bound it.
    #[error(
        "control socket {}: a router runs already, pid {pid}; stop it, or give this one another \
         `control-socket` path",
        path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
        /// The process ID of the other router, or `unknown`.
        pid: String,
    },
    /// Another user could replace the socket by one of their own.
    #[error(
        "control socket {}: {flaw}; give the router a `control-socket` path in a directory that only its \
         user can write to",
        path.display()
    )]
    Exposed {
        /// The socket.
        path: PathBuf,
        /// The flaw of its directory.
        flaw: String,
    },
    /// A system call failed.
    #[error(
        "control socket {}: cannot {attempt}: {source}; give the router a `control-socket` path that its \
         user can write to",
        path.display()
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// The attempt.
        attempt: &'static str,
        /// The error.
        source: io::Error,
    },
}

// === impl ControlSocket ===

impl ControlSocket {
    /// Binds the socket with mode 0600. Creates its directory with mode 0700 if necessary; an existing
    /// one must not be writable for other users. Replaces the files of a router that has died. Needs
    /// a Tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let fail =
            |attempt| move |source| SocketError::Io { path: path.to_owned(), attempt, source };
        let directory = directory(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(fail("create its directory"))?;
        let user = rustix::process::geteuid().as_raw();
        if let Some(flaw) = exposure(directory, &[user]).map_err(fail("check its directory"))? {
            return Err(SocketError::Exposed { path: path.to_owned(), flaw });
        }
        let lock = with_suffix(path, ".lock");
        let mut file = loop {
            let file = open(&lock).map_err(fail("open its lock file"))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let path = path.to_owned();
                    return Err(SocketError::Taken { path, pid: owner(&lock) });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(fail("lock its lock file")(error));
                }
            }
            // A router that exits at this moment may have removed the locked file.
            if is_at(&file, &lock) {
                break file;
            }
        };
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(fail("write its lock file"))?;
        let files = SocketFiles { path: path.to_owned(), lock, _lock_file: file };

        // Bound in a private directory and moved once its mode is set, so that other users can
        // connect at no time.
        let fresh = with_suffix(path, ".new");
        let bound = fresh.join("s");
        remove_stale(&fresh).map_err(fail("remove an old file at its path"))?;
        DirBuilder::new()
            .mode(0o700)
            .create(&fresh)
            .map_err(fail("create a directory to bind it in"))?;
        let listener = UnixListener::bind(&bound).map_err(fail("bind it"))?;
        fs::set_permissions(&bound, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&bound, path))
            .and_then(|()| fs::remove_dir(&fresh))
            .map_err(fail("set its mode"))?;
        Ok(Self { listener, files })
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.files.path
    }

    pub(crate) fn into_parts(self) -> (UnixListener, SocketFiles) {
        (self.listener, self.files)
    }
}

// === impl SocketFiles ===

impl Drop for SocketFiles {
    fn drop(&mut self) {
        for path in [&self.path, &self.lock] {
            if let Err(error) = fs::remove_file(path) {
                tracing::debug!(path = %path.display(), %error, "cannot remove the control socket's file");
            }
        }
    }
}

/// The directory of a socket.
pub(crate) fn directory(socket: &Path) -> &Path {
    match socket.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The reason why users other than these could change the contents of a directory, if there is one.
/// The path itself may be a symbolic link of another user.
pub(crate) fn exposure(directory: &Path, users: &[u32]) -> io::Result<Option<String>> {
    let found = fs::metadata(directory)?;
    let mode = found.mode() & 0o7777;
    let shown = directory.display();
    let link = fs::symlink_metadata(directory)?;
    Ok(if !users.contains(&found.uid()) || !users.contains(&link.uid()) {
        Some(format!("its directory {shown} belongs to another user"))
    } else if mode & 0o022 != 0 {
        Some(format!("others may write to its directory {shown} (mode {mode:04o})"))
    } else {
        None
    })
}

/// Removes the files of a router that died while it bound its socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

fn owner(lock: &Path) -> String {
    let mut text = String::new();
    let read = File::open(lock).and_then(|file| file.take(20).read_to_string(&mut text));
    let pid = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
