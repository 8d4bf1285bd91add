//! Images and their content: what names stand for, blobs, and the leases that hold what is under way.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Error, Result, grpc};

use super::{CONTENT, DIFF, Daemon, IMAGES, LEASES, PLUGINS, by_id, done, found, new, read};
use crate::proto::{self, Descriptor, WriteAction};

/// The largest manifest or configuration of an image that is read.
pub(crate) const DOCUMENT: usize = 4 << 20;

/// gRPC's number for what contradicts what is there: content of another digest than expected.
const FAILED_PRECONDITION: u32 = 9;

/// A blob on its way into the daemon: the bytes go in one after the other, in as many calls as it
/// takes, and only what has the expected digest comes to be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ingest<'a> {
    pub(crate) blob: &'a Descriptor,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

// === impl Daemon ===

impl Daemon {
    /// What an image's name stands for.
    pub(crate) fn image(&self, name: &str) -> Result<Option<Descriptor>> {
        let answer = self.ask::<proto::OneImage>(IMAGES, "Get", &by_id(name));
        let image = found(answer)?.and_then(|answer| answer.image);
        Ok(image.and_then(|image| image.target))
    }

    /// Lets an image's name stand for this from now on.
    pub(crate) fn name_image(&self, name: &str, target: &Descriptor) -> Result<()> {
        let image = proto::Image { name: name.to_owned(), target: Some(target.clone()) };
        let mut ask = proto::OneImage { image: Some(image), update_mask: None };
        if done(self.ask::<proto::OneImage>(IMAGES, "Create", &ask))? {
            return Ok(());
        }
        ask.update_mask = Some(proto::FieldMask { paths: vec!["target".to_owned()] });
        self.ask::<proto::OneImage>(IMAGES, "Update", &ask).map(drop)
    }

    /// Whether the content of this digest is here.
    pub(crate) fn has_content(&self, digest: &str) -> Result<bool> {
        Ok(found(self.ask::<proto::Empty>(CONTENT, "Info", &by_id(digest)))?.is_some())
    }

    /// A manifest or configuration, whole.
    pub(crate) fn content(&self, digest: &str) -> Result<Vec<u8>> {
        let mut pieces = self.call(CONTENT, "Read", &by_id(digest)).stream()?;
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next()? {
            whole.extend(read::<proto::Content>("Read", &piece)?.data);
            if whole.len() > DOCUMENT {
                return Err(Error::internal(format!("content {digest}: larger than 4 MiB")));
            }
        }
        Ok(whole)
    }

    /// Sets one label of content and leaves the others alone.
    pub(crate) fn label_content(&self, digest: &str, name: &str, value: &str) -> Result<()> {
        let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let info = proto::ContentInfo { digest: digest.to_owned(), labels };
        let ask = proto::UpdateContent {
            info: Some(info),
            update_mask: Some(proto::FieldMask { paths: vec![format!("labels.{name}")] }),
        };
        self.ask::<proto::Empty>(CONTENT, "Update", &ask).map(drop)
    }

    /// How many bytes of it are there; none when it is there whole.
    pub(crate) fn ingested(&self, ingest: Ingest<'_>) -> Result<Option<u64>> {
        self.write(&ingest.ask(WriteAction::Stat))
    }

    /// Lets content that is here belong to this daemon's lease, with all that it refers to. Whoever is
    /// to write what is there already is told so, and holds it from then on.
    pub(crate) fn hold_content(&self, blob: &Descriptor) -> Result<()> {
        let labels = BTreeMap::new();
        match self.ingested(Ingest { blob, labels: &labels })? {
            None => Ok(()),
            Some(_) => Err(Error::not_found(format!("content {} is not here", blob.digest))),
        }
    }

    /// Adds bytes, and returns how many are there then; none when it is there whole.
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
        let written = self.write(&proto::Write { offset, data, ..ingest.ask(action) });
        match written {
            Ok(_) if last => Ok(None),
            Err(error) if last && grpc::status(&error) == Some(FAILED_PRECONDITION) => {
                // What is there is not a part of it either.
                let dropped = self.ask::<proto::Empty>(CONTENT, "Abort", &by_id(&ingest.name()));
                found(dropped)?;
                Err(error)
            }
            written => written,
        }
    }

    /// The call is one for many messages; one is enough, and the next call goes on where this one has
    /// ended.
    fn write(&self, ask: &proto::Write) -> Result<Option<u64>> {
        let written = new(self.ask_at_length::<proto::Written>(CONTENT, "Write", ask))?;
        Ok(written.map(|written| u64::try_from(written.offset).unwrap_or(0)))
    }

    /// This daemon with a lease of this id, which ends by itself at that time. It goes on if it is
    /// there.
    pub(crate) fn leased(&self, id: &str, until: String) -> Result<Self> {
        let labels = BTreeMap::from([("containerd.io/gc.expire".to_owned(), until)]);
        let ask = proto::CreateLease { id: id.to_owned(), labels };
        done(self.ask::<proto::Empty>(LEASES, "Create", &ask))?;
        Ok(Self { lease: Some(id.to_owned()), ..self.clone() })
    }

    /// Ends its lease; what nothing else holds is collected.
    pub(crate) fn release(&self) -> Result<()> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let bare = Self { lease: None, ..self.clone() };
        found(bare.ask::<proto::Empty>(LEASES, "Delete", &by_id(lease))).map(drop)
    }

    /// Puts a layer on these mounts, and returns the digest of what was in it.
    pub(crate) fn apply(&self, layer: &Descriptor, mounts: Vec<proto::Mount>) -> Result<String> {
        let ask = proto::Apply { diff: Some(layer.clone()), mounts };
        let applied = self.ask_at_length::<proto::Applied>(DIFF, "Apply", &ask)?.applied;
        Ok(applied.unwrap_or_default().digest)
    }

    /// What was changed from one set of mounts to the other, as a layer of its own.
    pub(crate) fn diff(
        &self,
        left: Vec<proto::Mount>,
        right: Vec<proto::Mount>,
        name: &str,
    ) -> Result<Descriptor> {
        let ask = proto::Diff {
            left,
            right,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            reference: format!("drowse-{name}"),
        };
        let changes = self.ask_at_length::<proto::Changes>(DIFF, "Diff", &ask)?.diff;
        changes.ok_or_else(|| Error::internal("Diff: containerd answered nothing"))
    }

    /// The platforms that a snapshotter is for, best first.
    pub(crate) fn platforms(&self, snapshotter: &str) -> Result<Vec<proto::Platform>> {
        let filter = format!("type==io.containerd.snapshotter.v1,id==\"{snapshotter}\"");
        let ask = proto::ListPlugins { filters: vec![filter] };
        let found = self.ask::<proto::Plugins>(PLUGINS, "Plugins", &ask)?;
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

    fn ask(&self, action: WriteAction) -> proto::Write {
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
