//! Saves the running instances of workloads for a restart of the router: a small file, written when an
//! instance starts or ends, and periodically for the time of the last visit.

use std::{
    fs, io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use drowse_core::{Engine, InstanceRecord, PhaseChange};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
    task::JoinHandle,
};

use crate::state_dir::StateDir;

/// Interval between two checks for new visits.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Minimum interval between two checks, however many phases change.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Minimum interval between two writes that change only the time of the last visit.
const VISIT_INTERVAL: Duration = Duration::from_secs(15);
/// Maximum time of the last write.
pub(crate) const LAST_WRITE: Duration = Duration::from_secs(1);
const FILE: &str = "instances.json";

/// The task that writes the file, if there is a state directory.
pub(crate) struct SavedState(Option<Writer>);

struct Writer {
    task: JoinHandle<()>,
    last: Arc<Notify>,
}

/// The content of the file, and when it was written.
struct Written {
    notes: Vec<InstanceRecord>,
    at: Instant,
}

// === impl SavedState ===

impl SavedState {
    /// Restores the content of the file and saves changes from now on; does nothing without a state
    /// directory. Called before providers are added, because running instances are detected as soon as
    /// there is one.
    pub(crate) fn keep(
        state_dir: Option<Arc<StateDir>>,
        engine: &Arc<Engine>,
        runtime: &Handle,
    ) -> Self {
        let Some(state_dir) = state_dir else { return Self(None) };
        let shown = state_dir.directory().display();
        match read(&state_dir) {
            Ok(notes) => engine.restore(notes),
            Err(error) => tracing::warn!(
                "{shown}/{FILE}: {error}; workloads that are found running stay awake until their first \
                 visit has ended"
            ),
        }
        let (changes, last) = (engine.changes(), Arc::new(Notify::new()));
        let engine = Arc::downgrade(engine);
        let task = runtime.spawn(write_changes(state_dir.clone(), engine, changes, last.clone()));
        Self(Some(Writer { task, last }))
    }

    /// Writes the file for the last time, within [`LAST_WRITE`].
    pub(crate) async fn end(self) {
        let Some(Writer { mut task, last }) = self.0 else { return };
        last.notify_one();
        if tokio::time::timeout(LAST_WRITE, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("the running instances could not be saved in time");
        }
    }
}

async fn write_changes(
    state_dir: Arc<StateDir>,
    engine: Weak<Engine>,
    mut changes: broadcast::Receiver<PhaseChange>,
    last: Arc<Notify>,
) {
    let mut written: Option<Written> = None;
    let mut complained = false;
    loop {
        let ends = tokio::select! {
            () = last.notified() => true,
            // A missed change is a change as well.
            _ = changes.recv() => false,
            () = tokio::time::sleep(CHECK_INTERVAL) => false,
        };
        let Some(notes) = engine.upgrade().map(|engine| engine.instance_records()) else { return };
        if written.as_ref().is_none_or(|written| written.is_old(&notes, ends)) {
            let (file, text) = (state_dir.clone(), notes.clone());
            match tokio::task::spawn_blocking(move || write(&file, &text)).await {
                Ok(Ok(())) => {
                    written = Some(Written { notes, at: Instant::now() });
                    complained = false;
                }
                Ok(Err(error)) if !complained => {
                    tracing::warn!(
                        "{}/{FILE}: {error}; idle times begin again after a restart",
                        state_dir.directory().display()
                    );
                    complained = true;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if ends {
            return;
        }
        // One write for many changes.
        tokio::select! {
            () = last.notified() => last.notify_one(),
            () = tokio::time::sleep(MIN_INTERVAL) => {}
        }
        while changes.try_recv().is_ok() {}
    }
}

fn read(state_dir: &StateDir) -> io::Result<Vec<InstanceRecord>> {
    match fs::read(state_dir.directory().join(FILE)) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn write(state_dir: &StateDir, notes: &[InstanceRecord]) -> io::Result<()> {
    state_dir.write(FILE, &serde_json::to_vec(notes)?)
}

// === impl Written ===

impl Written {
    /// Whether an instance has changed, or times of visits are due to be written.
    fn is_old(&self, notes: &[InstanceRecord], ends: bool) -> bool {
        let same = |a: &InstanceRecord, b: &InstanceRecord| {
            a.workload == b.workload && a.native_id == b.native_id && a.started == b.started
        };
        let used = |(a, b): (&InstanceRecord, &InstanceRecord)| {
            let apart = a.used.duration_since(b.used).or_else(|_| b.used.duration_since(a.used));
            apart.is_ok_and(|apart| apart >= Duration::from_secs(1))
        };
        let pairs = || self.notes.iter().zip(notes);
        if self.notes.len() != notes.len() || !pairs().all(|(a, b)| same(a, b)) {
            return true;
        }
        (ends || self.at.elapsed() >= VISIT_INTERVAL) && pairs().any(used)
    }
}

#[cfg(test)]
mod tests;
