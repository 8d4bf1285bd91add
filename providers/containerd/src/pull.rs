//! Pulling an image: its manifests, its configuration and its layers are fetched from the registry
//! and written into containerd, which checks every digest; then it is unpacked and gets its name.
//!
//! Layers go through in pieces, so that no image is too large for the memory of a call. What was
//! written stays when a pull is broken off, and the next one goes on from there.

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{Error, Result, clock, grpc, info};

use crate::{
    daemon::{Daemon, Ingest},
    image, lease,
    manifest::{self, Descriptor, Manifest},
    proto,
    registry::{Document, Registry},
    unpack,
};

/// So much of a layer is in memory at a time.
const PIECE: u64 = 8 << 20;

/// Between two lines about it.
const EVERY: Duration = Duration::from_secs(5);

/// How often it is tried again, and after what time, while somebody else writes the same.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// gRPC's numbers for what somebody else has begun, and for bytes that do not follow on those that
/// are there.
const BUSY: [u32; 2] = [14, 11];

/// One pull.
pub(crate) struct Pull<'a> {
    daemon: &'a Daemon,
    registry: &'a Registry<'a>,
    name: &'a str,
    digest: Option<&'a str>,
    snapshotter: &'a str,
    progress: Progress,
}

/// How far it is.
struct Progress {
    layers: usize,
    done: usize,
    size: u64,
    fetched: u64,
    logged: Duration,
}

// === impl Pull ===

impl<'a> Pull<'a> {
    /// Of what has this digest, or else of what the registry has under the name.
    pub(crate) fn new(
        daemon: &'a Daemon,
        registry: &'a Registry<'a>,
        name: &'a str,
        digest: Option<&'a str>,
        snapshotter: &'a str,
    ) -> Self {
        let progress =
            Progress { layers: 0, done: 0, size: 0, fetched: 0, logged: clock::monotonic() };
        Self { daemon, registry, name, digest, snapshotter, progress }
    }

    /// Returns its digest when it is unpacked and has the name.
    pub(crate) fn named(self) -> Result<String> {
        let Self { daemon, name, .. } = self;
        self.told(|pull, document, held| {
            lease::hold(daemon, held, |daemon| {
                let target = Pull { daemon, ..pull }.run(document)?;
                daemon.name_image(name, &target)
            })
        })
    }

    /// The same without the name: it is here for a day, for whoever pulls it then.
    pub(crate) fn ahead(self) -> Result<String> {
        let daemon = self.daemon;
        self.told(|pull, document, held| {
            lease::leave(daemon, held, |daemon| Pull { daemon, ..pull }.run(document).map(drop))
        })
    }

    /// Says when it begins and ends. The work gets the manifest and the name of a lease.
    fn told(self, work: impl FnOnce(Self, &Document, &str) -> Result<()>) -> Result<String> {
        let Self { registry, name, digest, .. } = self;
        info!(image = name; "pulling the image");
        let pulled = || {
            let document = registry.manifest(digest)?;
            work(self, &document, &format!("pull-{}", manifest::short(&document.digest)))?;
            Ok(document.digest)
        };
        let pulled =
            pulled().map_err(|error: Error| error.context(format!("pull image {name}")))?;
        info!(image = name; "pulled the image");
        Ok(pulled)
    }

