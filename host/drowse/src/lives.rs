//! Keeps what must be known of awake workloads when the router begins anew: a small file, written
//! when a phase has changed, and now and then for the time of the last visit.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use drowse_core::{Engine, LifeNote, PhaseChange};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
    task::JoinHandle,
};

/// Between two looks at who was visited.
const ROUND: Duration = Duration::from_secs(5);
/// Between two times of writing, however many phases change.
const PAUSE: Duration = Duration::from_millis(100);
const FILE: &str = "lives.json";

/// The file being kept.
pub(crate) struct Lives {
    keeper: JoinHandle<()>,
    last: Arc<Notify>,
}

// === impl Lives ===

impl Lives {
    /// Recalls what the file says, and keeps it from now on.
    pub(crate) fn keep(directory: &Path, engine: &Arc<Engine>, runtime: &Handle) -> Self {
        let file = directory.join(FILE);
        match read(&file) {
            Ok(notes) => engine.recall(notes),
            Err(error) => tracing::warn!(
                "{}: {error}; what is found running is kept until somebody has visited it",
                file.display()
            ),
        }
        let changes = engine.changes();
        let last = Arc::new(Notify::new());
        let keeper = runtime.spawn(write_again_and_again(
            file,
            Arc::downgrade(engine),
            changes,
            last.clone(),
        ));
        Self { keeper, last }
    }

    /// Writes it for the last time.
    pub(crate) async fn end(self) {
        self.last.notify_one();
        // It has nothing to say.
        let _ = self.keeper.await;
    }
}

async fn write_again_and_again(
    file: PathBuf,
    engine: Weak<Engine>,
    mut changes: broadcast::Receiver<PhaseChange>,
    last: Arc<Notify>,
) {
    let mut written = None;
    let mut complained = false;
    loop {
        let ends = tokio::select! {
            () = last.notified() => true,
            // One that was missed is a change as well.
            _ = changes.recv() => false,
            () = tokio::time::sleep(ROUND) => false,
        };
        while changes.try_recv().is_ok() {}
        let Some(notes) = engine.upgrade().map(|engine| engine.lives()) else { return };
        if !same(written.as_deref(), &notes) {
            let (place, text) = (file.clone(), notes.clone());
            let result = tokio::task::spawn_blocking(move || write(&place, &text)).await;
            match result {
                Ok(Ok(())) => {
                    written = Some(notes);
                    complained = false;
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(Err(error)) if !complained => {
                    tracing::warn!(
                        "{}: {error}; after a restart idle times begin anew",
                        file.display()
                    );
                    complained = true;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if ends {
            return;
        }
    }
}

/// The same lives, used last at the same time give or take a moment.
fn same(written: Option<&[LifeNote]>, notes: &[LifeNote]) -> bool {
    let near = |a: &LifeNote, b: &LifeNote| {
        let apart = a.used.duration_since(b.used).or_else(|_| b.used.duration_since(a.used));
        a.workload == b.workload
            && a.native_id == b.native_id
            && apart.is_ok_and(|apart| apart < Duration::from_secs(1))
    };
    written.is_some_and(|written| {
        written.len() == notes.len() && written.iter().zip(notes).all(|(a, b)| near(a, b))
    })
}

fn read(file: &Path) -> io::Result<Vec<LifeNote>> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Beside it and then in its place, so that it is whole at every moment.
fn write(file: &Path, notes: &[LifeNote]) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(notes)?)?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests;
