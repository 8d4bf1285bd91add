//! Making a container anew.
//!
//! Everything that can fail without touching the old one comes first. Then it is stopped, its data
//! carried to the new image if that is another one, and its record replaced. Only when the new one
//! runs, if the old one did, is what was carried taken away from where it was: until then every step
//! can be taken back, and is when the next one fails. So is the name of the image, if a newer one was
//! pulled for it.

use std::time::Duration;

use drowse_provider_sdk::{Error, Observation, RecreateOptions, Result, warn};

use super::{Target, end::KILL_TIME};
use crate::{
    create::{self, Blueprint},
    daemon::{Daemon, Key},
    data::{Data, Files},
    fetch::Fetch,
    lease, observe,
    proto::{self, Container, Descriptor},
    signals,
};

/// What the new container has to live through to count as running.
const SETTLE: Duration = Duration::from_secs(1);

/// The one for the other.
struct Replacement<'a> {
    old: &'a Container,
    new: &'a Blueprint<'a>,
    ran: bool,
    signal: Option<u32>,
    grace: Duration,
}

/// What the name of an image stands for.
struct Named<'a> {
    name: &'a str,
    target: Descriptor,
}

/// How far it has come.
#[derive(Default)]
struct Progress {
    files: Option<Files>,
    /// The record of the old one is gone.
    replaced: bool,
}

// === impl Named ===

impl<'a> Named<'a> {
    /// The image that the container is to be made of, if it is here.
    fn of(target: &Target<'a>) -> Result<Option<Self>> {
        let Some(name) = target.own.image.as_deref() else { return Ok(None) };
        let found = target.daemon.image(name)?;
        Ok(found.map(|target| Self { name, target }))
    }

    /// Lets the name stand for that again. Whoever makes a container by it gets what has lived.
    fn put_back(&self, daemon: &Daemon) -> Result<()> {
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
    /// Makes it anew of what the workload's settings say.
    pub(crate) fn recreate(&self, options: &RecreateOptions) -> Result<Observation> {
        let attempt = self.attempt("recreate");
        self.renew(options).map_err(|error| error.context(attempt))?;
        self.observe()
    }

    /// Has the image here that it would be made anew of.
    pub(crate) fn fetch(&self) -> Result<()> {
        let fetch =
            Fetch { daemon: self.daemon, settings: self.settings, own: self.own, refresh: true };
        let fetched = create::image_of(self.own).and_then(|name| fetch.ahead(name));
        fetched.map_err(|error| error.context(self.attempt("fetch a newer image for")))
    }

    fn renew(&self, options: &RecreateOptions) -> Result<()> {
        let signal = options.stop.signal.as_deref().map(signals::number).transpose()?;
        let Some(old) = self.daemon.container(self.id)? else {
            // Also what one that was broken off has left: the next start would do the same.
            return self.blueprint(options.refresh)?.create().map(drop);
        };
        let Some(named) = Named::of(self)? else { return self.renew_named(options, signal, &old) };
        // What the name stood for is still there when the new one turns out to be no good.
        lease::hold_whole(self.daemon, &format!("before-{}", self.id), |daemon| {
            if let Err(error) = daemon.hold_content(&named.target) {
                warn!(image = named.name; "what it stands for may be collected: {error}");
            }
            let renewed = self.renew_named(options, signal, &old);
            renewed.map_err(|error| match named.put_back(self.daemon) {
                Ok(()) => error,
                Err(left) => error.context(format!(
                    "image {:?} is still the new one, and containers are made of it: {left}",
                    named.name
                )),
            })
        })
    }

    fn renew_named(
        &self,
        options: &RecreateOptions,
        signal: Option<u32>,
        old: &Container,
    ) -> Result<()> {
        let mut blueprint = self.blueprint(options.refresh)?;
        if let Some(address) = old.labels.get(observe::ADDRESS) {
            blueprint.container.labels.insert(observe::ADDRESS.to_owned(), address.clone());
        }
        self.network(&blueprint.container)?;
        let task = self.daemon.task(self.id)?;
        let ran = task.is_some_and(|task| task.status() == proto::Status::Running);
        let replacement =
            Replacement { old, new: &blueprint, ran, signal, grace: options.stop.grace() };
        let mut progress = Progress::default();
        if let Err(error) = self.replace(&replacement, &mut progress) {
            return Err(self.undone(&replacement, &progress, error));
        }
        if let Some(files) = &progress.files {
            self.data().settle(files);
        }
        Ok(())
    }

    fn replace(&self, replacement: &Replacement<'_>, progress: &mut Progress) -> Result<()> {
        let Replacement { old, new, ran, signal, grace } = *replacement;
        self.end(signal, grace, true)?;
        let before = Key { snapshotter: &old.snapshotter, key: &old.snapshot_key };
        let files = self.data().of(before, &new.parent)?;
        let files = progress.files.insert(files);
        // Nobody collects it when the record is gone.
        self.data().keep(before)?;
        progress.replaced = true;
        self.daemon.delete_container(self.id)?;
        new.record(files)?;
        if ran { self.wake() } else { Ok(()) }
    }

    /// Starts the new one and sees whether it lives.
    fn wake(&self) -> Result<()> {
        self.begin()?;
        if !self.daemon.wait_task(self.id, SETTLE)? {
            return Ok(());
        }
        match self.daemon.task(self.id)? {
            // What has done its work has ended well.
            Some(task) if task.exit_status == 0 => Ok(()),
            Some(task) => Err(Error::internal(format!(
                "the new one has ended at once with status {}; the old one is put back",
                task.exit_status
            ))),
            None => Err(Error::conflict(
                "somebody else has stopped the new one; the old one is put back",
            )),
        }
    }

    /// Takes back what was done, and says what could not be taken back.
    fn undone(&self, replacement: &Replacement<'_>, progress: &Progress, cause: Error) -> Error {
        let Replacement { old, ran, .. } = *replacement;
        let undo = || {
            if progress.replaced {
                self.end(Some(signals::KILL), KILL_TIME, true)?;
                self.daemon.delete_container(self.id)?;
                self.daemon.create_container(old.clone())?;
            }
            if let Some(files) = &progress.files {
                self.data().undo(files)?;
            }
            if ran { self.begin() } else { Ok(()) }
        };
        let undo: Result<()> = undo();
        match undo {
            Ok(()) => cause,
            Err(error) => Error::new(
                cause.code().clone(),
                format!(
                    "{}; and what was there before could not be put back: {}; recreate it once more",
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
