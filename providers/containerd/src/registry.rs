//! Registries: resolving names and reading content (OCI distribution specification).
//!
//! A registry is an endpoint that the operator granted; `settings.registries` maps it. The host to
//! which a registry redirects for its layers is one as well.

use std::time::Duration;

use drowse_provider_sdk::{Endpoint, Error, ImageName, Response, Result, clock, clock::Deadline};

use crate::{
    daemon::MAX_DOCUMENT,
    manifest::{ACCEPT, digest, is_digest},
    settings::Settings,
};

/// Default endpoint name in the grant.
pub(crate) const ENDPOINT: &str = "registry";

/// Rules for every request made here.
pub(crate) const RULES: [&str; 2] = ["HEAD /v2/**", "GET /v2/**"];

/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 4;

/// A repository of a registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registry<'a> {
    settings: &'a Settings,
    host: &'a str,
    endpoint: &'a str,
    repository: &'a str,
    /// Tag or digest of the name.
    version: &'a str,
}

/// A manifest of the registry.
pub(crate) struct Document {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
}

/// A blob that is read sequentially; another position opens a new request.
pub(crate) struct Source<'a> {
    registry: &'a Registry<'a>,
    digest: &'a str,
    open: Option<(u64, Response)>,
}

// === impl Registry ===

impl<'a> Registry<'a> {
    /// The registry of an image; None if no endpoint is configured for it.
    pub(crate) fn of(settings: &'a Settings, image: ImageName<'a>) -> Option<Self> {
        let host = image.registry?;
        let endpoint = settings.registries.get(host)?;
        let version = image.digest.unwrap_or(image.tag);
        Some(Self { settings, host, endpoint, repository: image.repository, version })
    }

    /// Current digest of the name.
    pub(crate) fn latest(&self) -> Result<String> {
        let deadline = Deadline::after(self.settings.registry_timeout.0);
        let path = self.path("manifests", self.version);
        let response = self.send_with_retry("HEAD", &path, deadline)?;
        match response.header("docker-content-digest").filter(|it| is_digest(it)) {
            Some(digest) => Ok(digest.to_owned()),
            None => Ok(digest(&self.send_with_retry("GET", &path, deadline)?.bytes(MAX_DOCUMENT)?)),
        }
    }

    /// The manifest of this digest or, without one, of the name.
    pub(crate) fn manifest(&self, wanted: Option<&str>) -> Result<Document> {
        let path = self.path("manifests", wanted.unwrap_or(self.version));
        let deadline = Deadline::after(self.settings.registry_timeout.0);
        let response = self.send_with_retry("GET", &path, deadline)?;
        let kind = response.header("content-type").unwrap_or_default();
        let media_type = kind.split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = response.bytes(MAX_DOCUMENT)?;
        let digest = digest(&bytes);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
            return Err(Error::internal(format!(
                "{} answers {wanted} with content of digest {digest}",
                self.host
            )));
        }
        Ok(Document { media_type, digest, bytes })
    }

    /// A blob, to be read piece by piece.
    pub(crate) fn source(&'a self, digest: &'a str) -> Source<'a> {
        Source { registry: self, digest, open: None }
    }

    fn path(&self, kind: &str, version: &str) -> String {
        format!("/v2/{}/{kind}/{version}", self.repository)
    }

    /// Sends a request, and retries if the registry answers with a time to wait.
    fn send_with_retry(&self, method: &str, path: &str, deadline: Deadline) -> Result<Response> {
        loop {
            let left = deadline.left().unwrap_or(Duration::from_millis(1));
            let request = Endpoint::new(self.endpoint.to_owned()).request(method, path);
            let response = request.header("accept", ACCEPT).timeout(left).send()?;
            let again = (response.status() == 429).then(|| retry_after(&response));
            match again.zip(deadline.left()) {
                Some((pause, left)) if pause < left => clock::sleep(pause),
                _ => return self.check_status(response),
            }
        }
    }

    /// The blob's bytes from `from` to `to`; the whole blob if the registry does not support
    /// ranges.
    fn blob(&self, digest: &str, from: u64, to: u64) -> Result<Response> {
        let mut endpoint = self.endpoint.to_owned();
        let mut path = self.path("blobs", digest);
        for _ in 0..=MAX_REDIRECTS {
            let request = Endpoint::new(endpoint.clone()).get(&path);
            let response = request.header("range", &format!("bytes={from}-{to}")).send()?;
            let Some(location) = response
                .header("location")
                .filter(|_| matches!(response.status(), 301 | 302 | 303 | 307 | 308))
            else {
                return self.check_status(response);
            };
            let (host, rest) = split(location);
            if let Some(host) = host {
                let found = self.settings.registries.get(host);
                endpoint = found.cloned().ok_or_else(|| {
                    Error::denied(format!(
                        "{} redirects to {host:?} for its layers; grant an endpoint for it, with the \
                         rule \"GET /**?*\", and name it in the provider's settings: registries",
                        self.host
                    ))
                })?;
            }
            path = rest.to_owned();
        }
        Err(Error::unavailable(format!("{} redirects too often for its layers", self.host)))
    }

    fn check_status(&self, response: Response) -> Result<Response> {
        let (host, status) = (self.host, response.status());
        if response.is_success() {
            return Ok(response);
        }
        let request = response.request();
        let message = format!("{status} from {host} to {request}");
        let realm = realm(&response);
        Err(Error::http(
            status,
            match status {
                401 if let Some(realm) = realm => format!(
                    "{message}: it requires a token; grant the registry's endpoint \
                     `token = {{ url = {realm:?} }}`, with `headers` for credentials; if that is \
                     granted, the router's log has the reason why no token was issued"
                ),
                401 | 403 => {
                    format!("{message}; grant the registry's endpoint credentials that may read it")
                }
                429 => format!(
                    "{message}: rate limited; retry after {} seconds",
                    retry_after(&response).as_secs()
                ),
                _ => message,
            },
        ))
    }
}

