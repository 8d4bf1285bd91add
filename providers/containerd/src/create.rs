//! Creating a container from the operator's settings.

use drowse_provider_sdk::{Error, Result};

use crate::{
    daemon::Daemon,
    data::{Data, Files},
    fetch::Fetch,
    proto::{self, Container},
    settings::{Settings, TargetSettings},
    spec,
};

/// Label with the container's stop signal, as other tools write it.
pub(crate) const STOP_SIGNAL: &str = "io.containerd.image.config.stop-signal";

/// A container to create, with everything but its snapshot.
pub(crate) struct NewContainer<'a> {
    daemon: &'a Daemon,
    data: Data<'a>,
    pub(crate) container: Container,
    /// Snapshot key of its image.
    pub(crate) parent: String,
}

/// Image name of a container.
pub(crate) fn image_of(own: &TargetSettings) -> Result<&str> {
    own.image.as_deref().ok_or_else(|| {
        Error::not_found("the container has no image; create it, or set `image` to have it created")
    })
}

// === impl NewContainer ===

impl<'a> NewContainer<'a> {
    /// Uses the current image of the name.
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

    /// Creates the container, or returns the one that another client just created. Data of an
    /// earlier container of this id is reused.
    pub(crate) fn create(&self) -> Result<Container> {
        let files = self.data.for_image(&self.parent)?;
        let created = self.daemon.create_container(self.with(&files));
        match created {
            Ok(true) => {
                self.data.delete_superseded(&files);
                Ok(self.with(&files))
            }
            Ok(false) => self
                .daemon
                .container(self.data.id)?
                .ok_or_else(|| Error::conflict("another client creates and deletes it meanwhile")),
            Err(error) => match self.data.discard(&files) {
                Ok(()) => Err(error),
                Err(left) => Err(error.context(format!("its new snapshot is left over: {left}"))),
            },
        }
    }

    /// Creates the container's record with these files.
    pub(crate) fn record(&self, files: &Files) -> Result<()> {
        if self.daemon.create_container(self.with(files))? {
            return Ok(());
        }
        Err(Error::conflict("another client creates one of this name meanwhile"))
    }

    fn with(&self, files: &Files) -> Container {
        Container { snapshot_key: files.key.clone(), ..self.container.clone() }
    }
}
