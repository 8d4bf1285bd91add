//! A file system that does not answer, like a network file system without a connection.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;
use tempfile::TempDir;

use crate::needs;

/// A FUSE file system whose server reads all requests but answers only the first, which is required
/// for mounting. A process that accesses it blocks and cannot be killed until this is dropped.
pub struct HungFilesystem {
    dir: TempDir,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

/// `FUSE_INIT` in `linux/fuse.h`.
const INIT: u32 = 26;
/// Minimum size in bytes of the request buffer.
const BUFFER: usize = 128 << 10;
/// Interval between polls for a request.
const POLL: Duration = Duration::from_millis(2);

// === impl HungFilesystem ===

impl HungFilesystem {
    /// The first missing requirement, if any.
    pub fn lacks() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("only root can mount a file system".into());
        }
        let device = device().err().map(|error| format!("{error:#}"));
        device.or_else(|| needs::lacks(&["mount", "umount"]))
    }

    /// Mounts it in a temporary directory.
    pub fn mount() -> Result<Self> {
        let dir = TempDir::with_prefix("drowse-hung-")?;
        let device = device()?;
        let mounted = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "hung"])
            .arg(dir.path())
            .stdin(Stdio::from(device.try_clone()?))
            .output()
            .context("run mount")?;
        let stderr = String::from_utf8_lossy(&mounted.stderr);
        ensure!(mounted.status.success(), "mount a FUSE file system: {stderr}");
        let stop = Arc::new(AtomicBool::new(false));
        let server = thread::spawn({
            let stop = stop.clone();
            move || serve(device, &stop)
        });
        Ok(Self { dir, stop, server: Some(server) })
    }

    /// Mount point. The test itself must not access it.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for HungFilesystem {
    fn drop(&mut self) {
        // With --force all pending requests fail at once, even if a forked process still holds the
        // server's descriptor. The path itself is not accessed.
        let umount = ["--no-canonicalize", "--internal-only", "--force", "--lazy"];
        let unmounted = Command::new("umount").args(umount).arg(self.dir.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.dir.path().display());
        }
        self.stop.store(true, Relaxed);
        if let Some(server) = self.server.take()
            && server.join().is_err()
        {
            eprintln!("the server of {} panicked", self.dir.path().display());
        }
    }
}

fn device() -> Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags).open("/dev/fuse").context("open /dev/fuse")
}

/// Serves until `stop` is set or the file system is unmounted.
fn serve(mut device: File, stop: &AtomicBool) {
    let mut request = vec![0; BUFFER];
    while !stop.load(Relaxed) {
        let size = match device.read(&mut request) {
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(POLL);
                continue;
            }
            Err(_) => return,
        };
        let opcode = request.get(4..8).and_then(|bytes| bytes.try_into().ok());
        if size >= 16 && opcode.map(u32::from_ne_bytes) == Some(INIT) {
            // `fuse_out_header`, then a `fuse_init_out` with version 7.31 and no features.
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
