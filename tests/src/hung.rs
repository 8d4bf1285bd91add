//! A file system that does not answer, as one over a network that is gone.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::AsRawFd,
    path::Path,
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// A FUSE file system whose server reads every request and answers none but the first, which
/// mounting needs. Who uses it waits and cannot be killed until this is dropped.
pub struct HungFilesystem {
    dir: TempDir,
    server: Option<JoinHandle<()>>,
}

/// `FUSE_INIT` in `linux/fuse.h`.
const INIT: u32 = 26;
/// Smallest buffer that the kernel takes for requests.
const BUFFER: usize = 128 << 10;

// === impl HungFilesystem ===

impl HungFilesystem {
    /// Why this machine cannot have one.
    pub fn lacks() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("only root can mount a file system".into());
        }
        device().err().map(|error| format!("{error:#}"))
    }

    /// Mounts one in a directory of its own.
    pub fn mount() -> Result<Self> {
        let dir = TempDir::with_prefix("drowse-hung-")?;
        let device = device()?;
        let data =
            format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let data = CString::new(data)?;
        mount("hung", dir.path(), "fuse", MountFlags::empty(), data.as_c_str())
            .context("mount a FUSE file system")?;
        let server = std::thread::spawn(move || serve(device));
        Ok(Self { dir, server: Some(server) })
    }

    /// Where it is mounted. A test itself must not look at it.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for HungFilesystem {
    fn drop(&mut self) {
        // By force: requests in progress fail, and the server's read as well.
        let unmounted = unmount(self.dir.path(), UnmountFlags::FORCE | UnmountFlags::DETACH);
        match unmounted {
            Ok(()) => {
                let ended = self.server.take().map(JoinHandle::join);
                assert!(matches!(ended, None | Some(Ok(()))), "the server panicked");
            }
            Err(error) => eprintln!("unmount {}: {error}", self.dir.path().display()),
        }
    }
}

fn device() -> Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/fuse").context("open /dev/fuse")
}

/// Until the file system is unmounted.
fn serve(mut device: File) {
    let mut request = vec![0; BUFFER];
    while let Ok(size) = device.read(&mut request) {
        let word = |at: usize| {
            let bytes = request.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            u32::from_ne_bytes(bytes.unwrap_or_default())
        };
        if size >= 16 && word(4) == INIT {
            // `fuse_out_header`, then a `fuse_init_out` that asks for nothing but version 7.31.
            let mut answer = Vec::with_capacity(80);
            answer.extend(80_u32.to_ne_bytes());
            answer.extend(0_i32.to_ne_bytes());
            answer.extend(&request[8..16]);
            answer.extend(7_u32.to_ne_bytes());
            answer.extend(31_u32.to_ne_bytes());
            answer.resize(80, 0);
            if device.write_all(&answer).is_err() {
                return;
            }
        }
    }
}
