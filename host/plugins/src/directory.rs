//! Watches plugin directories for changes, including directories that do not exist yet.

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

/// Changes within this time count as one: files are written in several steps.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Maximum delay of a change by debouncing.
const DEBOUNCE_LIMIT: Duration = Duration::from_secs(2);

/// A watcher of directories and files.
pub(crate) struct Directories {
    watcher: Arc<Mutex<RecommendedWatcher>>,
    wanted: Arc<Mutex<BTreeSet<PathBuf>>>,
    notify: Arc<Notify>,
}

// === impl Directories ===

impl Directories {
    pub(crate) fn new() -> notify::Result<Self> {
        let notify = Arc::new(Notify::new());
        let wanted = Arc::new(Mutex::new(BTreeSet::new()));
        let watcher = notify::recommended_watcher({
            let (notify, wanted) = (notify.clone(), wanted.clone());
            move |event: notify::Result<Event>| {
                // An error may hide a change.
                if event.map_or(true, |event| event.need_rescan() || concerns(&event, &wanted)) {
                    notify.notify_one();
                }
            }
        })?;
        Ok(Self { watcher: Arc::new(Mutex::new(watcher)), wanted, notify })
    }

    /// Also watches this directory or single file. Blocks on the file system.
    pub(crate) fn add(&self, dir: &Path) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
        watch_existing(&self.watcher, &self.wanted);
    }

    /// Waits for a change and the following quiet period. Supports a single caller and is not
    /// cancel-safe.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
        let quiet =
            async { while tokio::time::timeout(DEBOUNCE, self.notify.notified()).await.is_ok() {} };
        // Reported after the limit even if writes continue.
        let _ = tokio::time::timeout(DEBOUNCE_LIMIT, quiet).await;
        let (watcher, wanted) = (self.watcher.clone(), self.wanted.clone());
        // Fails only if the runtime is shutting down.
        let _ = tokio::task::spawn_blocking(move || watch_existing(&watcher, &wanted)).await;
    }
}

/// Watches each wanted directory and its parent, or the nearest existing ancestors, so that its
/// creation or replacement is seen.
fn watch_existing(watcher: &Mutex<RecommendedWatcher>, wanted: &Mutex<BTreeSet<PathBuf>>) {
    let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for dir in wanted {
        let existing = dir.ancestors().filter(|ancestor| ancestor.is_dir());
        for (depth, ancestor) in existing.take(2).enumerate() {
            if let Err(error) = watcher.watch(ancestor, RecursiveMode::NonRecursive)
                && depth == 0
            {
                let ancestor = ancestor.display();
                tracing::warn!("changes of plugins in {ancestor} cannot be watched: {error}");
            }
        }
    }
}

/// Returns whether an event affects a wanted path or one of its ancestors.
fn concerns(event: &Event, wanted: &Mutex<BTreeSet<PathBuf>>) -> bool {
    // Reading is not a change.
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
    async fn files_in_a_directory_created_later_are_noticed() {
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
    async fn reading_a_file_is_not_reported() {
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
