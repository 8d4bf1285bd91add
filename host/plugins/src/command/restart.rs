//! Starts programs again that have ended by themselves, as their grants say.
//!
//! What a provider has told to end is not started again; nor is what an earlier router has started,
//! whose arguments nobody knows any more.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{Extras, Processes, process::UNKNOWN};
use crate::settings::{CommandGrant, Restart};

/// Before the first restart; each that follows in a row waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// But no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Whoever ran for so long begins a new row.
const LONG: Duration = Duration::from_secs(60);

/// Waits for the end of a command's process and starts it again. Dropping it gives that up.
pub(super) struct Minder {
    /// The number of the process that a provider started.
    pub(super) first: u64,
    task: JoinHandle<()>,
}

/// One command that is minded.
struct Minded {
    processes: Weak<Processes>,
    first: u64,
    command: String,
    extras: Extras,
    when: Restart,
    limit: usize,
}

// === impl Minder ===

impl Minder {
    /// Minds a process that was started; none when its grant does not want that. Must be called
    /// within the runtime.
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
        let minded = Minded {
            processes: Arc::downgrade(processes),
            first,
            command: command.to_owned(),
            extras,
            when: grant.restart,
            limit: grant.restart_limit,
        };
        Some(Self { first, task: tokio::spawn(minded.mind(ended)) })
    }
}

impl Drop for Minder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Minded ===

impl Minded {
    async fn mind(self, mut ended: watch::Receiver<Option<i32>>) {
        let mut row = 0;
        loop {
            let began = Instant::now();
            // Nobody keeps the process any more: the provider has gone.
            let Ok(status) = ended.wait_for(Option::is_some).await.map(|status| *status) else {
                return;
            };
            let status = status.unwrap_or(UNKNOWN);
            if !self.when.wants(status) {
                return;
            }
            if began.elapsed() >= LONG {
                row = 0;
            }
            let command = &self.command;
            if row >= self.limit {
                tracing::error!(
                    command,
                    status,
                    restarts = row,
                    "process is not started again: it keeps ending; the next visitor starts it"
                );
                return;
            }
            tokio::time::sleep(pause(row)).await;
            row += 1;
            let Some(processes) = self.processes.upgrade() else { return };
            match processes.again(command, self.first, &self.extras).await {
                Ok(Some(process)) => ended = process.ending(),
                Ok(None) => return,
                // What ended has ended: the next look comes at once, and waits longer.
                Err(error) => tracing::warn!(command, "restart: {}", error.message()),
            }
        }
    }
}

fn pause(row: usize) -> Duration {
    let doubled = u32::try_from(row).ok().and_then(|row| 2_u32.checked_pow(row));
    doubled.map_or(LONGEST_PAUSE, |times| FIRST_PAUSE.saturating_mul(times)).min(LONGEST_PAUSE)
}

// === impl Restart ===

impl Restart {
    fn wants(self, status: i32) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => status != 0,
            Self::Always => true,
        }
    }
}

#[cfg(test)]
mod tests;
