//! Pulls an image: fetches manifests, configuration and layers from the registry and writes them
//! into containerd, which checks every digest; then unpacks and names it.
//!
//! Layers are transferred in pieces, so the memory of a call does not limit the size of an image.
//! Content written by a cancelled pull stays, and the next pull continues from there.

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

/// Size of a transferred piece, in bytes.
const PIECE_SIZE: u64 = 8 << 20;

/// Interval of progress log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum retries, and the pause between them, while another client writes the same content.
const MAX_RETRIES: u32 = 50;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// gRPC statuses UNAVAILABLE and ABORTED: another client writes the content, or the offset does not
/// match the bytes written so far.
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

/// Progress of a pull.
struct Progress {
    layers: usize,
    done: usize,
    size: u64,
    fetched: u64,
    logged: Duration,
}

// === impl Pull ===

impl<'a> Pull<'a> {
    /// Pulls this digest or, without one, the current target of the name.
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

    /// Pulls, unpacks and names the image; returns its digest.
    pub(crate) fn named(self) -> Result<String> {
        let Self { daemon, name, .. } = self;
        self.logged_pull(|pull, document, held| {
            lease::with_lease(daemon, held, |daemon| {
                let target = Pull { daemon, ..pull }.run(document)?;
                daemon.name_image(name, &target)
            })
        })
    }

    /// As [`Self::named`] without the name: the content stays for a day.
    pub(crate) fn ahead(self) -> Result<String> {
        let daemon = self.daemon;
        self.logged_pull(|pull, document, held| {
            lease::with_lasting_lease(daemon, held, |daemon| {
                Pull { daemon, ..pull }.run(document).map(drop)
            })
        })
    }

    /// Logs begin and end. The work gets the manifest and the name of a lease.
    fn logged_pull(self, work: impl FnOnce(Self, &Document, &str) -> Result<()>) -> Result<String> {
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

    /// Pulls and unpacks the image. Returns the target of its name.
    fn run(mut self, document: &Document) -> Result<proto::Descriptor> {
        let root = Manifest::read(&document.bytes)?;
        let (platform_manifest, manifest) = if root.is_index() {
            let platforms = self.daemon.platforms(self.snapshotter)?;
            let chosen = root.for_platform(&platforms).ok_or_else(|| {
                let machine = platforms.first().map_or("", |it| it.architecture.as_str());
                Error::invalid_request(format!("there is no image for this platform ({machine})"))
            })?;
            let platform_manifest = self.registry.manifest(Some(&chosen.digest))?;
            let manifest = Manifest::read(&platform_manifest.bytes)?;
            (Some(platform_manifest), manifest)
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
        if let Some(platform_manifest) = platform_manifest {
            self.document(&platform_manifest, &labels)?;
            labels = BTreeMap::from([reference("m.0", &platform_manifest.digest)]);
        }
        let target = self.document(document, &labels)?;
        let (parts, _) = image::parts(self.daemon, manifest)?;
        unpack::unpack(self.daemon, self.snapshotter, &parts)?;
        Ok(target)
    }

    /// Writes a manifest with its references.
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
        retry_while_busy(|| {
            if self.daemon.ingested(ingest)?.is_some() {
                self.daemon.ingest(ingest, 0, document.bytes.clone())?;
            }
            Ok(())
        })?;
        Ok(blob)
    }

    /// Fetches a blob unless it is local.
    fn blob(&mut self, blob: &Descriptor) -> Result<()> {
        let (before, size) = (self.progress.fetched, blob.size());
        let (written, labels) = (blob.to_proto(), BTreeMap::new());
        let ingest = Ingest { blob: &written, labels: &labels };
        let registry = self.registry;
        let mut source = registry.source(&blob.digest);
        let fetched = retry_while_busy(|| {
            let mut written_bytes = self.daemon.ingested(ingest)?;
            while let Some(at) = written_bytes {
                self.progress.fetched = before + at;
                self.progress.log(self.name);
                let wanted = PIECE_SIZE.min(size.saturating_sub(at));
                let piece = source.take(at, wanted)?;
                if (piece.len() as u64) < wanted {
                    return Err(Error::unavailable("the registry's response is too short"));
                }
                written_bytes = self.daemon.ingest(ingest, at, piece)?;
            }
            Ok(())
        });
        fetched.map_err(|error| error.context(&blob.digest))?;
        self.progress.fetched = before + size;
        Ok(())
    }
}

/// Retries while another client writes the same content.
fn retry_while_busy<R>(mut work: impl FnMut() -> Result<R>) -> Result<R> {
    let mut tries = 0;
    loop {
        match work() {
            Err(error) if grpc::status(&error).is_some_and(|it| BUSY.contains(&it)) => {
                tries += 1;
                if tries > MAX_RETRIES {
                    return Err(error);
                }
                clock::sleep(RETRY_PAUSE);
            }
            done => return done,
        }
    }
}

/// Label by which content references other content.
fn reference(what: &str, digest: &str) -> (String, String) {
    (format!("containerd.io/gc.ref.content.{what}"), digest.to_owned())
}

// === impl Progress ===

impl Progress {
    /// Logs the progress at intervals.
    fn log(&mut self, name: &str) {
        let now = clock::monotonic();
        if now.saturating_sub(self.logged) < LOG_INTERVAL {
            return;
        }
        self.logged = now;
        let Self { layers, done, .. } = self;
        let (fetched, size) = (self.fetched as f64 / 1e6, self.size as f64 / 1e6);
        info!(image = name; "pulling the image: {done} of {layers} layers, {fetched:.1} of {size:.1} MB");
    }
}
