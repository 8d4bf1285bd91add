//! Cached results of ADD: a file per attachment, until DEL.

use std::{ffi::OsString, io, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::fs;

/// The result of an ADD.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct CachedResult {
    /// Inode of the namespace, because PIDs are reused.
    pub(super) namespace: u64,
    /// Path of the namespace, which identifies it after its end.
    #[serde(default)]
    pub(super) path: String,
    pub(super) result: Map<String, Value>,
}

/// Reads a cached result. None if it does not exist or cannot be read.
pub(super) async fn read(path: &Path) -> Option<CachedResult> {
    serde_json::from_slice(&fs::read(path).await.ok()?).ok()
}

/// Writes a result atomically.
pub(super) async fn write(path: &Path, result: &CachedResult) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).await?;
    }
    // Names of results never begin with a dot.
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut fresh = OsString::from(".");
    fresh.push(name);
    let fresh = path.with_file_name(fresh);
    fs::write(&fresh, serde_json::to_vec(result)?).await?;
    fs::rename(&fresh, path).await
}

/// Removes a result. Succeeds if there is none.
pub(super) async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
