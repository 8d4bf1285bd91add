//! A container's data: a snapshot on top of its image's, which outlives the container's record.
//!
//! Whose it is stands in a label. A container that is made on top of the same image takes over what
//! an earlier one has left. On top of another image the changes are carried into a new snapshot, and
//! the old one stays as it was until the new container is there: whatever fails before, nothing is
//! lost.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Error, Result, clock, info, warn};

use crate::{
    daemon::{Daemon, Key},
    lease,
    manifest::short,
    proto::{SnapshotInfo, SnapshotKind},
};

/// With it nobody collects a snapshot: its data outlives the container's record.
const ROOT: &str = "containerd.io/gc.root";

/// Whose snapshot it is.
const OWNER: &str = "drowse.container";

/// The data of one container.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) id: &'a str,
    /// Of snapshots that are made.
    pub(crate) snapshotter: &'a str,
}

/// A snapshot with the container's data on top of an image.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) key: String,
    /// Made now, and not taken over.
    pub(crate) fresh: bool,
    /// What nobody needs when there is a container with these: snapshotter and key.
    superseded: Vec<(String, String)>,
}

// === impl Data ===

impl<'a> Data<'a> {
    fn key(&self, key: &'a str) -> Key<'a> {
        Key { snapshotter: self.snapshotter, key }
    }

    /// On top of this image: what an earlier container has left, or else empty.
    pub(crate) fn on(&self, parent: &str) -> Result<Files> {
        let left = self.left()?;
        let Some(any) = left.iter().find(|it| it.parent == parent).or(left.first()) else {
            let made = self.daemon.prepare(self.key(self.id), parent, self.labels())?;
            let (key, fresh) = (self.id.to_owned(), made.is_some());
            return Ok(Files { key, fresh, superseded: Vec::new() });
        };
        info!("container {:?}: taking over the data of its predecessor", self.id);
        let from = Key { snapshotter: self.snapshotter, key: &any.name };
        let mut files = self.moved(from, &any.parent, parent)?;
        // What a making anew that was broken off has left: the same data.
        let others = left.iter().filter(|it| it.name != any.name && it.name != files.key);
        let others = others.map(|it| (self.snapshotter.to_owned(), it.name.clone()));
        files.superseded.extend(others);
        Ok(files)
    }

    /// The data of this snapshot on top of this image.
    pub(crate) fn of(&self, from: Key<'_>, parent: &str) -> Result<Files> {
        let found = self.daemon.snapshot(from)?.ok_or_else(|| {
            Error::invalid_request(format!("its snapshot {:?} does not exist", from.key))
        })?;
        self.moved(from, &found.parent, parent)
    }

    fn moved(&self, from: Key<'_>, below: &str, parent: &str) -> Result<Files> {
        if below == parent && from.snapshotter == self.snapshotter {
            self.keep(from)?;
            let key = from.key.to_owned();
            return Ok(Files { key, fresh: false, superseded: Vec::new() });
        }
        let name = format!("{}@{}", self.id, short(parent));
        let carried = self.carry(from, below, self.key(&name), parent);
        carried.map_err(|error| error.context("carry its data to the other image"))?;
        let superseded = vec![(from.snapshotter.to_owned(), from.key.to_owned())];
        Ok(Files { key: name, fresh: true, superseded })
    }

    /// Makes a snapshot on top of this image with what was changed in another one.
    fn carry(&self, from: Key<'_>, below: &str, to: Key<'_>, parent: &str) -> Result<()> {
        info!("container {:?}: its image is another one: carrying its data", self.id);
        lease::hold_whole(self.daemon, &format!("carry-{}", self.id), |daemon| {
            let name = format!("{} before", to.key);
            let before = Key { snapshotter: from.snapshotter, key: &name };
            // What was broken off is nobody's.
            daemon.remove_snapshot(before)?;
            daemon.remove_snapshot(to)?;
            let carried = || {
                let left = daemon.view(before, below)?;
                let changes = daemon.diff(left, daemon.mounts(from)?, to.key)?;
                let mounts = daemon.prepare(to, parent, BTreeMap::new())?;
                let mounts = mounts.ok_or_else(|| Error::conflict("somebody else carries it"))?;
                daemon.apply(&changes, mounts)?;
                // From here on it is what the container's data is looked for by.
                self.keep(to)
            };
            let carried: Result<()> = carried();
            let dropped = daemon.remove_snapshot(before);
            if carried.is_err() {
                self.dropped(to, daemon.remove_snapshot(to));
            }
            self.dropped(before, dropped);
            carried
        })
    }

    /// Sees to it that a snapshot outlives its container and is found again.
    pub(crate) fn keep(&self, key: Key<'_>) -> Result<()> {
        self.daemon.label_snapshot(key, self.labels())
    }

    fn labels(&self) -> BTreeMap<String, String> {
        // What a root's label says is not read.
        let since = clock::since_epoch().as_secs().to_string();
        let labels = [(ROOT, since), (OWNER, self.id.to_owned())];
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What there is of the container, the record aside.
    fn left(&self) -> Result<Vec<SnapshotInfo>> {
        let mut left = self.daemon.snapshots(self.snapshotter, self.owned())?;
        left.retain(|it| it.kind == SnapshotKind::Active as i32);
        if left.is_empty()
            && let Some(named) = self.daemon.snapshot(self.key(self.id))?
        {
            if named.kind != SnapshotKind::Active as i32 {
                return Err(Error::conflict(format!(
                    "there is a snapshot {:?} that is no container's; remove it",
                    self.id
                )));
            }
            left.push(named);
        }
        Ok(left)
    }

    /// Takes away all that is left of the container's data.
    pub(crate) fn remove(&self) -> Result<()> {
        let mut failed = None;
        for left in self.daemon.snapshots(self.snapshotter, self.owned())? {
            if let Err(error) = self.daemon.remove_snapshot(self.key(&left.name)) {
                failed.get_or_insert(error.context(format!("snapshot {:?}", left.name)));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn owned(&self) -> String {
        format!("labels.\"{OWNER}\"==\"{}\"", self.id)
    }

    /// The new container is there: what it does not need is nobody's any more.
    pub(crate) fn settle(&self, files: &Files) {
        for (snapshotter, key) in &files.superseded {
            let key = Key { snapshotter, key };
            // If it cannot be removed it is at least collected, and taken for nobody's data.
            let labels = [OWNER, ROOT].map(|name| (name.to_owned(), String::new())).into();
            let forgotten = self.daemon.label_snapshot(key, labels);
            self.dropped(key, forgotten.and_then(|()| self.daemon.remove_snapshot(key)));
        }
    }

    /// There is no new container: takes back what was made for it.
    pub(crate) fn undo(&self, files: &Files) -> Result<()> {
        if !files.fresh {
            return Ok(());
        }
        self.daemon.remove_snapshot(self.key(&files.key))
    }

    fn dropped(&self, key: Key<'_>, dropped: Result<()>) {
        if let Err(error) = dropped {
            warn!("container {:?}: remove snapshot {:?}: {error}", self.id, key.key);
        }
    }
}
