//! The engine's API: version negotiation, errors and shared requests.

use std::time::Duration;

use drowse_provider_sdk::{Endpoint, Error, Response, Result, encode, memo};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{ErrorBody, Inspect};

/// Endpoint name of the engine in the grant.
pub(crate) const ENDPOINT: &str = "engine";

/// Endpoint name of the engine in the grant to run commands inside containers. A separate name, so
/// that the permission is never granted as a side effect.
pub(crate) const EXEC_ENDPOINT: &str = "exec";

/// Endpoint names of the engine in the grants to recreate and to remove containers.
pub(crate) const RECREATE_ENDPOINT: &str = "recreate";
pub(crate) const REMOVE_ENDPOINT: &str = "remove";

/// Endpoint name of the engine in the grant to pull images with credentials.
pub(crate) const REGISTRY_ENDPOINT: &str = "registry";

/// Newest API version that this provider supports.
const SUPPORTED_VERSION: (u32, u32) = (1, 47);

/// First API version whose `stop` takes a signal.
const STOP_SIGNAL_VERSION: (u32, u32) = (1, 42);

/// First API version whose `create` takes several networks.
const NETWORKS_VERSION: (u32, u32) = (1, 44);

/// Cache key of the negotiated version.
const VERSION_KEY: &str = "api-version";

/// Maximum size of an error message, in bytes; more than any engine sends.
const MESSAGE_LIMIT: usize = 64 << 10;

/// The engine behind the granted endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engine {}

/// Negotiated API version of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    number: (u32, u32),
    /// Podman serves the same API and ignores parameters that it does not implement.
    podman: bool,
}

/// A request to the engine, without the version prefix.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    endpoint: &'a str,
    method: &'static str,
    path: &'a str,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    timeout: Option<Duration>,
}

/// The engine's response. The message of an error response is already read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    message: String,
    pub(crate) response: Response,
}

// === impl Engine ===

impl Engine {
    /// The API version to use, negotiated once and cached.
    pub(crate) fn version(&self) -> Result<Version> {
        match memo::text(VERSION_KEY).and_then(|kept| Version::parse(&kept)) {
            Some(version) => Ok(version),
            None => self.negotiate(),
        }
    }

    fn negotiate(&self) -> Result<Version> {
        let response = Endpoint::new(ENDPOINT).get("/_ping").send()?;
        let status = response.status();
        let podman = response.header("libpod-api-version").is_some();
        let number = response.header("api-version").and_then(parse_number);
        let answer = Answer::read(response)?;
        if !(200..300).contains(&status) {
            return Err(answer.to_error("ask the engine for its version"));
        }
        let number = number.ok_or_else(|| {
            Error::unavailable(
                "ask the engine for its version: /_ping answers without Api-Version; is this the \
                 socket of Docker or Podman?",
            )
        })?;
        let version = Version { number: number.min(SUPPORTED_VERSION), podman };
        memo::set(VERSION_KEY, version.to_text());
        Ok(version)
    }

    /// Sends the request in the negotiated version. If the engine was replaced by one with another
    /// version, negotiates again and retries once.
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Answer> {
        let version = self.version()?;
        let answer = self.send_as(version, call)?;
        if answer.status == 400 && answer.message.contains("client version") {
            memo::delete(VERSION_KEY);
            let renewed = self.negotiate()?;
            if renewed != version {
                return self.send_as(renewed, call);
            }
        }
        Ok(answer)
    }

