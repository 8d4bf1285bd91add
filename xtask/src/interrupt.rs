//! Handles Ctrl-C and other termination signals, so that started programs are stopped in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

/// Records termination signals. Dropping it restores the default action.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

// === impl Interrupt ===

impl Interrupt {
    /// Records SIGINT, SIGTERM and SIGHUP from now on instead of terminating.
    pub(crate) fn watch() -> Result<Self> {
        let (asked, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&over))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .context("watch for Ctrl-C")?;
        }
        Ok(Self { asked, over })
    }

    /// Returns whether a signal was received.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Sleeps. False if a signal was received in the meantime.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.asked() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(Duration::from_millis(50)));
        }
        false
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
