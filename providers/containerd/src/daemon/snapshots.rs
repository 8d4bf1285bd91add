//! Snapshots: the files of images and of containers.

use std::collections::BTreeMap;

use drowse_provider_sdk::Result;

use super::{Daemon, SNAPSHOTS, done, found, new, read};
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
        let answer = self.ask::<proto::OneSnapshot>(SNAPSHOTS, "Stat", &key.ask());
        Ok(found(answer)?.and_then(|answer| answer.info))
    }

    pub(crate) fn mounts(&self, key: Key<'_>) -> Result<Vec<proto::Mount>> {
        Ok(self.ask::<proto::Mounts>(SNAPSHOTS, "Mounts", &key.ask())?.mounts)
    }

    /// A new snapshot on top of another one, empty without a parent. None when there is one of this
    /// key already.
    pub(crate) fn prepare(
        &self,
        key: Key<'_>,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Option<Vec<proto::Mount>>> {
        let ask = proto::Snapshot { parent: parent.to_owned(), labels, ..key.ask() };
        let made = new(self.ask::<proto::Mounts>(SNAPSHOTS, "Prepare", &ask))?;
        Ok(made.map(|made| made.mounts))
    }

    /// Sets these labels of a snapshot and leaves the others alone; an empty one is taken away.
    pub(crate) fn label_snapshot(
        &self,
        key: Key<'_>,
        labels: BTreeMap<String, String>,
    ) -> Result<()> {
        let paths = labels.keys().map(|name| format!("labels.{name}")).collect();
        let info = proto::SnapshotInfo { name: key.key.to_owned(), labels, ..Default::default() };
        let ask = proto::UpdateSnapshot {
            snapshotter: key.snapshotter.to_owned(),
            info: Some(info),
            update_mask: Some(proto::FieldMask { paths }),
        };
        self.ask::<proto::OneSnapshot>(SNAPSHOTS, "Update", &ask).map(drop)
    }

    /// Success when there is none.
    pub(crate) fn remove_snapshot(&self, key: Key<'_>) -> Result<()> {
        found(self.ask::<proto::Empty>(SNAPSHOTS, "Remove", &key.ask())).map(drop)
    }

    /// A snapshot that shows another one, or nothing without a parent.
    pub(crate) fn view(&self, key: Key<'_>, parent: &str) -> Result<Vec<proto::Mount>> {
        let ask = proto::Snapshot { parent: parent.to_owned(), ..key.ask() };
        Ok(self.ask::<proto::Mounts>(SNAPSHOTS, "View", &ask)?.mounts)
    }

    /// Those that this filter lets through.
    pub(crate) fn snapshots(
        &self,
        snapshotter: &str,
        filter: String,
    ) -> Result<Vec<proto::SnapshotInfo>> {
        let snapshotter = snapshotter.to_owned();
        let ask = proto::ListSnapshots { snapshotter, filters: vec![filter] };
        let mut pieces = self.call(SNAPSHOTS, "List", &ask).stream()?;
        let mut all = Vec::new();
        while let Some(piece) = pieces.next()? {
            all.extend(read::<proto::SnapshotInfos>("List", &piece)?.infos);
        }
        Ok(all)
    }

    /// Makes of an active snapshot one that others can be made of. False when there is one of this
    /// name already.
    pub(crate) fn commit_snapshot(&self, key: Key<'_>, name: &str) -> Result<bool> {
        let ask = proto::Commit {
            snapshotter: key.snapshotter.to_owned(),
            name: name.to_owned(),
            key: key.key.to_owned(),
        };
        done(self.ask::<proto::Empty>(SNAPSHOTS, "Commit", &ask))
    }
}

// === impl Key ===

impl Key<'_> {
    fn ask(self) -> proto::Snapshot {
        proto::Snapshot {
            snapshotter: self.snapshotter.to_owned(),
            key: self.key.to_owned(),
            ..proto::Snapshot::default()
        }
    }
}
