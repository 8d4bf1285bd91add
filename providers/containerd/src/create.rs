//! Making a container that does not exist, out of what the operator wrote.

use drowse_provider_sdk::{Error, Result};

use crate::{
    daemon::Daemon,
    data::{Data, Files},
    fetch::Fetch,
    proto::{self, Container},
    settings::{Settings, TargetSettings},
    spec,
};

/// The signal that a container is asked to stop with, as other tools write it down.
pub(crate) const STOP_SIGNAL: &str = "io.containerd.image.config.stop-signal";

/// A container to be made, with everything but its files.
pub(crate) struct Blueprint<'a> {
    daemon: &'a Daemon,
    data: Data<'a>,
    pub(crate) container: Container,
    /// The snapshot of its image.
    pub(crate) parent: String,
}

/// The name of the image that a container is made of.
pub(crate) fn image_of(own: &TargetSettings) -> Result<&str> {
    own.image.as_deref().ok_or_else(|| {
        Error::not_found(
            "nobody says what it is made of; create it, or give the setting `image` to have it \
             created",
        )
    })
}

// === impl Blueprint ===

impl<'a> Blueprint<'a> {
    /// Of the image that is the right one now.
    pub(crate) fn new(
        daemon: &'a Daemon,
        settings: &'a Settings,
        id: &'a str,
        own: &'a TargetSettings,
        refresh: bool,
    ) -> Result<Self> {
        let name = image_of(own)?;
        let image = Fetch { daemon, settings, own, refresh }.image(name)?;
        let spec = spec::build(&daemon.namespace, id, &image.config, own)?;
        let mut labels = own.labels.clone();
        if !image.config.stop_signal.is_empty() {
            let signal = image.config.stop_signal.clone();
            labels.entry(STOP_SIGNAL.to_owned()).or_insert(signal);
        }
        let container = Container {
            id: id.to_owned(),
            labels,
            image: name.to_owned(),
            runtime: Some(proto::Runtime { name: settings.runtime.clone(), options: None }),
            spec: Some(proto::Any {
                type_url: spec::TYPE.to_owned(),
                value: spec.to_string().into_bytes(),
            }),
            snapshotter: settings.snapshotter.clone(),
            ..Container::default()
        };
        let data = Data { daemon, id, snapshotter: &settings.snapshotter };
        Ok(Self { daemon, data, container, parent: image.snapshot })
    }

    /// Makes the container, or returns the one that somebody else has just made. What an earlier one
    /// has left is its data.
    pub(crate) fn create(&self) -> Result<Container> {
        let files = self.data.on(&self.parent)?;
        let created = self.daemon.create_container(self.with(&files));
        match created {
            Ok(true) => {
                self.data.settle(&files);
                Ok(self.with(&files))
            }
            Ok(false) => self
                .daemon
                .container(self.data.id)?
                .ok_or_else(|| Error::conflict("somebody else creates and deletes it meanwhile")),
            Err(error) => match self.data.undo(&files) {
                Ok(()) => Err(error),
                Err(left) => Err(error.context(format!("its new snapshot is left behind: {left}"))),
            },
        }
    }

    /// Writes down that there is this container, with these files.
    pub(crate) fn record(&self, files: &Files) -> Result<()> {
        if self.daemon.create_container(self.with(files))? {
            return Ok(());
        }
        Err(Error::conflict("somebody else creates one of this name meanwhile"))
    }

    fn with(&self, files: &Files) -> Container {
        Container { snapshot_key: files.key.clone(), ..self.container.clone() }
    }
}
