//! A prestarted launcher, so that a wake does not wait for the launcher's start.
//!
//! It is not tied to a command until it receives one over its socket, and exits with the router,
//! which holds the other end.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    Processes,
    launcher::{self, StartedProcess},
};

/// Time between the start of a program and the start of the next launcher. A program that needs
/// longer to become ready does not notice the two milliseconds that a launcher takes.
const PAUSE: Duration = Duration::from_millis(5);

/// At most one idle launcher.
#[derive(Default)]
pub(super) struct SpareLauncher {
    launcher: Mutex<Option<StartedProcess>>,
    /// Whether one is being started.
    filling: AtomicBool,
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

// === impl Processes ===

impl Processes {
    /// Starts a launcher for the next start, after a delay.
    pub(super) fn refill(self: &Arc<Self>) {
        let Some(program) = self.launch_options.launcher.clone() else { return };
        if self.grants.is_empty() || self.spare.filling.swap(true, Relaxed) {
            return;
        }
        let (closing, processes) = (self.closing.clone(), Arc::downgrade(self));
        let started = async move {
            tokio::time::sleep(PAUSE).await;
            let started = tokio::task::spawn_blocking(move || launcher::start(&program));
            started.await.map_err(io::Error::other).and_then(|started| started)
        };
        self.starts.spawn(async move {
            let started = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                started = started => started,
            };
            if let Some(processes) = processes.upgrade() {
                // A failure is reported when a command needs a launcher.
                processes.spare.put(started.ok());
            }
        });
    }
}
