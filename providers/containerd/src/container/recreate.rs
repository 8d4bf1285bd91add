//! Recreating a container.
//!
//! Every step that can fail without changing the old container comes first. Then the container is
//! stopped, its data is transferred to the new image if that differs, and its record is replaced.
//! The transferred data is deleted from the old snapshot only when the new container runs, if the
//! old one did; until then every step can be rolled back, and is when the next one fails. The name
//! of the image is rolled back as well, if a newer one was pulled.

use std::time::Duration;

use drowse_provider_sdk::{Error, Observation, RecreateOptions, Result, warn};

use super::{Target, end::KILL_TIMEOUT};
use crate::{
    create::{self, NewContainer},
    daemon::{Daemon, Key},
    data::{Data, Files},
    fetch::Fetch,
    lease, observe,
    proto::{self, Container, Descriptor},
    signals,
};

/// Time for which the new container must run to count as running.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// A replacement of one container by another.
struct Replacement<'a> {
    old: &'a Container,
    new: &'a NewContainer<'a>,
    ran: bool,
    signal: Option<u32>,
    grace: Duration,
}

/// The target of an image name.
struct ImageRef<'a> {
    name: &'a str,
    target: Descriptor,
}

/// Completed steps of a replacement.
#[derive(Default)]
struct Progress {
    files: Option<Files>,
    /// The old container's record is deleted.
    replaced: bool,
}

// === impl ImageRef ===

impl<'a> ImageRef<'a> {
    /// The local image of the container's image name, if any.
    fn of(target: &Target<'a>) -> Result<Option<Self>> {
        let Some(name) = target.own.image.as_deref() else { return Ok(None) };
        let found = target.daemon.image(name)?;
        Ok(found.map(|target| Self { name, target }))
    }

    /// Points the name back to this image, so that new containers use the one that worked.
    fn restore(&self, daemon: &Daemon) -> Result<()> {
        match daemon.image(self.name)? {
            Some(now) if now.digest != self.target.digest => {
                daemon.name_image(self.name, &self.target)
            }
            _ => Ok(()),
        }
    }
}

// === impl Target ===

impl<'a> Target<'a> {
    /// Recreates the container from the workload's settings.
    pub(crate) fn recreate(&self, options: &RecreateOptions) -> Result<Observation> {
        let attempt = self.attempt("recreate");
        self.recreate_container(options).map_err(|error| error.context(attempt))?;
        self.observe()
    }

    /// Pulls the image that a recreation would use.
    pub(crate) fn fetch(&self) -> Result<()> {
        let fetch =
            Fetch { daemon: self.daemon, settings: self.settings, own: self.own, refresh: true };
        let fetched = create::image_of(self.own).and_then(|name| fetch.ahead(name));
        fetched.map_err(|error| error.context(self.attempt("fetch a newer image for")))
    }

    fn recreate_container(&self, options: &RecreateOptions) -> Result<()> {
        let signal = options.stop.signal.as_deref().map(signals::number).transpose()?;
        let Some(old) = self.daemon.container(self.id)? else {
            // Also the state after a cancelled recreation; the next start would do this as well.
            return self.new_container(options.refresh)?.create().map(drop);
        };
        let Some(image) = ImageRef::of(self)? else {
            return self.recreate_from_image(options, signal, &old);
        };
        // Keeps the old image until the new container is known to work.
        lease::with_temporary_lease(self.daemon, &format!("before-{}", self.id), |daemon| {
            if let Err(error) = daemon.hold_content(&image.target) {
                warn!(image = image.name; "the old image may be garbage collected: {error}");
            }
            let recreated = self.recreate_from_image(options, signal, &old);
            recreated.map_err(|error| match image.restore(self.daemon) {
                Ok(()) => error,
                Err(left) => error.context(format!(
                    "image {:?} still refers to the new version, and new containers use it: {left}",
                    image.name
                )),
            })
        })
    }

    fn recreate_from_image(
        &self,
        options: &RecreateOptions,
        signal: Option<u32>,
        old: &Container,
    ) -> Result<()> {
        let mut new_container = self.new_container(options.refresh)?;
        if let Some(address) = old.labels.get(observe::ADDRESS) {
            new_container.container.labels.insert(observe::ADDRESS.to_owned(), address.clone());
        }
        self.network(&new_container.container)?;
        let task = self.daemon.task(self.id)?;
        let ran = task.is_some_and(|task| task.status() == proto::Status::Running);
        let replacement =
            Replacement { old, new: &new_container, ran, signal, grace: options.stop.grace() };
        let mut progress = Progress::default();
        if let Err(error) = self.replace(&replacement, &mut progress) {
            return Err(self.roll_back(&replacement, &progress, error));
        }
        if let Some(files) = &progress.files {
            self.data().delete_superseded(files);
        }
        Ok(())
    }

    fn replace(&self, replacement: &Replacement<'_>, progress: &mut Progress) -> Result<()> {
        let Replacement { old, new, ran, signal, grace } = *replacement;
        self.end(signal, grace, true)?;
        let before = Key { snapshotter: &old.snapshotter, key: &old.snapshot_key };
        let files = self.data().rebased(before, &new.parent)?;
        let files = progress.files.insert(files);
        // Keeps the snapshot from garbage collection when the record is deleted.
        self.data().keep(before)?;
        progress.replaced = true;
        self.daemon.delete_container(self.id)?;
        new.record(files)?;
        if ran { self.start_new() } else { Ok(()) }
    }

    /// Starts the new container and checks that it stays up.
    fn start_new(&self) -> Result<()> {
        self.ensure_started()?;
        if !self.daemon.wait_task(self.id, SETTLE_TIME)? {
            return Ok(());
        }
        match self.daemon.task(self.id)? {
            // A container that finished its work exits with 0.
            Some(task) if task.exit_status == 0 => Ok(()),
            Some(task) => Err(Error::internal(format!(
                "the new container exited at once with status {}; the old one is restored",
                task.exit_status
            ))),
            None => Err(Error::conflict(
                "another client has stopped the new container; the old one is restored",
            )),
        }
    }

    /// Rolls back, and adds to the error what could not be rolled back.
    fn roll_back(&self, replacement: &Replacement<'_>, progress: &Progress, cause: Error) -> Error {
        let Replacement { old, ran, .. } = *replacement;
        let restore = || {
            if progress.replaced {
                self.end(Some(signals::KILL), KILL_TIMEOUT, true)?;
                self.daemon.delete_container(self.id)?;
                self.daemon.create_container(old.clone())?;
            }
            if let Some(files) = &progress.files {
                self.data().discard(files)?;
            }
            if ran { self.ensure_started() } else { Ok(()) }
        };
        let restore: Result<()> = restore();
        match restore {
            Ok(()) => cause,
            Err(error) => Error::new(
                cause.code().clone(),
                format!(
                    "{}; and the old container could not be restored: {}; recreate it once more",
                    cause.message(),
                    error.message()
                ),
            ),
        }
    }

    pub(super) fn data(&self) -> Data<'a> {
        Data { daemon: self.daemon, id: self.id, snapshotter: &self.settings.snapshotter }
    }
}