    fn send_as(&self, version: Version, call: &Call<'_>) -> Result<Answer> {
        let (major, minor) = version.number;
        let path = format!("/v{major}.{minor}{}", call.path);
        let mut request = Endpoint::new(call.endpoint.to_owned()).request(call.method, &path);
        for (name, value) in &call.query {
            request = request.query(name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        Answer::read(request.send()?)
    }

    /// The container that the engine finds by a name, an id or a prefix of an id.
    pub(crate) fn inspect(&self, reference: &str) -> Result<Option<Inspect>> {
        self.inspect_as(reference)
    }

    fn inspect_as<T: DeserializeOwned>(&self, reference: &str) -> Result<Option<T>> {
        let path = format!("/containers/{}/json", encode(reference));
        let answer = self.send(&Call::get(&path))?;
        match answer.status {
            200 => Ok(Some(answer.response.json()?)),
            404 => Ok(None),
            _ => Err(answer.to_error(&format!("inspect container {reference:?}"))),
        }
    }

    /// The container of exactly this name or full id. The engine itself also accepts a prefix of
    /// any id, and `db` may be such a prefix.
    pub(crate) fn inspect_exactly(&self, handle: &str) -> Result<Option<Inspect>> {
        let found = self.inspect(handle)?;
        Ok(found.filter(|it| it.name.strip_prefix('/') == Some(handle) || it.id == handle))
    }

    /// The complete inspect result of the container of exactly this name.
    pub(crate) fn inspect_raw(&self, name: &str) -> Result<Option<Value>> {
        let found: Option<Value> = self.inspect_as(name)?;
        let named =
            |it: &Value| it["Name"].as_str().map(|it| it.strip_prefix('/')) == Some(Some(name));
        Ok(found.filter(named))
    }
}

// === impl Version ===

impl Version {
    /// Returns whether `stop` honours its parameter `signal`; other engines ignore it silently.
    pub(crate) fn stop_takes_signal(self) -> bool {
        self.number >= STOP_SIGNAL_VERSION && !self.podman
    }

    /// Returns whether `create` takes all networks of a container; other engines take one.
    pub(crate) fn joins_networks_at_once(self) -> bool {
        self.number >= NETWORKS_VERSION && !self.podman
    }

    /// Podman does not implement registry lookups of digests.
    pub(crate) fn queries_registries(self) -> bool {
        !self.podman
    }

    #[cfg(test)]
    pub(crate) fn of_docker(major: u32, minor: u32) -> Self {
        Self { number: (major, minor), podman: false }
    }

    fn to_text(self) -> String {
        let (major, minor) = self.number;
        format!("{major}.{minor}{}", if self.podman { " podman" } else { "" })
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, podman) = match text.strip_suffix(" podman") {
            Some(number) => (number, true),
            None => (text, false),
        };
        Some(Self { number: parse_number(number)?, podman })
    }
}

fn parse_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

// === impl Call ===

impl<'a> Call<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        let query = Vec::new();
        Self { endpoint: ENDPOINT, method: "GET", path, query, body: None, timeout: None }
    }

    pub(crate) fn post(path: &'a str) -> Self {
        Self { method: "POST", ..Self::get(path) }
    }

    pub(crate) fn delete(path: &'a str) -> Self {
        Self { method: "DELETE", ..Self::get(path) }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Sends to this endpoint instead of [`ENDPOINT`].
    pub(crate) fn to(mut self, endpoint: &'a str) -> Self {
        self.endpoint = endpoint;
        self
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

// === impl Answer ===

impl Answer {
    fn read(response: Response) -> Result<Self> {
        let status = response.status();
        if status < 400 {
            return Ok(Self { status, message: String::new(), response });
        }
        // Reading consumes the response; an error response has nothing but the message.
        let (request, mut body) = (response.request().to_owned(), response);
        let mut text = Vec::new();
        while let Some(piece) = body.read()? {
            text.extend_from_slice(&piece);
            if text.len() > MESSAGE_LIMIT {
                return Err(Error::http(
                    status,
                    format!("{request}: {status} with a message of more than 64 KiB"),
                ));
            }
        }
        let message = match serde_json::from_slice::<ErrorBody>(&text) {
            Ok(refusal) => refusal.message,
            // A proxy in front of the engine answers with text or HTML.
            Err(_) => String::from_utf8_lossy(&text).into_owned(),
        };
        let message: Vec<&str> = message.split_whitespace().collect();
        Ok(Self { status, message: message.join(" "), response: body })
    }

    /// 2xx, or 304 if the container was in the requested state already.
    pub(crate) fn is_done(&self) -> bool {
        self.status < 300 || self.status == 304
    }

    /// Podman's message, with status 500, for a container in the wrong state for the request:
    /// another client changed it after it was inspected, or is changing it.
    pub(crate) fn is_state_conflict(&self) -> bool {
        self.message.ends_with("container state improper")
    }

    /// The container of the request is being removed or is gone.
    pub(crate) fn is_container_removed(&self) -> bool {
        let contains = |words| self.message.contains(words);
        match self.status {
            404 => self.message.starts_with("No such container"),
            409 | 500 => contains("marked for removal") || contains("removal of container"),
            _ => false,
        }
    }

    /// The engine's error response as a failure of the attempted action.
    pub(crate) fn to_error(&self, attempted: &str) -> Error {
        let (status, request) = (self.status, self.response.request());
        let reason = if self.message.is_empty() { "no reason given" } else { &self.message };
        let message = format!("{attempted}: {status} from {request}: {reason}");
        match status {
            401 | 403 => Error::http(
                status,
                format!("{message}; allow this request where the endpoint's access is decided"),
            ),
            _ if self.is_state_conflict() => Error::conflict(message),
            _ => Error::http(status, message),
        }
    }
}
