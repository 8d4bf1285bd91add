//! A launcher that is started ahead of time, so that a visitor does not wait for its start.
//!
//! It belongs to no command until it is handed one. It waits for that on its socket, and ends with
//! the router, which holds the other end.

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
    launcher::{self, Started},
};

/// Time between the start of a program and the start of the next launcher. A program that needs
/// longer to become ready does not notice the two milliseconds that a launcher takes.
const PAUSE: Duration = Duration::from_millis(5);

/// At most one launcher without a command.
#[derive(Default)]
pub(super) struct Spare {
    launcher: Mutex<Option<Started>>,
    /// One is being started.
    filling: AtomicBool,
}

// === impl Spare ===

impl Spare {
    /// The launcher, if one is ready. It may have ended meanwhile.
    pub(super) fn take(&self) -> Option<Started> {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, launcher: Option<Started>) {
        if launcher.is_some() {
            *self.launcher.lock().unwrap_or_else(PoisonError::into_inner) = launcher;
        }
        self.filling.store(false, Relaxed);
    }
}

// === impl Processes ===

impl Processes {
    /// Starts a launcher for the next start of a command, after a moment.
    pub(super) fn refill(self: &Arc<Self>) {
        let Some(program) = self.starter.launcher.clone() else { return };
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
                // Why it cannot start is told when a command needs one.
                processes.spare.put(started.ok());
            }
        });
    }
}
