//! Which processes run, on disk, so that a router that follows one that was killed finds them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::files;

/// The file's name in the state directory.
const FILE: &str = "processes.json";

/// The file, and what stands in it.
#[derive(Default)]
pub(crate) struct Records {
    /// Without one, what runs is not remembered.
    file: Option<PathBuf>,
    boot: String,
    table: Mutex<Vec<Record>>,
}

/// A process that was started for a provider and not seen to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) provider: String,
    pub(super) command: String,
    pub(super) id: u64,
    pub(super) pid: i32,
    /// Ticks since the machine was started, by the kernel.
    pub(super) began: u64,
    /// Which start of the machine.
    pub(super) boot: String,
    /// Milliseconds since the epoch.
    pub(super) started_at: u64,
}

// === impl Records ===

impl Records {
    /// What stands in the file of this directory. A file that cannot be read is said once, and
    /// written anew.
    pub(crate) fn open(state: Option<&Path>) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim().to_owned();
        let file = state.map(|state| state.join(FILE));
        let mut table = match file.as_deref().map(read) {
            None => Vec::new(),
            Some(Ok(table)) => table,
            Some(Err(error)) => {
                let file = file.as_deref().unwrap_or(Path::new(FILE)).display();
                tracing::warn!(
                    %file, %error,
                    "programs that an earlier router left running are not known; look for them"
                );
                Vec::new()
            }
        };
        table.retain(|record| !boot.is_empty() && record.boot == boot);
        Self { file, boot, table: Mutex::new(table) }
    }

    /// What this provider had running.
    pub(super) fn of(&self, provider: &str) -> Vec<Record> {
        self.table().iter().filter(|record| record.provider == provider).cloned().collect()
    }

    /// The providers that have something running.
    pub(crate) fn providers(&self) -> BTreeSet<String> {
        self.table().iter().map(|record| record.provider.clone()).collect()
    }

    /// The present start of the machine; empty where the system does not tell.
    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    pub(super) fn add(&self, record: Record) {
        let mut table = self.table();
        table.push(record);
        self.write(&table);
    }

    pub(super) fn remove(&self, provider: &str, id: u64) {
        let mut table = self.table();
        let before = table.len();
        table.retain(|record| record.provider != provider || record.id != id);
        if table.len() != before {
            self.write(&table);
        }
    }

    fn table(&self) -> MutexGuard<'_, Vec<Record>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A few hundred bytes, at starts and ends alone.
    fn write(&self, table: &[Record]) {
        let Some(file) = &self.file else { return };
        let text = serde_json::to_vec(table).map_err(io::Error::other);
        if let Err(error) = text.and_then(|text| files::write(file, &text, 0o600)) {
            tracing::warn!(
                file = %file.display(), %error,
                "cannot note which programs run: they are not found after a crash of the router"
            );
        }
    }
}

/// Whoever could write it could have any process ended, so it has to be ours alone.
fn read(file: &Path) -> io::Result<Vec<Record>> {
    match files::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
