//! Which processes run, on disk, so that a router that follows one that was killed finds them.

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

/// The file's name in the state directory.
const FILE: &str = "processes.json";
/// A write is waited for this long; then a start goes on, and the file is behind.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file, and what stands in it.
#[derive(Default)]
pub(crate) struct Records {
    boot: String,
    table: Arc<Mutex<Table>>,
    /// Without one, what runs is not remembered.
    writer: Option<Writer>,
}

#[derive(Default)]
struct Table {
    records: Vec<Record>,
    /// Counts changes.
    version: u64,
}

/// A thread that writes the file: its file system may be slow, or not answer at all.
struct Writer {
    file: PathBuf,
    /// There is something to write.
    changed: SyncSender<()>,
    /// The version that was last written, or tried.
    written: watch::Receiver<u64>,
    complained: AtomicBool,
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
        let mut records = match file.as_deref().map(read) {
            None => Vec::new(),
            Some(Ok(records)) => records,
            Some(Err(error)) => {
                let file = file.as_deref().unwrap_or(Path::new(FILE)).display();
                tracing::warn!(
                    %file, %error,
                    "programs that an earlier router left running are not known; look for them"
                );
                Vec::new()
            }
        };
        records.retain(|record| !boot.is_empty() && record.boot == boot);
        let table = Arc::new(Mutex::new(Table { records, version: 0 }));
        let writer = file.and_then(|file| {
            Writer::start(file, table.clone())
                .inspect_err(|error| {
                    tracing::warn!("cannot note which programs run: no thread for it: {error}");
                })
                .ok()
        });
        Self { boot, table, writer }
    }

    /// What this provider had running.
    pub(super) fn of(&self, provider: &str) -> Vec<Record> {
        let table = self.table();
        table.records.iter().filter(|record| record.provider == provider).cloned().collect()
    }

    /// The providers that have something running.
    pub(crate) fn providers(&self) -> BTreeSet<String> {
        self.table().records.iter().map(|record| record.provider.clone()).collect()
    }

    /// The present start of the machine; empty where the system does not tell.
    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    /// Adds a record. It is in the file once [`Records::written`] returns.
    pub(super) fn add(&self, record: Record) {
        self.change(|records| records.push(record));
    }

    /// Removes a record. It is gone from the file once [`Records::written`] returns.
    pub(super) fn remove(&self, provider: &str, id: u64) {
        self.change(|records| records.retain(|it| it.provider != provider || it.id != id));
    }

    /// Waits until the file holds every change made so far, for a second at most.
    pub(super) async fn written(&self) {
        let Some(writer) = &self.writer else { return };
        let version = self.table().version;
        let mut written = writer.written.clone();
        let done = timeout(PATIENCE, written.wait_for(|written| *written >= version)).await;
        if done.is_err() && !writer.complained.swap(true, Relaxed) {
            tracing::warn!(
                file = %writer.file.display(),
                "noting which programs run takes longer than 1 s; is the state directory's \
                 filesystem reachable? What is missing there is not found after a crash of the router"
            );
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Record>)) {
        let mut table = self.table();
        let before = table.records.len();
        change(&mut table.records);
        if table.records.len() != before {
            table.version += 1;
            if let Some(writer) = &self.writer {
                // When it is full, the writer has not yet looked at what it was last told of.
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
    /// Ends with what it belongs to.
    fn start(file: PathBuf, table: Arc<Mutex<Table>>) -> io::Result<Self> {
        let (changed, changes) = sync_channel(1);
        let (sender, written) = watch::channel(0);
        let thread = thread::Builder::new().name("drowse-records".into());
        thread.spawn({
            let file = file.clone();
            move || write_changes(&file, &table, &changes, &sender)
        })?;
        Ok(Self { file, changed, written, complained: AtomicBool::new(false) })
    }
}

/// A few hundred bytes, at starts and ends alone.
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
                "cannot note which programs run: they are not found after a crash of the router"
            );
        }
        written.send_replace(version);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever could write it could have any process ended, so it has to be ours alone.
fn read(file: &Path) -> io::Result<Vec<Record>> {
    match files::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
