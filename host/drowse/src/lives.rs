//! Keeps what must be known of awake workloads when the router begins anew: a small file, written
//! when a life begins or ends, and now and then for the time of the last visit.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use drowse_core::{Engine, LifeNote, PhaseChange};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
    task::JoinHandle,
};

/// Between two looks at who was visited.
const ROUND: Duration = Duration::from_secs(5);
/// Between two looks, however many phases change.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two times of writing for nothing but the time of the last visit.
const USED: Duration = Duration::from_secs(15);
/// The last time of writing may take so long.
const LAST: Duration = Duration::from_secs(1);
const FILE: &str = "lives.json";
const LOCK: &str = "lives.lock";

/// The file being kept, if it can be.
pub(crate) struct Lives(Option<Keeper>);

struct Keeper {
    task: JoinHandle<()>,
    last: Arc<Notify>,
}

/// The state directory, which is this router's alone until this is dropped.
struct Place {
    directory: PathBuf,
    _lock: File,
}

/// What is in the file, and since when.
struct Written {
    notes: Vec<LifeNote>,
    at: Instant,
}

// === impl Lives ===

impl Lives {
    /// Recalls what the file says, and keeps it from now on. Called before there are providers:
    /// what runs is found as soon as there is one.
    pub(crate) fn keep(directory: &Path, engine: &Arc<Engine>, runtime: &Handle) -> Self {
        let shown = directory.display();
        let place = match Place::open(directory) {
            Ok(place) => place,
            Err(error) => {
                tracing::warn!(
                    "state directory {shown}: {error}; nothing is remembered over a restart: what \
                     is found running then is kept until somebody has visited it"
                );
                return Self(None);
            }
        };
        match place.read() {
            Ok(notes) => engine.recall(notes),
            Err(error) => tracing::warn!(
                "{shown}/{FILE}: {error}; what is found running is kept until somebody has visited \
                 it"
            ),
        }
        let (changes, last) = (engine.changes(), Arc::new(Notify::new()));
        let engine = Arc::downgrade(engine);
        let task =
            runtime.spawn(write_again_and_again(Arc::new(place), engine, changes, last.clone()));
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
    place: Arc<Place>,
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
            let (directory, text) = (place.clone(), notes.clone());
            match tokio::task::spawn_blocking(move || directory.write(&text)).await {
                Ok(Ok(())) => {
                    written = Some(Written { notes, at: Instant::now() });
                    complained = false;
                }
                Ok(Err(error)) if !complained => {
                    tracing::warn!(
                        "{}/{FILE}: {error}; after a restart idle times begin anew",
                        place.directory.display()
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

// === impl Place ===

impl Place {
    /// Makes the directory if it is not there. Fails when others could change what is in it, and
    /// when another router keeps its notes there.
    fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let directory = directory.canonicalize()?;
        ours_alone(&directory)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = lock.open(directory.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other(
                "another router keeps its notes there: give this one another `state` directory",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn read(&self) -> io::Result<Vec<LifeNote>> {
        match fs::read(self.directory.join(FILE)) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Beside it and then in its place, so that it is whole at every moment.
    fn write(&self, notes: &[LifeNote]) -> io::Result<()> {
        let new = self.directory.join(FILE).with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(notes)?)?;
        fs::rename(new, self.directory.join(FILE))
    }
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

/// Fails when somebody else could change what is in a directory, or put another in its place.
fn ours_alone(directory: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let found = fs::metadata(directory)?;
    if found.uid() != user {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write to it: it must be mode 0700 or 0755"));
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    let above = fs::metadata(parent)?;
    let sticky = above.mode() & 0o1000 != 0;
    if ![user, 0].contains(&above.uid()) || above.mode() & 0o022 != 0 && !sticky {
        let message = format!("others may write to the directory above it, {}", parent.display());
        return Err(io::Error::other(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
