//! Atomic writes, and files that only the router's user may access.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustix::fs::OFlags;

/// Fails unless the file belongs to our user and is inaccessible to others.
pub(crate) fn check_private(found: &fs::Metadata) -> io::Result<()> {
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "other users may access it (directories must have mode 0700, files 0600)",
        ));
    }
    Ok(())
}

/// Reads a file that only our user may access. Symbolic links are refused.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    check_private(&found)?;
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file with this mode atomically, by a temporary file and a rename. A symbolic link at
/// the path is replaced, not followed.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    static TEMPORARY_FILES: AtomicU64 = AtomicU64::new(0);
    // Unique to this process and call.
    let (pid, number) = (std::process::id(), TEMPORARY_FILES.fetch_add(1, Relaxed));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{pid}-{number}.half"));
    let temporary = Path::new(&temporary);
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(temporary, path));
    if written.is_err() {
        // A leftover file is never reused.
        let _ = fs::remove_file(temporary);
    }
    written
}

#[cfg(test)]
mod tests;
