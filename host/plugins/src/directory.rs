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
    watcher: RecommendedWatcher,
    wanted: Arc<Mutex<BTreeSet<PathBuf>>>,
    bell: Arc<Notify>,
    /// The bell has rung, and nobody has been told yet.
    rung: bool,
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
        Ok(Self { watcher, wanted, bell, rung: false })
    }

    /// Watches this directory too.
    pub(crate) fn add(&mut self, dir: &Path) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
        self.renew();
    }

    /// Waits until something has changed and then been quiet for a moment. Dropping it loses
    /// nothing.
    pub(crate) async fn changed(&mut self) {
        if !self.rung {
            self.bell.notified().await;
            self.rung = true;
        }
        let quiet =
            async { while tokio::time::timeout(QUIET, self.bell.notified()).await.is_ok() {} };
        // Whoever writes all the time is looked at all the same.
        let _ = tokio::time::timeout(PATIENCE, quiet).await;
        self.rung = false;
        self.renew();
    }

    /// Watches what exists: each directory and, for the time that it does not exist or is replaced,
    /// its nearest existing ancestor.
    fn renew(&mut self) {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for dir in wanted {
            let existing = dir.ancestors().filter(|ancestor| ancestor.is_dir());
            for (place, ancestor) in existing.take(2).enumerate() {
                if let Err(error) = self.watcher.watch(ancestor, RecursiveMode::NonRecursive)
                    && place == 0
                {
                    let ancestor = ancestor.display();
                    tracing::warn!("changes of plugins in {ancestor} will not be noticed: {error}");
                }
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

    async fn notices(directories: &mut Directories) -> bool {
        tokio::time::timeout(Duration::from_secs(10), directories.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_is_noticed_also_in_a_directory_made_later() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let dir = root.join("a/plugins");
        let mut directories = Directories::new().unwrap();
        directories.add(&dir);
        fs::create_dir_all(&dir).unwrap();
        assert!(notices(&mut directories).await);
        fs::write(dir.join("docker.wasm"), "x").unwrap();
        assert!(notices(&mut directories).await);
        fs::remove_file(dir.join("docker.wasm")).unwrap();
        assert!(notices(&mut directories).await);
    }

    #[tokio::test]
    async fn a_change_that_nobody_waited_for_to_the_end_is_told_the_next_time() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().canonicalize().unwrap();
        let mut directories = Directories::new().unwrap();
        directories.add(&dir);
        fs::write(dir.join("docker.wasm"), "x").unwrap();
        let heard = async {
            while !directories.rung {
                // Given up within the quiet time, again and again.
                let _ = tokio::time::timeout(QUIET / 4, directories.changed()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), heard).await.expect("it is heard");
        assert!(notices(&mut directories).await);
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().canonicalize().unwrap();
        fs::write(dir.join("docker.wasm"), "x").unwrap();
        let mut directories = Directories::new().unwrap();
        directories.add(&dir);
        fs::read(dir.join("docker.wasm")).unwrap();
        fs::write(dir.join("marker.wasm"), "x").unwrap();
        assert!(notices(&mut directories).await, "the marker");
        fs::read(dir.join("docker.wasm")).unwrap();
        let again = tokio::time::timeout(Duration::from_millis(300), directories.changed()).await;
        assert!(again.is_err());
    }
}
