//! A prestarted launcher, so that a wake does not wait for the launcher's start.
//!
//! It is not tied to a command until it receives one over its socket, and exits with the router,
//! which holds the other end.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::launcher::StartedProcess;

/// At most one idle launcher.
#[derive(Default)]
pub(super) struct SpareLauncher {
    launcher: Mutex<Option<StartedProcess>>,
    /// True if one is being started.
    pub(super) filling: AtomicBool,
}

// === impl SpareLauncher ===

impl SpareLauncher {
    /// The idle launcher, if one is ready. It may have exited meanwhile.
    pub(super) fn take(&self) -> Option<StartedProcess> {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, launcher: Option<StartedProcess>) {
        if launcher.is_some() {
            *self.launcher.lock().unwrap_or_else(PoisonError::into_inner) = launcher;
        }
        self.filling.store(false, Relaxed);
    }
}
