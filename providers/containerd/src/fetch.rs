//! Selects the image of a container: the local one, or a newer one of its registry.

use drowse_provider_sdk::{Error, ImageName, Result, info, warn};

use crate::{
    daemon::Daemon,
    image::{self, Image},
    pull,
    registry::Registry,
    settings::{Pull, Settings, TargetSettings},
};

/// An image request of one container.
#[derive(Clone, Copy)]
pub(crate) struct Fetch<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) settings: &'a Settings,
    pub(crate) own: &'a TargetSettings,
    /// Asks for a newer image even if the policy pulls only missing ones.
    pub(crate) refresh: bool,
}

/// Result of the pull policy.
enum Decision<'a> {
    Nothing,
    /// Pull this digest or, without one, the current target of the name.
    Pull(&'a Registry<'a>, Option<String>),
}

// === impl Fetch ===

impl Fetch<'_> {
    /// The image of this name, unpacked. If the registry is unreachable or the pull fails, the
    /// local image is used; without one it is an error.
    pub(crate) fn image(&self, name: &str) -> Result<Image> {
        let digest = self.ensure_local(name, |pull| pull.named())?;
        image::open(self.daemon, name, &digest, &self.settings.snapshotter)
    }

    /// Pulls that image without naming it, and keeps it for a day.
    pub(crate) fn ahead(&self, name: &str) -> Result<()> {
        self.ensure_local(name, |pull| pull.ahead()).map(drop)
    }

    /// Digest of the current image, pulled if it is not local.
    fn ensure_local(
        &self,
        name: &str,
        pull: impl FnOnce(pull::Pull<'_>) -> Result<String>,
    ) -> Result<String> {
        let snapshotter = self.settings.snapshotter.as_str();
        let local = self.daemon.image(name)?.map(|target| target.digest);
        let image = ImageName::parse(name);
        let registry = Registry::of(self.settings, image);
        let pulled = match self.decide(local.as_deref(), image, registry.as_ref()) {
            Ok(Decision::Nothing) => Ok(None),
            Ok(Decision::Pull(registry, digest)) => {
                let digest = digest.as_deref().or(image.digest);
                pull(pull::Pull::new(self.daemon, registry, name, digest, snapshotter)).map(Some)
            }
            Err(error) => Err(error.context(format!("ask the registry for {name}"))),
        };
        match (pulled, local) {
            (Ok(Some(pulled)), _) => Ok(pulled),
            (Ok(None), Some(local)) => Ok(local),
            (Ok(None), None) => Err(self.missing(name, image)),
            (Err(error), None) => Err(error),
            (Err(error), Some(local)) => {
                warn!(image = name; "using the local image: {error}");
                Ok(local)
            }
        }
    }

    fn decide<'r>(
        &self,
        local: Option<&str>,
        image: ImageName<'_>,
        registry: Option<&'r Registry<'r>>,
    ) -> Result<Decision<'r>> {
        let policy = self.own.pull.unwrap_or(self.settings.pull);
        let Some(registry) = registry.filter(|_| policy != Pull::Never) else {
            return Ok(Decision::Nothing);
        };
        let Some(local) = local else { return Ok(Decision::Pull(registry, None)) };
        if image.digest == Some(local) || policy == Pull::Missing && !self.refresh {
            return Ok(Decision::Nothing);
        }
        let latest = registry.latest()?;
        if latest == local {
            info!("the image is up to date");
            return Ok(Decision::Nothing);
        }
        Ok(Decision::Pull(registry, Some(latest)))
    }

    /// The error for a missing image that no registry may be asked for.
    fn missing(&self, name: &str, image: ImageName<'_>) -> Error {
        let namespace = &self.daemon.namespace;
        let host = image.registry.unwrap_or("docker.io");
        Error::not_found(format!(
            "there is no image {name:?} in namespace {namespace:?}; grant an endpoint for {host:?} and \
             name it in the provider's settings: registries, or pull it, for instance with \
             `ctr --namespace {namespace} images pull {name}`"
        ))
    }
}
