//! Which image a container is made of: the one that is here, or a newer one of its registry.

use drowse_provider_sdk::{Error, ImageName, Result, info, warn};

use crate::{
    daemon::Daemon,
    image::{self, Image},
    pull,
    registry::Registry,
    settings::{Pull, Settings, TargetSettings},
};

/// What is made of an image asks for it like this.
#[derive(Clone, Copy)]
pub(crate) struct Fetch<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) settings: &'a Settings,
    pub(crate) own: &'a TargetSettings,
    /// Whether a newer one is looked for also where only missing ones are pulled.
    pub(crate) refresh: bool,
}

/// What is to be pulled.
enum Wanted<'a> {
    Nothing,
    /// What has this digest, or else what the name stands for.
    Pull(&'a Registry<'a>, Option<String>),
}

// === impl Fetch ===

impl Fetch<'_> {
    /// The image of this name, unpacked. What is here has to do where the registry cannot be asked
    /// or what it has cannot be had; without that it is an error.
    pub(crate) fn image(&self, name: &str) -> Result<Image> {
        let digest = self.brought(name, |pull| pull.named())?;
        image::open(self.daemon, name, &digest, &self.settings.snapshotter)
    }

    /// Has that image here for a day, without the name.
    pub(crate) fn ahead(&self, name: &str) -> Result<()> {
        self.brought(name, |pull| pull.ahead()).map(drop)
    }

    /// The digest of the right one, which this has brought here unless it is.
    fn brought(
        &self,
        name: &str,
        bring: impl FnOnce(pull::Pull<'_>) -> Result<String>,
    ) -> Result<String> {
        let snapshotter = self.settings.snapshotter.as_str();
        let here = self.daemon.image(name)?.map(|target| target.digest);
        let image = ImageName::parse(name);
        let registry = Registry::of(self.settings, image);
        let brought = match self.wanted(here.as_deref(), image, registry.as_ref()) {
            Ok(Wanted::Nothing) => Ok(None),
            Ok(Wanted::Pull(registry, digest)) => {
                let digest = digest.as_deref().or(image.digest);
                bring(pull::Pull::new(self.daemon, registry, name, digest, snapshotter)).map(Some)
            }
            Err(error) => Err(error.context(format!("ask the registry for {name}"))),
        };
        match (brought, here) {
            (Ok(Some(brought)), _) => Ok(brought),
            (Ok(None), Some(here)) => Ok(here),
            (Ok(None), None) => Err(self.missing(name, image)),
            (Err(error), None) => Err(error),
            (Err(error), Some(here)) => {
                warn!(image = name; "the image that is here is used: {error}");
                Ok(here)
            }
        }
    }

    fn wanted<'r>(
        &self,
        here: Option<&str>,
        image: ImageName<'_>,
        registry: Option<&'r Registry<'r>>,
    ) -> Result<Wanted<'r>> {
        let policy = self.own.pull.unwrap_or(self.settings.pull);
        let Some(registry) = registry.filter(|_| policy != Pull::Never) else {
            return Ok(Wanted::Nothing);
        };
        let Some(here) = here else { return Ok(Wanted::Pull(registry, None)) };
        if image.digest == Some(here) || policy == Pull::Missing && !self.refresh {
            return Ok(Wanted::Nothing);
        }
        let latest = registry.latest()?;
        if latest == here {
            info!("the image is the newest: nothing is pulled");
            return Ok(Wanted::Nothing);
        }
        Ok(Wanted::Pull(registry, Some(latest)))
    }

    /// Nobody has it, and nobody is to be asked.
    fn missing(&self, name: &str, image: ImageName<'_>) -> Error {
        let namespace = &self.daemon.namespace;
        let host = image.registry.unwrap_or("docker.io");
        Error::not_found(format!(
            "there is no image {name:?} in namespace {namespace:?}; have it pulled by an endpoint that \
             leads to {host:?} and is named in the provider's settings: registries, or pull it there, \
             for instance by `ctr --namespace {namespace} images pull {name}`"
        ))
    }
}
