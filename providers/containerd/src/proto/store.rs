//! Messages about images: names, content, and snapshots.

use std::collections::BTreeMap;

use prost::Message;

use super::{FieldMask, Mount};

/// Requests for a snapshot: `Prepare` and `View` have a parent and labels, others do not.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Snapshot {
    #[prost(string, tag = "1")]
    pub(crate) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
    #[prost(string, tag = "3")]
    pub(crate) parent: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// `containerd.services.snapshots.v1.Info`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) parent: String,
    #[prost(enumeration = "SnapshotKind", tag = "3")]
    pub(crate) kind: i32,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum SnapshotKind {
    Unknown = 0,
    View = 1,
    Active = 2,
    Committed = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OneSnapshot {
    #[prost(message, optional, tag = "1")]
    pub(crate) info: Option<SnapshotInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpdateSnapshot {
    #[prost(string, tag = "1")]
    pub(crate) snapshotter: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) info: Option<SnapshotInfo>,
    #[prost(message, optional, tag = "3")]
    pub(crate) update_mask: Option<FieldMask>,
}

/// Requests and responses with one image.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OneImage {
    #[prost(message, optional, tag = "1")]
    pub(crate) image: Option<Image>,
    #[prost(message, optional, tag = "2")]
    pub(crate) update_mask: Option<FieldMask>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Image {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) target: Option<Descriptor>,
}

/// `containerd.types.Descriptor`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(crate) media_type: String,
    #[prost(string, tag = "2")]
    pub(crate) digest: String,
    #[prost(int64, tag = "3")]
    pub(crate) size: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Content {
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
}

/// `containerd.services.snapshots.v1.CommitSnapshotRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Commit {
    #[prost(string, tag = "1")]
    pub(crate) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListSnapshots {
    #[prost(string, tag = "1")]
    pub(crate) snapshotter: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotInfos {
    #[prost(message, repeated, tag = "1")]
    pub(crate) infos: Vec<SnapshotInfo>,
}

/// `containerd.services.content.v1.WriteContentRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Write {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(crate) action: i32,
    #[prost(string, tag = "2")]
    pub(crate) reference: String,
    #[prost(int64, tag = "3")]
    pub(crate) total: i64,
    #[prost(string, tag = "4")]
    pub(crate) expected: String,
    #[prost(int64, tag = "5")]
    pub(crate) offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) data: Vec<u8>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum WriteAction {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

/// `containerd.services.content.v1.WriteContentResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Written {
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
}

/// `containerd.services.content.v1.Info`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContentInfo {
    #[prost(string, tag = "1")]
    pub(crate) digest: String,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpdateContent {
    #[prost(message, optional, tag = "1")]
    pub(crate) info: Option<ContentInfo>,
    #[prost(message, optional, tag = "2")]
    pub(crate) update_mask: Option<FieldMask>,
}

/// `containerd.services.leases.v1.CreateRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateLease {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// `containerd.services.diff.v1.ApplyRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Apply {
    #[prost(message, optional, tag = "1")]
    pub(crate) diff: Option<Descriptor>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) mounts: Vec<Mount>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Applied {
    #[prost(message, optional, tag = "1")]
    pub(crate) applied: Option<Descriptor>,
}

/// `containerd.services.diff.v1.DiffRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Diff {
    #[prost(message, repeated, tag = "1")]
    pub(crate) left: Vec<Mount>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) right: Vec<Mount>,
    #[prost(string, tag = "3")]
    pub(crate) media_type: String,
    #[prost(string, tag = "4")]
    pub(crate) reference: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Changes {
    #[prost(message, optional, tag = "3")]
    pub(crate) diff: Option<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListPlugins {
    #[prost(string, repeated, tag = "1")]
    pub(crate) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Plugins {
    #[prost(message, repeated, tag = "1")]
    pub(crate) plugins: Vec<Plugin>,
}

/// `containerd.services.introspection.v1.Plugin`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Plugin {
    #[prost(message, repeated, tag = "4")]
    pub(crate) platforms: Vec<Platform>,
}

/// `containerd.types.Platform`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Platform {
    #[prost(string, tag = "1")]
    pub(crate) os: String,
    #[prost(string, tag = "2")]
    pub(crate) architecture: String,
    #[prost(string, tag = "3")]
    pub(crate) variant: String,
}
