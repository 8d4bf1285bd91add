//! Records of running processes on disk, from which the next router adopts processes of one that
//! was killed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};

use crate::files;

/// File name in the state directory.
const FILE: &str = "processes.json";
/// Maximum wait for a write; then a start continues although the file is behind.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The records, and the file that they are written to.
#[derive(Default)]
pub(crate) struct ProcessRecords {
    boot: String,
    table: Arc<Mutex<Table>>,
    /// Without it nothing is recorded.
    writer: Option<Writer>,
}

#[derive(Default)]
struct Table {
    records: Vec<ProcessRecord>,
    /// Number of changes.
    version: u64,
}

/// A thread that writes the file, because its file system may be slow or hang.
struct Writer {
    file: PathBuf,
    /// Wakes the thread after a change.
    changed: SyncSender<()>,
    /// The last version that was written or failed.
    written: watch::Receiver<u64>,
    warned: AtomicBool,
}

/// A process whose exit has not been seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessRecord {
    pub(super) provider: String,
    pub(super) command: String,
    pub(super) id: u64,
    pub(super) pid: i32,
    /// Start time in clock ticks since boot.
    pub(super) began: u64,
    /// Boot ID.
    pub(super) boot: String,
    /// Milliseconds since the epoch.
    pub(super) started_at: u64,
}

// === impl ProcessRecords ===

impl ProcessRecords {
    /// Reads the file in this directory. If that fails, logs it and starts with no records.
    pub(crate) fn open(state: Option<&Path>) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim().to_owned();
        let file = state.map(|state| state.join(FILE));
        let mut records = match file.as_deref().map(read) {
            None => Vec::new(),
            Some(Ok(records)) => records,
            Some(Err(error)) => {
                let file = file.as_deref().unwrap_or(Path::new(FILE)).display();
                tracing::warn!(
                    %file, %error,
                    "processes that an earlier router left running are unknown; check for leftovers"
                );
                Vec::new()
            }
        };
        records.retain(|record| !boot.is_empty() && record.boot == boot);
        let table = Arc::new(Mutex::new(Table { records, version: 0 }));
        let writer = file.and_then(|file| {
            Writer::start(file, table.clone())
                .inspect_err(|error| {
                    tracing::warn!(
                        "running processes are not recorded: cannot create a thread: {error}"
                    );
                })
                .ok()
        });
        Self { boot, table, writer }
    }

    /// The processes of this provider.
    pub(super) fn of(&self, provider: &str) -> Vec<ProcessRecord> {
        let table = self.table();
        table.records.iter().filter(|record| record.provider == provider).cloned().collect()
    }

    /// The providers with running processes.
    pub(crate) fn providers(&self) -> BTreeSet<String> {
        self.table().records.iter().map(|record| record.provider.clone()).collect()
    }

    /// The current boot ID; empty if the system does not provide it.
    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    /// Adds a record. It is on disk once [`ProcessRecords::written`] returns.
    pub(super) fn add(&self, record: ProcessRecord) {
        self.change(|records| records.push(record));
    }

    /// Removes a record. It is gone from disk once [`ProcessRecords::written`] returns.
    pub(super) fn remove(&self, provider: &str, id: u64) {
        self.change(|records| records.retain(|it| it.provider != provider || it.id != id));
    }

    /// Waits until all changes so far are on disk, for at most [`WRITE_TIMEOUT`].
    pub(super) async fn written(&self) {
        let Some(writer) = &self.writer else { return };
        let version = self.table().version;
        let mut written = writer.written.clone();
        let done = timeout(WRITE_TIMEOUT, written.wait_for(|written| *written >= version)).await;
        if done.is_err() && !writer.warned.swap(true, Relaxed) {
            tracing::warn!(
                file = %writer.file.display(),
                "recording running processes takes longer than 1 s; is the state directory's \
                 filesystem reachable? Unrecorded processes are not found after a crash of the router"
            );
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<ProcessRecord>)) {
        let mut table = self.table();
        let before = table.records.len();
        change(&mut table.records);
        if table.records.len() != before {
            table.version += 1;
            if let Some(writer) = &self.writer {
                // If the channel is full the writer will see this change too.
                let _ = writer.changed.try_send(());
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

// === impl Writer ===

impl Writer {
    /// Starts the thread, which ends when the records are dropped.
    fn start(file: PathBuf, table: Arc<Mutex<Table>>) -> io::Result<Self> {
        let (changed, changes) = sync_channel(1);
        let (sender, written) = watch::channel(0);
        let thread = thread::Builder::new().name("drowse-records".into());
        thread.spawn({
            let file = file.clone();
            move || write_changes(&file, &table, &changes, &sender)
        })?;
        Ok(Self { file, changed, written, warned: AtomicBool::new(false) })
    }
}

/// Writes a few hundred bytes at each start and exit.
fn write_changes(
    file: &Path,
    table: &Mutex<Table>,
    changes: &Receiver<()>,
    written: &watch::Sender<u64>,
) {
    while changes.recv().is_ok() {
        let (text, version) = {
            let table = lock(table);
            (serde_json::to_vec(&table.records).map_err(io::Error::other), table.version)
        };
        if let Err(error) = text.and_then(|text| files::write(file, &text, 0o600)) {
            tracing::warn!(
                file = %file.display(), %error,
                "cannot record running processes: they are not found after a crash of the router"
            );
        }
        written.send_replace(version);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file must be private: its content decides which processes are killed.
fn read(file: &Path) -> io::Result<Vec<ProcessRecord>> {
    match files::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
