//! The control socket: one router at a time, its user alone.

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
    held: Held,
}

/// The socket's file and the lock beside it, which the kernel takes back from a dead router.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    lock: PathBuf,
    _file: File,
}

/// Why the control socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Another router has it.
    #[error(
        "control socket {}: a router runs already, pid {pid}; stop it, or give this one another \
         `control-socket` path",
        path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
        /// The other router's process, `unknown` if it did not say.
        pid: String,
    },
    /// Others could put a socket of their own in its place.
    #[error(
        "control socket {}: {flaw}; give the router a `control-socket` path in a directory that only its \
         user can write to",
        path.display()
    )]
    Exposed {
        /// The socket.
        path: PathBuf,
        /// What is wrong with its directory.
        flaw: String,
    },
    /// The operating system refused.
    #[error(
        "control socket {}: cannot {attempt}: {source}; give the router a `control-socket` path that its \
         user can write to",
        path.display()
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// What was attempted.
        attempt: &'static str,
        /// What happened.
        source: io::Error,
    },
}

// === impl ControlSocket ===

impl ControlSocket {
    /// Binds the socket with mode 0600, in a directory that is made with mode 0700 if it is not
    /// there and that nobody else may write to. What a dead router left is replaced. Needs a tokio
    /// runtime.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let fail =
            |attempt| move |source| SocketError::Io { path: path.to_owned(), attempt, source };
        let directory = directory(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(fail("make its directory"))?;
        let user = rustix::process::geteuid().as_raw();
        if let Some(flaw) = exposed(directory, &[user]).map_err(fail("look at its directory"))? {
            return Err(SocketError::Exposed { path: path.to_owned(), flaw });
        }
        let lock = beside(path, ".lock");
        let mut file = loop {
            let file = open(&lock).map_err(fail("open the lock beside it"))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let path = path.to_owned();
                    return Err(SocketError::Taken { path, pid: owner(&lock) });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(fail("lock the lock beside it")(error));
                }
            }
            // A router that just ended may have removed the file that we locked.
            if is_at(&file, &lock) {
                break file;
            }
        };
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(fail("write the lock beside it"))?;
        let held = Held { path: path.to_owned(), lock, _file: file };

        // Bound where nobody else can look and moved when it is private, so that there is no moment
        // in which others could connect.
        let fresh = beside(path, ".new");
        let bound = fresh.join("s");
        clear(&fresh).map_err(fail("remove what is in its way"))?;
        DirBuilder::new().mode(0o700).create(&fresh).map_err(fail("make room for it"))?;
        let listener = UnixListener::bind(&bound).map_err(fail("bind it"))?;
        fs::set_permissions(&bound, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&bound, path))
            .and_then(|()| fs::remove_dir(&fresh))
            .map_err(fail("make it private"))?;
        Ok(Self { listener, held })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.held.path
    }

    pub(crate) fn into_parts(self) -> (UnixListener, Held) {
        (self.listener, self.held)
    }
}

// === impl Held ===

impl Drop for Held {
    fn drop(&mut self) {
        for path in [&self.path, &self.lock] {
            if let Err(error) = fs::remove_file(path) {
                tracing::debug!(path = %path.display(), %error, "could not remove");
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

/// Why users other than these could change what is in a directory. The name itself may be a link of
/// another user.
pub(crate) fn exposed(directory: &Path, users: &[u32]) -> io::Result<Option<String>> {
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

/// Removes what a router left that died while it bound its socket.
fn clear(path: &Path) -> io::Result<()> {
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

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
