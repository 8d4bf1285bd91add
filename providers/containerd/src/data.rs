//! Data of a container: a snapshot on top of its image's, which outlives the container's record.
//!
//! A label names the owner. A container created on the same image reuses the data of an earlier
//! one. For another image the changes are transferred to a new snapshot, and the old one stays
//! unchanged until the new container exists, so a failure before that loses no data.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Error, Result, clock, info, warn};

use crate::{
    daemon::{Daemon, Key},
    lease,
    manifest::short,
    proto::{SnapshotInfo, SnapshotKind},
};

/// Label that keeps a snapshot from garbage collection.
const ROOT: &str = "containerd.io/gc.root";

/// Label with the id of the owning container.
const OWNER: &str = "drowse.container";

/// The data of one container.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) id: &'a str,
    /// Snapshotter of new snapshots.
    pub(crate) snapshotter: &'a str,
}

/// A snapshot with the container's data on top of an image.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) key: String,
    /// Created now, not reused.
    pub(crate) fresh: bool,
    /// Snapshots to delete when the container exists: snapshotter and key.
    superseded: Vec<(String, String)>,
}

// === impl Data ===

impl<'a> Data<'a> {
    fn key(&self, key: &'a str) -> Key<'a> {
        Key { snapshotter: self.snapshotter, key }
    }

    /// Data on top of this image: that of an earlier container, otherwise empty.
    pub(crate) fn for_image(&self, parent: &str) -> Result<Files> {
        let existing = self.existing()?;
        let Some(any) = existing.iter().find(|it| it.parent == parent).or(existing.first()) else {
            let made = self.daemon.prepare(self.key(self.id), parent, self.labels())?;
            let (key, fresh) = (self.id.to_owned(), made.is_some());
            return Ok(Files { key, fresh, superseded: Vec::new() });
        };
        info!("container {:?}: reusing the data of its predecessor", self.id);
        let from = Key { snapshotter: self.snapshotter, key: &any.name };
        let mut files = self.rebase(from, &any.parent, parent)?;
        // Left by a cancelled recreation: the same data.
        let others = existing.iter().filter(|it| it.name != any.name && it.name != files.key);
        let others = others.map(|it| (self.snapshotter.to_owned(), it.name.clone()));
        files.superseded.extend(others);
        Ok(files)
    }

    /// Data of this snapshot on top of this image.
    pub(crate) fn rebased(&self, from: Key<'_>, parent: &str) -> Result<Files> {
        let found = self.daemon.snapshot(from)?.ok_or_else(|| {
            Error::invalid_request(format!("its snapshot {:?} does not exist", from.key))
        })?;
        self.rebase(from, &found.parent, parent)
    }

    fn rebase(&self, from: Key<'_>, below: &str, parent: &str) -> Result<Files> {
        if below == parent && from.snapshotter == self.snapshotter {
            self.keep(from)?;
            let key = from.key.to_owned();
            return Ok(Files { key, fresh: false, superseded: Vec::new() });
        }
        let name = format!("{}@{}", self.id, short(parent));
        let transferred = self.transfer(from, below, self.key(&name), parent);
        transferred.map_err(|error| error.context("transfer its data to the new image"))?;
        let superseded = vec![(from.snapshotter.to_owned(), from.key.to_owned())];
        Ok(Files { key: name, fresh: true, superseded })
    }

    /// Creates a snapshot on top of this image with the changes of another one.
    fn transfer(&self, from: Key<'_>, below: &str, to: Key<'_>, parent: &str) -> Result<()> {
        info!("container {:?}: transferring its data to another image", self.id);
        lease::with_temporary_lease(self.daemon, &format!("carry-{}", self.id), |daemon| {
            let name = format!("{} before", to.key);
            let before = Key { snapshotter: from.snapshotter, key: &name };
            // Left by a cancelled transfer.
            daemon.remove_snapshot(before)?;
            daemon.remove_snapshot(to)?;
            let transferred = || {
                let left = daemon.view(before, below)?;
                let changes = daemon.diff(left, daemon.mounts(from)?, to.key)?;
                let mounts = daemon.prepare(to, parent, BTreeMap::new())?;
                let mounts =
                    mounts.ok_or_else(|| Error::conflict("another client transfers it"))?;
                daemon.apply(&changes, mounts)?;
                // From here on this snapshot is found as the container's data.
                self.keep(to)
            };
            let transferred: Result<()> = transferred();
            let removed = daemon.remove_snapshot(before);
            if transferred.is_err() {
                self.log_failed_removal(to, daemon.remove_snapshot(to));
            }
            self.log_failed_removal(before, removed);
            transferred
        })
    }

    /// Labels a snapshot so that it outlives its container and is found again.
    pub(crate) fn keep(&self, key: Key<'_>) -> Result<()> {
        self.daemon.label_snapshot(key, self.labels())
    }

    fn labels(&self) -> BTreeMap<String, String> {
        // containerd does not read the value of a root label.
        let since = clock::since_epoch().as_secs().to_string();
        let labels = [(ROOT, since), (OWNER, self.id.to_owned())];
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Snapshots of the container, independent of its record.
    fn existing(&self) -> Result<Vec<SnapshotInfo>> {
        let mut existing = self.daemon.snapshots(self.snapshotter, self.owner_filter())?;
        existing.retain(|it| it.kind == SnapshotKind::Active as i32);
        if existing.is_empty()
            && let Some(named) = self.daemon.snapshot(self.key(self.id))?
        {
            if named.kind != SnapshotKind::Active as i32 {
                return Err(Error::conflict(format!(
                    "snapshot {:?} exists and belongs to no container; remove it",
                    self.id
                )));
            }
            existing.push(named);
        }
        Ok(existing)
    }

    /// Removes all data of the container.
    pub(crate) fn remove(&self) -> Result<()> {
        let mut failed = None;
        for existing in self.daemon.snapshots(self.snapshotter, self.owner_filter())? {
            if let Err(error) = self.daemon.remove_snapshot(self.key(&existing.name)) {
                failed.get_or_insert(error.context(format!("snapshot {:?}", existing.name)));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn owner_filter(&self) -> String {
        format!("labels.\"{OWNER}\"==\"{}\"", self.id)
    }

    /// The new container exists: deletes the snapshots that it does not need.
    pub(crate) fn delete_superseded(&self, files: &Files) {
        for (snapshotter, key) in &files.superseded {
            let key = Key { snapshotter, key };
            // If the removal fails, the snapshot is at least garbage collected and no longer the
            // container's data.
            let labels = [OWNER, ROOT].map(|name| (name.to_owned(), String::new())).into();
            let forgotten = self.daemon.label_snapshot(key, labels);
            self.log_failed_removal(key, forgotten.and_then(|()| self.daemon.remove_snapshot(key)));
        }
    }

    /// The container was not created: deletes the snapshot made for it.
    pub(crate) fn discard(&self, files: &Files) -> Result<()> {
        if !files.fresh {
            return Ok(());
        }
        self.daemon.remove_snapshot(self.key(&files.key))
    }

    fn log_failed_removal(&self, key: Key<'_>, removed: Result<()>) {
        if let Err(error) = removed {
            warn!("container {:?}: remove snapshot {:?}: {error}", self.id, key.key);
        }
    }
}
