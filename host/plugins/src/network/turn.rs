//! One chain of plugins at a time for one attachment: each of them begins where another has ended.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The attachments that somebody is at, by where their results are kept.
#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<BTreeSet<PathBuf>>,
    left: Notify,
}

/// The only one at its attachment until it is dropped.
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    kept: PathBuf,
}

// === impl Turns ===

impl Turns {
    /// Waits until nobody is at this attachment.
    pub(super) async fn at(&self, kept: &Path) -> Turn<'_> {
        loop {
            let left = self.left.notified();
            if self.taken().insert(kept.to_owned()) {
                return Turn { turns: self, kept: kept.to_owned() };
            }
            left.await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Turn ===

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken().remove(&self.kept);
        self.turns.left.notify_waiters();
    }
}
