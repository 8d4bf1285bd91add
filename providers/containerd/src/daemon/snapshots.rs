//! Snapshots: the files of images and of containers.

use std::collections::BTreeMap;

use drowse_provider_sdk::Result;

use super::{Daemon, SNAPSHOTS, created, found, read, unless_exists};
use crate::proto;

/// One snapshot by its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) snapshotter: &'a str,
    pub(crate) key: &'a str,
}

// === impl Daemon ===

impl Daemon {
    pub(crate) fn snapshot(&self, key: Key<'_>) -> Result<Option<proto::SnapshotInfo>> {
        let answer = self.request::<proto::OneSnapshot>(SNAPSHOTS, "Stat", &key.request());
        Ok(found(answer)?.and_then(|answer| answer.info))
    }

    pub(crate) fn mounts(&self, key: Key<'_>) -> Result<Vec<proto::Mount>> {
        Ok(self.request::<proto::Mounts>(SNAPSHOTS, "Mounts", &key.request())?.mounts)
    }

    /// Prepares a snapshot on top of a parent; without one it is empty. None if the key is taken.
    pub(crate) fn prepare(
        &self,
        key: Key<'_>,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Option<Vec<proto::Mount>>> {
        let request = proto::Snapshot { parent: parent.to_owned(), labels, ..key.request() };
        let prepared =
            unless_exists(self.request::<proto::Mounts>(SNAPSHOTS, "Prepare", &request))?;
        Ok(prepared.map(|prepared| prepared.mounts))
    }

    /// Sets these labels of a snapshot and keeps the others; an empty value removes a label.
    pub(crate) fn label_snapshot(
        &self,
        key: Key<'_>,
        labels: BTreeMap<String, String>,
    ) -> Result<()> {
        let paths = labels.keys().map(|name| format!("labels.{name}")).collect();
        let info = proto::SnapshotInfo { name: key.key.to_owned(), labels, ..Default::default() };
        let request = proto::UpdateSnapshot {
            snapshotter: key.snapshotter.to_owned(),
            info: Some(info),
            update_mask: Some(proto::FieldMask { paths }),
        };
        self.request::<proto::OneSnapshot>(SNAPSHOTS, "Update", &request).map(drop)
    }

    /// Succeeds if there is none.
    pub(crate) fn remove_snapshot(&self, key: Key<'_>) -> Result<()> {
        found(self.request::<proto::Empty>(SNAPSHOTS, "Remove", &key.request())).map(drop)
    }

    /// A read-only view of a snapshot; without a parent it is empty.
    pub(crate) fn view(&self, key: Key<'_>, parent: &str) -> Result<Vec<proto::Mount>> {
        let request = proto::Snapshot { parent: parent.to_owned(), ..key.request() };
        Ok(self.request::<proto::Mounts>(SNAPSHOTS, "View", &request)?.mounts)
    }

    /// Snapshots that match this filter.
    pub(crate) fn snapshots(
        &self,
        snapshotter: &str,
        filter: String,
    ) -> Result<Vec<proto::SnapshotInfo>> {
        let snapshotter = snapshotter.to_owned();
        let request = proto::ListSnapshots { snapshotter, filters: vec![filter] };
        let mut pieces = self.call(SNAPSHOTS, "List", &request).stream()?;
        let mut all = Vec::new();
        while let Some(piece) = pieces.next()? {
            all.extend(read::<proto::SnapshotInfos>("List", &piece)?.infos);
        }
        Ok(all)
    }

    /// Commits an active snapshot, so that others can be based on it. False if the name is taken.
    pub(crate) fn commit_snapshot(&self, key: Key<'_>, name: &str) -> Result<bool> {
        let request = proto::Commit {
            snapshotter: key.snapshotter.to_owned(),
            name: name.to_owned(),
            key: key.key.to_owned(),
        };
        created(self.request::<proto::Empty>(SNAPSHOTS, "Commit", &request))
    }
}

// === impl Key ===

impl Key<'_> {
    fn request(self) -> proto::Snapshot {
        proto::Snapshot {
            snapshotter: self.snapshotter.to_owned(),
            key: self.key.to_owned(),
            ..proto::Snapshot::default()
        }
    }
}
