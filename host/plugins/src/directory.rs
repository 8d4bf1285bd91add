//! Notices changes in directories of plugins, also in those that do not exist yet.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

/// Changes that come within this time are one change: a file is written in pieces.
const QUIET: Duration = Duration::from_millis(100);
/// But they are not waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches directories for changes of what is in them.
pub(crate) struct Directories {
    watcher: Arc<Mutex<RecommendedWatcher>>,
    wanted: Arc<Mutex<BTreeSet<PathBuf>>>,
    bell: Arc<Notify>,
}

// === impl Directories ===

impl Directories {
    pub(crate) fn new() -> notify::Result<Self> {
        let bell = Arc::new(Notify::new());
        let wanted = Arc::new(Mutex::new(BTreeSet::new()));
        let watcher = notify::recommended_watcher({
            let (bell, wanted) = (bell.clone(), wanted.clone());
            move |event: notify::Result<Event>| {
                // An error may have hidden a change.
                if event.map_or(true, |event| event.need_rescan() || concerns(&event, &wanted)) {
                    bell.notify_one();
                }
            }
        })?;
        Ok(Self { watcher: Arc::new(Mutex::new(watcher)), wanted, bell })
    }

    /// Watches this directory too, or this single file. Blocks for as long as the file system takes.
    pub(crate) fn add(&self, dir: &Path) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
        renew(&self.watcher, &self.wanted);
    }

    /// Waits until something has changed and then been quiet for a moment. For one caller, which
    /// does not give it up.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
        let quiet =
            async { while tokio::time::timeout(QUIET, self.bell.notified()).await.is_ok() {} };
        // Whoever writes all the time is looked at all the same.
        let _ = tokio::time::timeout(PATIENCE, quiet).await;
        let (watcher, wanted) = (self.watcher.clone(), self.wanted.clone());
        // It fails only when the runtime ends.
        let _ = tokio::task::spawn_blocking(move || renew(&watcher, &wanted)).await;
    }
}

/// Watches what exists: each directory and, for the time that it does not exist or is replaced, its
/// nearest existing ancestor.
fn renew(watcher: &Mutex<RecommendedWatcher>, wanted: &Mutex<BTreeSet<PathBuf>>) {
    let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for dir in wanted {
        let existing = dir.ancestors().filter(|ancestor| ancestor.is_dir());
        for (place, ancestor) in existing.take(2).enumerate() {
            if let Err(error) = watcher.watch(ancestor, RecursiveMode::NonRecursive)
                && place == 0
            {
                let ancestor = ancestor.display();
                tracing::warn!("changes of plugins in {ancestor} will not be noticed: {error}");
            }
        }
    }
}

/// Whether this is a change in a wanted directory, or on the way to one.
fn concerns(event: &Event, wanted: &Mutex<BTreeSet<PathBuf>>) -> bool {
    // Our own reading is no change.
    let harmless = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
    !harmless
        && event.paths.iter().any(|path| {
            wanted.iter().any(|dir| dir.starts_with(path) || path.parent() == Some(dir.as_path()))
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn notices(directories: &Directories) -> bool {
        tokio::time::timeout(Duration::from_secs(10), directories.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_is_noticed_also_in_a_directory_made_later() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let dir = root.join("a/plugins");
        let directories = Directories::new().unwrap();
        directories.add(&dir);
        fs::create_dir_all(&dir).unwrap();
        assert!(notices(&directories).await);
        fs::write(dir.join("docker.wasm"), "x").unwrap();
        assert!(notices(&directories).await);
        fs::remove_file(dir.join("docker.wasm")).unwrap();
        assert!(notices(&directories).await);
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().canonicalize().unwrap();
        fs::write(dir.join("docker.wasm"), "x").unwrap();
        let directories = Directories::new().unwrap();
        directories.add(&dir);
        fs::read(dir.join("docker.wasm")).unwrap();
        fs::write(dir.join("marker.wasm"), "x").unwrap();
        assert!(notices(&directories).await, "the marker");
        fs::read(dir.join("docker.wasm")).unwrap();
        let again = tokio::time::timeout(Duration::from_millis(300), directories.changed()).await;
        assert!(again.is_err());
    }
}