    /// Brings it here and unpacks it. What the image's name is to stand for.
    fn run(mut self, document: &Document) -> Result<proto::Descriptor> {
        let root = Manifest::read(&document.bytes)?;
        let (own, manifest) = if root.is_index() {
            let platforms = self.daemon.platforms(self.snapshotter)?;
            let chosen = root.for_one_of(&platforms).ok_or_else(|| {
                let machine = platforms.first().map_or("", |it| it.architecture.as_str());
                Error::invalid_request(format!("there is none for this machine ({machine})"))
            })?;
            let own = self.registry.manifest(Some(&chosen.digest))?;
            let manifest = Manifest::read(&own.bytes)?;
            (Some(own), manifest)
        } else {
            (None, root)
        };
        let config = manifest.config.clone();
        let config = config.ok_or_else(|| Error::invalid_request("it is not an image"))?;
        self.blob(&config)?;
        self.progress.layers = manifest.layers.len();
        self.progress.size = manifest.layers.iter().map(Descriptor::size).sum();
        for layer in &manifest.layers {
            self.blob(layer)?;
            self.progress.done += 1;
        }
        let mut labels = BTreeMap::from([reference("config", &config.digest)]);
        let layers = manifest.layers.iter().enumerate();
        labels.extend(layers.map(|(at, layer)| reference(&format!("l.{at}"), &layer.digest)));
        if let Some(own) = own {
            self.document(&own, &labels)?;
            labels = BTreeMap::from([reference("m.0", &own.digest)]);
        }
        let target = self.document(document, &labels)?;
        let (parts, _) = image::parts(self.daemon, manifest)?;
        unpack::unpack(self.daemon, self.snapshotter, &parts)?;
        Ok(target)
    }

    /// Writes a manifest, with what it holds.
    fn document(
        &self,
        document: &Document,
        labels: &BTreeMap<String, String>,
    ) -> Result<proto::Descriptor> {
        let blob = proto::Descriptor {
            media_type: document.media_type.clone(),
            digest: document.digest.clone(),
            size: i64::try_from(document.bytes.len()).unwrap_or(i64::MAX),
        };
        let ingest = Ingest { blob: &blob, labels };
        patiently(|| {
            if self.daemon.ingested(ingest)?.is_some() {
                self.daemon.ingest(ingest, 0, document.bytes.clone())?;
            }
            Ok(())
        })?;
        Ok(blob)
    }

    /// Fetches a blob, unless it is here.
    fn blob(&mut self, blob: &Descriptor) -> Result<()> {
        let (before, size) = (self.progress.fetched, blob.size());
        let (written, labels) = (blob.to_proto(), BTreeMap::new());
        let ingest = Ingest { blob: &written, labels: &labels };
        let registry = self.registry;
        let mut source = registry.source(&blob.digest);
        let fetched = patiently(|| {
            let mut there = self.daemon.ingested(ingest)?;
            while let Some(at) = there {
                self.progress.fetched = before + at;
                self.progress.tell(self.name);
                let wanted = PIECE.min(size.saturating_sub(at));
                let piece = source.take(at, wanted)?;
                if (piece.len() as u64) < wanted {
                    return Err(Error::unavailable("the registry's answer ends too early"));
                }
                there = self.daemon.ingest(ingest, at, piece)?;
            }
            Ok(())
        });
        fetched.map_err(|error| error.context(&blob.digest))?;
        self.progress.fetched = before + size;
        Ok(())
    }
}

/// Does it again while somebody else writes the same content.
fn patiently<R>(mut work: impl FnMut() -> Result<R>) -> Result<R> {
    let mut tries = 0;
    loop {
        match work() {
            Err(error) if grpc::status(&error).is_some_and(|it| BUSY.contains(&it)) => {
                tries += 1;
                if tries > TRIES {
                    return Err(error);
                }
                clock::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

/// The label by which content holds other content.
fn reference(what: &str, digest: &str) -> (String, String) {
    (format!("containerd.io/gc.ref.content.{what}"), digest.to_owned())
}

// === impl Progress ===

impl Progress {
    /// Now and then.
    fn tell(&mut self, name: &str) {
        let now = clock::monotonic();
        if now.saturating_sub(self.logged) < EVERY {
            return;
        }
        self.logged = now;
        let Self { layers, done, .. } = self;
        let (fetched, size) = (self.fetched as f64 / 1e6, self.size as f64 / 1e6);
        info!(image = name; "pulling the image: {done} of {layers} layers, {fetched:.1} of {size:.1} MB");
    }
}