// === impl Source ===

impl Source<'_> {
    /// `size` bytes from this position. Only the last piece of a blob is shorter.
    pub(crate) fn take(&mut self, from: u64, size: u64) -> Result<Vec<u8>> {
        let (mut at, mut response) = match self.open.take() {
            Some((at, response)) if at == from => (at, response),
            _ => {
                let to = from.saturating_add(size).saturating_sub(1);
                let response = self.registry.blob(self.digest, from, to)?;
                // A response 206 has exactly the requested range.
                (if response.status() == 206 { from } else { 0 }, response)
            }
        };
        let part = response.status() == 206;
        let end = from.saturating_add(size);
        let mut taken = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        while at < end {
            let Some(piece) = response.read_up_to(u32::try_from(end - at).unwrap_or(u32::MAX))?
            else {
                break;
            };
            let skipped = from.saturating_sub(at).min(piece.len() as u64);
            at += piece.len() as u64;
            taken.extend_from_slice(&piece[usize::try_from(skipped).unwrap_or(piece.len())..]);
        }
        if !part {
            self.open = Some((at, response));
        }
        Ok(taken)
    }
}

/// The token server of a registry that accepts only tokens.
fn realm(response: &Response) -> Option<&str> {
    let challenge = response.header("www-authenticate")?;
    let (scheme, parameters) = challenge.split_once(' ')?;
    let (_, realm) =
        parameters.split_once("realm=\"").filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    realm.split('"').next()
}

/// Time to wait before the next request.
fn retry_after(response: &Response) -> Duration {
    let seconds = response.header("retry-after").and_then(|it| it.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// Host of an absolute location, and its path with query.
fn split(location: &str) -> (Option<&str>, &str) {
    let location = location.split('#').next().unwrap_or_default();
    match location.split_once("://") {
        Some((_, rest)) => {
            let at = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..at]), if at == rest.len() { "/" } else { &rest[at..] })
        }
        None => (None, location),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_has_an_optional_host() {
        assert_eq!(
            split("https://cdn.example:8443/a/b?c=/d"),
            (Some("cdn.example:8443"), "/a/b?c=/d")
        );
        assert_eq!(split("/v2/x#top"), (None, "/v2/x"));
        assert_eq!(split("http://cdn.example"), (Some("cdn.example"), "/"));
    }

    proptest::proptest! {
        #[test]
        fn any_location_is_split(text: String) {
            let (host, path) = split(&text);
            proptest::prop_assert!(host.map_or(0, str::len) + path.len() <= text.len() + 1);
        }
    }
}
