//! Keeps what must be known of awake workloads when the router begins anew: a small file, written
//! when a life begins or ends, and now and then for the time of the last visit.

use std::{
    fs, io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use drowse_core::{Engine, LifeNote, PhaseChange};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
    task::JoinHandle,
};

use crate::state_dir::StateDir;

/// Between two looks at who was visited.
const ROUND: Duration = Duration::from_secs(5);
/// Between two looks, however many phases change.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two times of writing for nothing but the time of the last visit.
const USED: Duration = Duration::from_secs(15);
/// The last time of writing may take so long.
pub(crate) const LAST: Duration = Duration::from_secs(1);
const FILE: &str = "instances.json";

/// The file being kept, if it can be.
pub(crate) struct SavedState(Option<Keeper>);

struct Keeper {
    task: JoinHandle<()>,
    last: Arc<Notify>,
}

/// What is in the file, and since when.
struct Written {
    notes: Vec<LifeNote>,
    at: Instant,
}

// === impl SavedState ===

impl SavedState {
    /// Recalls what the file says, and keeps it from now on; without a place for it nothing is
    /// kept. Called before there are providers: what runs is found as soon as there is one.
    pub(crate) fn keep(
        state_dir: Option<Arc<StateDir>>,
        engine: &Arc<Engine>,
        runtime: &Handle,
    ) -> Self {
        let Some(state_dir) = state_dir else { return Self(None) };
        let shown = state_dir.directory().display();
        match read(&state_dir) {
            Ok(notes) => engine.recall(notes),
            Err(error) => tracing::warn!(
                "{shown}/{FILE}: {error}; what is found running is kept until somebody has visited \
                 it"
            ),
        }
        let (changes, last) = (engine.changes(), Arc::new(Notify::new()));
        let engine = Arc::downgrade(engine);
        let task =
            runtime.spawn(write_again_and_again(state_dir.clone(), engine, changes, last.clone()));
        Self(Some(Keeper { task, last }))
    }

    /// Writes it for the last time, for a second at most.
    pub(crate) async fn end(self) {
        let Some(Keeper { mut task, last }) = self.0 else { return };
        last.notify_one();
        if tokio::time::timeout(LAST, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("what runs could not be written down in time");
        }
    }
}

async fn write_again_and_again(
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
            // One that was missed is a change as well.
            _ = changes.recv() => false,
            () = tokio::time::sleep(ROUND) => false,
        };
        let Some(notes) = engine.upgrade().map(|engine| engine.lives()) else { return };
        if written.as_ref().is_none_or(|written| written.is_old(&notes, ends)) {
            let (file, text) = (state_dir.clone(), notes.clone());
            match tokio::task::spawn_blocking(move || write(&file, &text)).await {
                Ok(Ok(())) => {
                    written = Some(Written { notes, at: Instant::now() });
                    complained = false;
                }
                Ok(Err(error)) if !complained => {
                    tracing::warn!(
                        "{}/{FILE}: {error}; after a restart idle times begin anew",
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
        // Not for each of many changes.
        tokio::select! {
            () = last.notified() => last.notify_one(),
            () = tokio::time::sleep(PAUSE) => {}
        }
        while changes.try_recv().is_ok() {}
    }
}

fn read(state_dir: &StateDir) -> io::Result<Vec<LifeNote>> {
    match fs::read(state_dir.directory().join(FILE)) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn write(state_dir: &StateDir, notes: &[LifeNote]) -> io::Result<()> {
    state_dir.write(FILE, &serde_json::to_vec(notes)?)
}

// === impl Written ===

impl Written {
    /// It says something else of who lives, or something of long ago of who was used last.
    fn is_old(&self, notes: &[LifeNote], ends: bool) -> bool {
        let same = |a: &LifeNote, b: &LifeNote| {
            a.workload == b.workload && a.native_id == b.native_id && a.started == b.started
        };
        let used = |(a, b): (&LifeNote, &LifeNote)| {
            let apart = a.used.duration_since(b.used).or_else(|_| b.used.duration_since(a.used));
            apart.is_ok_and(|apart| apart >= Duration::from_secs(1))
        };
        let pairs = || self.notes.iter().zip(notes);
        if self.notes.len() != notes.len() || !pairs().all(|(a, b)| same(a, b)) {
            return true;
        }
        (ends || self.at.elapsed() >= USED) && pairs().any(used)
    }
}

#[cfg(test)]
mod tests;
