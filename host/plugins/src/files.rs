//! Files that nobody sees half written, and files that only the router's own user may use.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustix::fs::OFlags;

/// An error unless it belongs to us and nobody else may use it.
pub(crate) fn owned(found: &fs::Metadata) -> io::Result<()> {
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(io::Error::other("others may use it (it must be mode 0700, its files 0600)"));
    }
    Ok(())
}

/// The content of a file that is ours alone.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    owned(&found)?;
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file of this mode: beside and renamed, so that it is whole at every moment. A link in
/// its place is replaced and never followed.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    static HALVES: AtomicU64 = AtomicU64::new(0);
    // Nobody else writes to this one: neither another router nor another thread.
    let (pid, number) = (std::process::id(), HALVES.fetch_add(1, Relaxed));
    let mut half = path.as_os_str().to_owned();
    half.push(format!(".{pid}-{number}.half"));
    let half = Path::new(&half);
    match fs::remove_file(half) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(half)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(half, path));
    if written.is_err() {
        // What cannot be removed is overwritten by nobody.
        let _ = fs::remove_file(half);
    }
    written
}

#[cfg(test)]
mod tests;
