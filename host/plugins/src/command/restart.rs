//! Restarts programs that exited by themselves, as their grants define.
//!
//! A process that a plugin signalled to stop is not restarted; nor is one of an earlier router,
//! whose added arguments are unknown.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    launcher::Extras,
    process::UNKNOWN,
    state::{Processes, RestartWatcher},
};
use crate::settings::{CommandGrant, Restart};

/// Pause before the first restart; doubled for each consecutive one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Maximum pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Running this long resets the count of consecutive restarts.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// State of the restart task.
struct WatchedCommand {
    processes: Weak<Processes>,
    first: u64,
    command: String,
    extras: Extras,
    when: Restart,
    limit: usize,
}

// === impl RestartWatcher ===

impl RestartWatcher {
    /// Watches a started process; none if its grant has no restarts. Must be called within a tokio
    /// runtime.
    pub(super) fn new(
        processes: &Arc<Processes>,
        (first, command): (u64, &str),
        grant: &CommandGrant,
        extras: Extras,
        ended: watch::Receiver<Option<i32>>,
    ) -> Option<Self> {
        if grant.restart == Restart::Never {
            return None;
        }
        let watched = WatchedCommand {
            processes: Arc::downgrade(processes),
            first,
            command: command.to_owned(),
            extras,
            when: grant.restart,
            limit: grant.restart_limit,
        };
        Some(Self { first, task: tokio::spawn(watched.watch(ended)) })
    }
}

// === impl WatchedCommand ===

impl WatchedCommand {
    async fn watch(self, mut ended: watch::Receiver<Option<i32>>) {
        let mut restarts = 0;
        loop {
            let began = Instant::now();
            // The process was dropped: the provider is gone.
            let Ok(status) = ended.wait_for(Option::is_some).await.map(|status| *status) else {
                return;
            };
            let status = status.unwrap_or(UNKNOWN);
            if !self.when.applies_to(status) {
                return;
            }
            if began.elapsed() >= STABLE_AFTER {
                restarts = 0;
            }
            let command = &self.command;
            if restarts >= self.limit {
                tracing::error!(
                    command,
                    status,
                    restarts,
                    "process is not restarted: it keeps exiting; the next wake starts it"
                );
                return;
            }
            tokio::time::sleep(pause(restarts)).await;
            restarts += 1;
            let Some(processes) = self.processes.upgrade() else { return };
            match processes.restart(command, self.first, &self.extras).await {
                Ok(Some(process)) => ended = process.exit_watch(),
                Ok(None) => return,
                // The exit status is unchanged, so the next iteration follows at once, with a
                // longer pause.
                Err(error) => tracing::warn!(command, "restart failed: {}", error.message()),
            }
        }
    }
}

fn pause(restarts: usize) -> Duration {
    let doubled = u32::try_from(restarts).ok().and_then(|restarts| 2_u32.checked_pow(restarts));
    doubled.map_or(LONGEST_PAUSE, |times| FIRST_PAUSE.saturating_mul(times)).min(LONGEST_PAUSE)
}

// === impl Restart ===

impl Restart {
    fn applies_to(self, status: i32) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => status != 0,
            Self::Always => true,
        }
    }
}

#[cfg(test)]
mod tests;
