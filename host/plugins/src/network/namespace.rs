//! The network namespaces that may be attached.

use std::{
    fs::{self, File, OpenOptions},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    process,
};

use rustix::fs::{OFlags, fstatfs};

use super::NetworkError;
use crate::fault::clean;

/// The type of the filesystem that namespaces are files of: `NSFS_MAGIC` in `linux/magic.h`.
const NSFS: u64 = 0x6e73_6673;

/// A container's network namespace, open: it stays the same whatever its path leads to meanwhile, as
/// the number of a process that has ended is given to another one.
#[derive(Debug)]
pub(super) struct Namespace {
    file: File,
    pub(super) inode: u64,
}

/// The inodes of the namespaces that are never attached.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// The router's own.
    own: Option<u64>,
    /// That of process 1: the machine's, also where the router runs in a namespace of its own. None
    /// when the router may not look at process 1.
    init: Option<u64>,
}

// === impl Namespace ===

impl Namespace {
    /// Opens the namespace of a process, `/proc/PID/ns/net`, or one with a name, `/run/netns/NAME`.
    /// `NotFound` when there is none.
    pub(super) fn open(path: &str) -> Result<Self, NetworkError> {
        permitted(path)?;
        let missing = |why: &dyn std::fmt::Display| {
            NetworkError::NotFound(format!("there is no network namespace {path}: {why}"))
        };
        let mut options = OpenOptions::new();
        // A named pipe would wait for its other end.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = options.open(path).map_err(|error| missing(&error))?;
        let kind = fstatfs(&file).map_err(|error| missing(&error))?.f_type;
        if u64::try_from(kind) != Ok(NSFS) {
            return Err(missing(&"it is another kind of file"));
        }
        let inode = file.metadata().map_err(|error| missing(&error))?.ino();
        Refused::here().check(path, inode)?;
        Ok(Self { file, inode })
    }

    /// The path by which CNI plugins, and what they call, open it: through the descriptor that this
    /// process holds.
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
            "{path} is {whose} network namespace, which is attached to nothing"
        )))
    }
}

/// A namespace has a process or a name.
fn permitted(path: &str) -> Result<(), NetworkError> {
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
            .any(|place| path.strip_prefix(place).is_some_and(plain));
    if fits {
        return Ok(());
    }
    let path = clean(path, 256);
    Err(NetworkError::Invalid(format!(
        "{path:?} is no network namespace: it is /proc/PID/ns/net or /run/netns/NAME"
    )))
}
