//! Images and their content: names, blobs, and the leases that keep work in progress.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Error, Result, grpc};

use super::{
    CONTENT, DIFF, Daemon, IMAGES, LEASES, PLUGINS, by_id, created, found, read, unless_exists,
};
use crate::proto::{self, Descriptor, WriteAction};

/// Maximum size of an image's manifest or configuration, in bytes.
pub(crate) const MAX_DOCUMENT: usize = 4 << 20;

/// gRPC status FAILED_PRECONDITION: the content has another digest than expected.
const FAILED_PRECONDITION: u32 = 9;

/// A blob that is written to the daemon in any number of calls; it becomes content only if it has
/// the expected digest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ingest<'a> {
    pub(crate) blob: &'a Descriptor,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

// === impl Daemon ===

impl Daemon {
    /// Target of an image name.
    pub(crate) fn image(&self, name: &str) -> Result<Option<Descriptor>> {
        let answer = self.request::<proto::OneImage>(IMAGES, "Get", &by_id(name));
        let image = found(answer)?.and_then(|answer| answer.image);
        Ok(image.and_then(|image| image.target))
    }

    /// Points an image name to this target.
    pub(crate) fn name_image(&self, name: &str, target: &Descriptor) -> Result<()> {
        let image = proto::Image { name: name.to_owned(), target: Some(target.clone()) };
        let mut request = proto::OneImage { image: Some(image), update_mask: None };
        if created(self.request::<proto::OneImage>(IMAGES, "Create", &request))? {
            return Ok(());
        }
        request.update_mask = Some(proto::FieldMask { paths: vec!["target".to_owned()] });
        self.request::<proto::OneImage>(IMAGES, "Update", &request).map(drop)
    }

    /// Returns whether the content of this digest is local.
    pub(crate) fn has_content(&self, digest: &str) -> Result<bool> {
        Ok(found(self.request::<proto::Empty>(CONTENT, "Info", &by_id(digest)))?.is_some())
    }

    /// Reads a complete manifest or configuration.
    pub(crate) fn content(&self, digest: &str) -> Result<Vec<u8>> {
        let mut pieces = self.call(CONTENT, "Read", &by_id(digest)).stream()?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next()? {
            bytes.extend(read::<proto::Content>("Read", &piece)?.data);
            if bytes.len() > MAX_DOCUMENT {
                return Err(Error::internal(format!("content {digest}: larger than 4 MiB")));
            }
        }
        Ok(bytes)
    }

    /// Sets one label of content and keeps the others.
    pub(crate) fn label_content(&self, digest: &str, name: &str, value: &str) -> Result<()> {
        let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let info = proto::ContentInfo { digest: digest.to_owned(), labels };
        let request = proto::UpdateContent {
            info: Some(info),
            update_mask: Some(proto::FieldMask { paths: vec![format!("labels.{name}")] }),
        };
        self.request::<proto::Empty>(CONTENT, "Update", &request).map(drop)
    }

    /// Number of bytes already written; None if the blob is complete.
    pub(crate) fn ingested(&self, ingest: Ingest<'_>) -> Result<Option<u64>> {
        self.write(&ingest.request(WriteAction::Stat))
    }

    /// Adds local content, with everything that it references, to this daemon's lease. A write of
    /// existing content answers ALREADY_EXISTS and adds it to the lease.
    pub(crate) fn hold_content(&self, blob: &Descriptor) -> Result<()> {
        let labels = BTreeMap::new();
        match self.ingested(Ingest { blob, labels: &labels })? {
            None => Ok(()),
            Some(_) => Err(Error::not_found(format!("content {} is not local", blob.digest))),
        }
    }

    /// Appends bytes and returns the new total; None if the blob is complete.
    pub(crate) fn ingest(
        &self,
        ingest: Ingest<'_>,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Option<u64>> {
        let end = offset.saturating_add(data.len() as u64);
        let last = end >= ingest.size();
        let action = if last { WriteAction::Commit } else { WriteAction::Write };
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let written = self.write(&proto::Write { offset, data, ..ingest.request(action) });
        match written {
            Ok(_) if last => Ok(None),
            Err(error) if last && grpc::status(&error) == Some(FAILED_PRECONDITION) => {
                // The bytes written so far are wrong as well.
                let dropped =
                    self.request::<proto::Empty>(CONTENT, "Abort", &by_id(&ingest.name()));
                found(dropped)?;
                Err(error)
            }
            written => written,
        }
    }

    /// Writes with one message per call; the next call continues at its end.
    fn write(&self, request: &proto::Write) -> Result<Option<u64>> {
        let written =
            unless_exists(self.call_without_timeout::<proto::Written>(CONTENT, "Write", request))?;
        Ok(written.map(|written| u64::try_from(written.offset).unwrap_or(0)))
    }

    /// This daemon with a lease of this id, which expires at that time. Continues an existing one.
    pub(crate) fn leased(&self, id: &str, until: String) -> Result<Self> {
        let labels = BTreeMap::from([("containerd.io/gc.expire".to_owned(), until)]);
        let request = proto::CreateLease { id: id.to_owned(), labels };
        created(self.request::<proto::Empty>(LEASES, "Create", &request))?;
        Ok(Self { lease: Some(id.to_owned()), ..self.clone() })
    }

    /// Deletes the lease; content without another reference is garbage collected.
    pub(crate) fn release(&self) -> Result<()> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let without_lease = Self { lease: None, ..self.clone() };
        found(without_lease.request::<proto::Empty>(LEASES, "Delete", &by_id(lease))).map(drop)
    }

    /// Applies a layer to these mounts, and returns the digest of its uncompressed content.
    pub(crate) fn apply(&self, layer: &Descriptor, mounts: Vec<proto::Mount>) -> Result<String> {
        let request = proto::Apply { diff: Some(layer.clone()), mounts };
        let applied = self.call_without_timeout::<proto::Applied>(DIFF, "Apply", &request)?.applied;
        Ok(applied.unwrap_or_default().digest)
    }

    /// Creates a layer of the changes from one set of mounts to the other.
    pub(crate) fn diff(
        &self,
        left: Vec<proto::Mount>,
        right: Vec<proto::Mount>,
        name: &str,
    ) -> Result<Descriptor> {
        let request = proto::Diff {
            left,
            right,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            reference: format!("drowse-{name}"),
        };
        let changes = self.call_without_timeout::<proto::Changes>(DIFF, "Diff", &request)?.diff;
        changes.ok_or_else(|| Error::internal("Diff: containerd sent no message"))
    }

    /// Platforms of a snapshotter, best first.
    pub(crate) fn platforms(&self, snapshotter: &str) -> Result<Vec<proto::Platform>> {
        let filter = format!("type==io.containerd.snapshotter.v1,id==\"{snapshotter}\"");
        let request = proto::ListPlugins { filters: vec![filter] };
        let found = self.request::<proto::Plugins>(PLUGINS, "Plugins", &request)?;
        Ok(found.plugins.into_iter().flat_map(|plugin| plugin.platforms).collect())
    }
}

// === impl Ingest ===

impl Ingest<'_> {
    fn size(&self) -> u64 {
        u64::try_from(self.blob.size).unwrap_or(0)
    }

    fn name(&self) -> String {
        format!("drowse-{}", self.blob.digest)
    }

    fn request(&self, action: WriteAction) -> proto::Write {
        proto::Write {
            action: action.into(),
            reference: self.name(),
            total: self.blob.size,
            expected: self.blob.digest.clone(),
            labels: match action {
                WriteAction::Commit => self.labels.clone(),
                _ => BTreeMap::new(),
            },
            ..proto::Write::default()
        }
    }
}
