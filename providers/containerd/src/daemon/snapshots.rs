//! Snapshots: the files of images and of containers.

use std::collections::BTreeMap;

use drowse_provider_sdk::Result;

use super::{Daemon, SNAPSHOTS, done, found, new};
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

    /// Sets one label of a snapshot and leaves the others alone.
    pub(crate) fn label_snapshot(&self, key: Key<'_>, name: &str, value: &str) -> Result<()> {
        let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let info = proto::SnapshotInfo { name: key.key.to_owned(), labels, ..Default::default() };
        let ask = proto::UpdateSnapshot {
            snapshotter: key.snapshotter.to_owned(),
            info: Some(info),
            update_mask: Some(proto::FieldMask { paths: vec![format!("labels.{name}")] }),
        };
        self.ask::<proto::OneSnapshot>(SNAPSHOTS, "Update", &ask).map(drop)
    }

    /// Success when there is none.
    pub(crate) fn remove_snapshot(&self, key: Key<'_>) -> Result<()> {
        found(self.ask::<proto::Empty>(SNAPSHOTS, "Remove", &key.ask())).map(drop)
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
