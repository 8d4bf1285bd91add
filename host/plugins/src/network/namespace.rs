//! Network namespaces that may be attached.

use std::{
    fs::{self, File, OpenOptions},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    process,
};

use rustix::fs::{OFlags, fstatfs};

use super::attachment::NetworkError;
use crate::text::sanitize;

/// Magic number of the namespace file system: `NSFS_MAGIC` in `linux/magic.h`.
const NSFS: u64 = 0x6e73_6673;

/// An open network namespace of a container: it stays the same if its path changes, as when the PID
/// of an exited process is reused.
#[derive(Debug)]
pub(super) struct Namespace {
    file: File,
    pub(super) inode: u64,
}

/// Inodes of the namespaces that are never attached.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// The router's own.
    own: Option<u64>,
    /// That of process 1, which is the machine's even if the router runs in another namespace. None
    /// if the router may not inspect process 1.
    init: Option<u64>,
}

// === impl Namespace ===

impl Namespace {
    /// Opens the namespace of a process, `/proc/PID/ns/net`, or a named one, `/run/netns/NAME`.
    /// `NotFound` if there is none.
    pub(super) fn open(path: &str) -> Result<Self, NetworkError> {
        check_path(path)?;
        let missing = |why: &dyn std::fmt::Display| {
            NetworkError::NotFound(format!("there is no network namespace {path}: {why}"))
        };
        let mut options = OpenOptions::new();
        // A named pipe would block.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = options.open(path).map_err(|error| missing(&error))?;
        let kind = fstatfs(&file).map_err(|error| missing(&error))?.f_type;
        if u64::try_from(kind) != Ok(NSFS) {
            return Err(missing(&"the file is not a namespace"));
        }
        let inode = file.metadata().map_err(|error| missing(&error))?.ino();
        Refused::here().check(path, inode)?;
        Ok(Self { file, inode })
    }

    /// The path by which CNI plugins and their children open it: through the descriptor of this
    /// process.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.file.as_raw_fd())
    }
}

// === impl Refused ===

impl Refused {
    fn here() -> Self {
        let inode = |path: &str| fs::metadata(path).ok().map(|found| found.ino());
        Self { own: inode("/proc/self/ns/net"), init: inode("/proc/1/ns/net") }
    }

    fn check(self, path: &str, inode: u64) -> Result<(), NetworkError> {
        let whose = match Some(inode) {
            found if found == self.own => "the router's own",
            found if found == self.init => "the machine's own",
            _ => return Ok(()),
        };
        Err(NetworkError::Denied(format!(
            "{path} is {whose} network namespace, which is never attached"
        )))
    }
}

/// Fails unless the path is one of a process's or a named namespace.
fn check_path(path: &str) -> Result<(), NetworkError> {
    let of_process = |rest: &str| {
        rest.strip_suffix("/ns/net")
            .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
    };
    let plain = |name: &str| {
        !matches!(name, "" | "." | "..")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let fits = path.strip_prefix("/proc/").is_some_and(of_process)
        || ["/run/netns/", "/var/run/netns/"]
            .iter()
            .any(|dir| path.strip_prefix(dir).is_some_and(plain));
    if fits {
        return Ok(());
    }
    let path = sanitize(path, 256);
    Err(NetworkError::Invalid(format!(
        "{path:?} is not a network namespace path: use /proc/PID/ns/net or /run/netns/NAME"
    )))
}
