//! The result of an addition, kept in a file until it is taken back.

use std::{ffi::OsString, io, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::fs;

/// What an addition yielded.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The inode of the namespace: a number of a process may come again.
    pub(super) namespace: u64,
    /// Where it was: what is left to know it by when it is gone.
    #[serde(default)]
    pub(super) path: String,
    pub(super) result: Map<String, Value>,
}

/// What is kept there. None also when it cannot be read: then it is as good as gone.
pub(super) async fn read(path: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(path).await.ok()?).ok()
}

/// Writes it whole or not at all.
pub(super) async fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).await?;
    }
    // No name of a result begins with a dot.
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut fresh = OsString::from(".");
    fresh.push(name);
    let fresh = path.with_file_name(fresh);
    fs::write(&fresh, serde_json::to_vec(kept)?).await?;
    fs::rename(&fresh, path).await
}

/// Takes it away. Success when nothing is kept.
pub(super) async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
