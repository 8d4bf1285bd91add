//! Images: resolving a name, and asking its registry for a newer one.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, ImageName, Result, encode, info, warn};
use serde_json::Value;

use crate::{
    api::{Call, Engine, RECREATE_ENDPOINT},
    pull,
    settings::Settings,
};

/// Timeout for a registry to return a digest.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(15);

/// Registry of image names without one.
const HUB: &str = "docker.io";

/// Images of an engine.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    engine: &'a Engine,
    settings: &'a Settings,
}

/// Result of asking the registry for a newer image.
enum Lookup {
    Newest,
    Newer,
    /// The lookup failed with this error.
    Unknown(Error),
}

// === impl Images ===

impl<'a> Images<'a> {
    pub(crate) fn new(engine: &'a Engine, settings: &'a Settings) -> Self {
        Self { engine, settings }
    }

    /// The complete inspect result of an image, by name or id.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Value>> {
        let path = format!("/images/{}/json", segments(name));
        let answer = self.engine.send(&Call::get(&path).to(RECREATE_ENDPOINT))?;
        match answer.status {
            200 => Ok(Some(answer.response.json()?)),
            404 => Ok(None),
            _ => Err(answer.to_error(&format!("inspect image {name:?}"))),
        }
    }

    /// Pulls the image that the name refers to now, unless it is local already. If the registry is
    /// unreachable, the local image is used.
    pub(crate) fn refresh(&self, name: &str) -> Result<()> {
        let local = self.find(name)?;
        if let Some(image) = &local
            && is_id(name, image)
        {
            info!(image = name; "the container uses an image by its id: there is no newer one");
            return Ok(());
        }
        let requested = ImageName::parse(name);
        let lookup = match &local {
            None => Lookup::Newer,
            Some(_) if requested.digest.is_some() => Lookup::Newest,
            Some(image) => self.query_registry(requested, image)?,
        };
        let why = match lookup {
            Lookup::Newest => {
                info!(image = name; "the image is up to date");
                return Ok(());
            }
            Lookup::Newer => match self.pull(requested) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Lookup::Unknown(error) => error,
        };
        if local.is_none()
            || *why.code() == ErrorCode::Denied && why.attribute("http-status").is_none()
        {
            return Err(why);
        }
        warn!(image = name; "using the local image: {why}");
        Ok(())
    }

    /// Whether the registry has another image of this name than the local one. The error is a
    /// missing grant.
    fn query_registry(&self, image: ImageName<'_>, local: &Value) -> Result<Lookup> {
        if !self.engine.version()?.queries_registries() {
            return Ok(Lookup::Newer);
        }
        let ImageName { whole: name, tag, .. } = image;
        let (endpoint, from) = self.source(image);
        let path = format!("/distribution/{}/json", segments(&format!("{from}:{tag}")));
        let call = Call::get(&path).to(endpoint).timeout(REGISTRY_TIMEOUT);
        let attempt = format!("ask the registry {} for {name}:{tag}", registry(image));
        let answer = match self.engine.send(&call) {
            Ok(answer) => answer,
            Err(error) if *error.code() == ErrorCode::Denied => return Err(error.context(&attempt)),
            Err(error) => return Ok(Lookup::Unknown(error.context(&attempt))),
        };
        if !answer.is_done() {
            return Ok(Lookup::Unknown(answer.to_error(&attempt)));
        }
        let manifest: Value = match answer.response.json() {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Lookup::Unknown(error.context(&attempt))),
        };
        let newest = manifest["Descriptor"]["digest"].as_str().unwrap_or_default();
        let digests = local["RepoDigests"].as_array().into_iter().flatten();
        let mut digests = digests.filter_map(|it| Some(it.as_str()?.split_once('@')?.1));
        Ok(if digests.any(|digest| digest == newest) { Lookup::Newest } else { Lookup::Newer })
    }

    fn pull(&self, image: ImageName<'_>) -> Result<()> {
        let (endpoint, from) = self.source(image);
        pull::pull(self.engine, endpoint, &from, image)
    }

    /// The endpoint for this image's registry, and the image's name there. Credentials go only to
    /// their registry: the endpoint's rules name it, so the image's name includes it.
    fn source(&self, image: ImageName<'_>) -> (&'a str, String) {
        match self.settings.registries.get(registry(image)) {
            None => (RECREATE_ENDPOINT, image.whole.to_owned()),
            Some(endpoint) => (endpoint, format!("{}/{}", registry(image), image.repository)),
        }
    }
}

/// Registry of an image.
fn registry<'a>(image: ImageName<'a>) -> &'a str {
    image.registry.unwrap_or(HUB)
}

/// Returns whether the image was requested by its id or a prefix of it.
fn is_id(name: &str, image: &Value) -> bool {
    let bare = |id: &'_ str| id.strip_prefix("sha256:").unwrap_or(id).to_owned();
    let id = bare(image["Id"].as_str().unwrap_or_default());
    let tags = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut tags = tags.map(ImageName::parse);
    let requested = ImageName::parse(name);
    id.starts_with(&bare(name))
        && !tags.any(|tag| (tag.whole, tag.tag) == (requested.whole, requested.tag))
}

/// Encodes a name as path segments.
fn segments(name: &str) -> String {
    name.split('/').map(encode).collect::<Vec<_>>().join("/")
}
