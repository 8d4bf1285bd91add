//! State shared by all processes of a provider.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::records::ProcessRecords;
use crate::log_limiter::LogLimiter;

/// State shared by all processes of a provider.
pub(super) struct ProcessContext {
    pub(super) provider: String,
    pub(super) changes: Changes,
    pub(super) log_limiter: Arc<LogLimiter>,
    pub(super) records: Arc<ProcessRecords>,
}

/// Counts starts and exits, and the number of the last one per command.
pub(super) struct Changes {
    pub(super) by_command: Mutex<BTreeMap<String, u64>>,
    pub(super) count: watch::Sender<u64>,
}

// === impl Changes ===

impl Changes {
    /// Counts a start or exit of this command.
    pub(super) fn record(&self, command: &str) {
        let mut by_command = self.by_command.lock().unwrap_or_else(PoisonError::into_inner);
        self.count.send_modify(|count| {
            *count += 1;
            by_command.insert(command.to_owned(), *count);
        });
    }

    /// The commands that changed after number `since`.
    pub(super) fn after(&self, since: u64) -> Vec<String> {
        let by_command = self.by_command.lock().unwrap_or_else(PoisonError::into_inner);
        let later = by_command.iter().filter(|(_, at)| **at > since);
        later.map(|(command, _)| command.clone()).collect()
    }
}
