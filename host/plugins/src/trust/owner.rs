//! File ownership checks: a file is used only if no user but root and our own could have written
//! it.

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// In a sticky directory only a file's owner may remove or replace it.
const STICKY: u32 = 0o1000;
/// Writable by the group or by others.
const OTHERS_WRITE: u32 = 0o022;

/// Reads a file of at most `limit` bytes that only root and our user could have written. None if
/// the file does not exist. The error says what is wrong and what to do.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, String> {
    let opened = match open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let found = opened.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is not a file".to_owned());
    }
    if found.len() > limit {
        return Err(format!("it is larger than {}", size(limit)));
    }
    check_permissions(path, &found)?;
    check_path(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    // The file may grow while being read.
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {}", size(limit)));
    }
    Ok(Some(bytes))
}

/// Opens a file without blocking if it is a named pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Fails if another user could replace the file, through a directory above it or a symbolic link.
pub(crate) fn check_path(path: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let named = std::path::absolute(path).map_err(|error| failed(path, error))?;
    let real = fs::canonicalize(path).map_err(|error| failed(path, error))?;
    let steps: BTreeSet<&Path> = named.ancestors().chain(real.ancestors()).collect();
    for step in steps {
        let found = fs::symlink_metadata(step).map_err(|error| failed(step, error))?;
        if found.is_symlink() {
            owner(step, &found)?;
        }
        if step != named && step != real {
            let found = fs::metadata(step).map_err(|error| failed(step, error))?;
            check_permissions(step, &found)?;
        }
    }
    Ok(())
}

/// Fails if another user may write to a file or directory.
fn check_permissions(path: &Path, found: &Metadata) -> Result<(), String> {
    owner(path, found)?;
    let sticky = found.is_dir() && found.mode() & STICKY != 0;
    if found.mode() & OTHERS_WRITE != 0 && !sticky {
        return Err(format!(
            "others may write to {} (mode {:04o}), so others could have replaced it; run `chmod go-w {}`",
            path.display(),
            found.mode() & 0o7777,
            quoted(path)
        ));
    }
    Ok(())
}

/// Fails unless it belongs to root or our user.
fn owner(path: &Path, found: &Metadata) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    if [0, user].contains(&found.uid()) {
        return Ok(());
    }
    let change = if found.is_symlink() { "chown -h" } else { "chown" };
    Err(format!(
        "{} belongs to user {}, who could have replaced it; if it is yours, run \
         `{change} {user} {}`",
        path.display(),
        found.uid(),
        quoted(path)
    ))
}

/// Quotes a path for a shell.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

#[cfg(test)]
mod tests;
