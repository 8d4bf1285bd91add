//! Images: what a name leads to, and whether its registry has a newer one.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, ImageName, Result, encode, info, warn};
use serde_json::Value;

use crate::{
    api::{Call, Engine, RECREATE_ENDPOINT},
    pull,
    settings::Settings,
};

/// How long a registry may take to tell a digest.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(15);

/// The registry of names that begin with none.
const HUB: &str = "docker.io";

/// The images of an engine.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    engine: &'a Engine,
    settings: &'a Settings,
}

/// How it went to look for a newer image.
enum Looked {
    Newest,
    Newer,
    /// Why it is not known.
    Unknown(Error),
}

// === impl Images ===

impl<'a> Images<'a> {
    pub(crate) fn new(engine: &'a Engine, settings: &'a Settings) -> Self {
        Self { engine, settings }
    }

    /// All that the engine says of an image, by name or id.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Value>> {
        let path = format!("/images/{}/json", segments(name));
        let answer = self.engine.send(&Call::get(&path).to(RECREATE_ENDPOINT))?;
        match answer.status {
            200 => Ok(Some(answer.response.json()?)),
            404 => Ok(None),
            _ => Err(answer.refusal(&format!("inspect image {name:?}"))),
        }
    }

    /// Fetches what the name leads to now, unless it is here. What is here has to do where the
    /// registry cannot be asked.
    pub(crate) fn refresh(&self, name: &str) -> Result<()> {
        let here = self.find(name)?;
        if let Some(image) = &here
            && is_id(name, image)
        {
            info!(image = name; "the container was made of an image by its id: nothing is newer");
            return Ok(());
        }
        let asked = ImageName::parse(name);
        let looked = match &here {
            None => Looked::Newer,
            Some(_) if asked.digest.is_some() => Looked::Newest,
            Some(image) => self.look(asked, image)?,
        };
        let why = match looked {
            Looked::Newest => {
                info!(image = name; "the image is the newest: nothing is pulled");
                return Ok(());
            }
            Looked::Newer => match self.pull(asked) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Looked::Unknown(error) => error,
        };
        if here.is_none()
            || *why.code() == ErrorCode::Denied && why.attribute("http-status").is_none()
        {
            return Err(why);
        }
        warn!(image = name; "the image that is here is used: {why}");
        Ok(())
    }

    /// Whether the registry has another image by this name than the one that is here. The error is
    /// a missing grant.
    fn look(&self, image: ImageName<'_>, here: &Value) -> Result<Looked> {
        if !self.engine.version()?.asks_registries() {
            return Ok(Looked::Newer);
        }
        let ImageName { whole: name, tag, .. } = image;
        let (endpoint, from) = self.source(image);
        let path = format!("/distribution/{}/json", segments(&format!("{from}:{tag}")));
        let call = Call::get(&path).to(endpoint).timeout(REGISTRY_PATIENCE);
        let attempt = format!("ask the registry {} for {name}:{tag}", registry(image));
        let answer = match self.engine.send(&call) {
            Ok(answer) => answer,
            Err(error) if *error.code() == ErrorCode::Denied => return Err(error.context(&attempt)),
            Err(error) => return Ok(Looked::Unknown(error.context(&attempt))),
        };
        if !answer.is_done() {
            return Ok(Looked::Unknown(answer.refusal(&attempt)));
        }
        let told: Value = match answer.response.json() {
            Ok(told) => told,
            Err(error) => return Ok(Looked::Unknown(error.context(&attempt))),
        };
        let newest = told["Descriptor"]["digest"].as_str().unwrap_or_default();
        let digests = here["RepoDigests"].as_array().into_iter().flatten();
        let mut digests = digests.filter_map(|it| Some(it.as_str()?.split_once('@')?.1));
        Ok(if digests.any(|digest| digest == newest) { Looked::Newest } else { Looked::Newer })
    }

    fn pull(&self, image: ImageName<'_>) -> Result<()> {
        let (endpoint, from) = self.source(image);
        pull::pull(self.engine, endpoint, &from, image)
    }

    /// The endpoint for this image's registry, and the image's name there. Credentials go to the
    /// registry that they are for: its endpoint's rules name it, so the image's name does as well.
    fn source(&self, image: ImageName<'_>) -> (&'a str, String) {
        match self.settings.registries.get(registry(image)) {
            None => (RECREATE_ENDPOINT, image.whole.to_owned()),
            Some(endpoint) => (endpoint, format!("{}/{}", registry(image), image.repository)),
        }
    }
}

/// Where an image comes from.
fn registry<'a>(image: ImageName<'a>) -> &'a str {
    image.registry.unwrap_or(HUB)
}

/// Whether the image was asked for by its id, or by the beginning of one.
fn is_id(name: &str, image: &Value) -> bool {
    let bare = |id: &'_ str| id.strip_prefix("sha256:").unwrap_or(id).to_owned();
    let id = bare(image["Id"].as_str().unwrap_or_default());
    let tags = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut tags = tags.map(ImageName::parse);
    let asked = ImageName::parse(name);
    id.starts_with(&bare(name)) && !tags.any(|tag| (tag.whole, tag.tag) == (asked.whole, asked.tag))
}

/// A name as the segments of a path.
fn segments(name: &str) -> String {
    name.split('/').map(encode).collect::<Vec<_>>().join("/")
}
