//! A mutex per attachment: each plugin chain starts after the previous one has ended.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The locked attachments, by the path of their cached result.
#[derive(Default)]
pub(super) struct KeyedMutex {
    locked: Mutex<BTreeSet<PathBuf>>,
    released: Notify,
}

/// Exclusive access to one attachment, until dropped.
pub(super) struct KeyedGuard<'t> {
    mutex: &'t KeyedMutex,
    key: PathBuf,
}

// === impl KeyedMutex ===

impl KeyedMutex {
    /// Waits for exclusive access to an attachment.
    pub(super) async fn lock(&self, key: &Path) -> KeyedGuard<'_> {
        loop {
            let released = self.released.notified();
            if self.locked().insert(key.to_owned()) {
                return KeyedGuard { mutex: self, key: key.to_owned() };
            }
            released.await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl KeyedGuard ===

impl Drop for KeyedGuard<'_> {
    fn drop(&mut self) {
        self.mutex.locked().remove(&self.key);
        self.mutex.released.notify_waiters();
    }
}
