//! The engine's API: its version, its refusals, and the requests that several parts need.

use std::time::Duration;

use drowse_provider_sdk::{Endpoint, Error, Response, Result, encode, memo};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{Inspect, Refusal};

/// The endpoint's name in the grant.
pub(crate) const ENDPOINT: &str = "engine";

/// The same engine's name in the grant to run commands inside containers. It is one of its own so
/// that nobody grants that by the way.
pub(crate) const EXEC_ENDPOINT: &str = "exec";

/// The same engine's name in the grant to make containers anew, and in the one to remove them.
pub(crate) const RECREATE_ENDPOINT: &str = "recreate";
pub(crate) const REMOVE_ENDPOINT: &str = "remove";

/// The same engine's name in the grant to pull images with credentials.
pub(crate) const REGISTRY_ENDPOINT: &str = "registry";

/// The newest API version that this provider was made for.
const OWN_VERSION: (u32, u32) = (1, 47);

/// The version since which `stop` takes a signal.
const STOP_SIGNAL_VERSION: (u32, u32) = (1, 42);

/// The version since which `create` takes several networks.
const NETWORKS_VERSION: (u32, u32) = (1, 44);

/// Where the negotiated version is kept.
const VERSION_KEY: &str = "api-version";

/// More than any message an engine sends with a refusal.
const MESSAGE_LIMIT: usize = 64 << 10;

/// The engine behind the granted endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engine {}

/// What was agreed on with an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    number: (u32, u32),
    /// Podman serves the same API and ignores what it has not built.
    podman: bool,
}

/// A request to the engine, less the version.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    endpoint: &'a str,
    method: &'static str,
    path: &'a str,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    timeout: Option<Duration>,
}

/// What the engine answered. The message of a refusal has been read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    message: String,
    pub(crate) response: Response,
}

// === impl Engine ===

impl Engine {
    /// The version to speak, found out once and kept.
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
            return Err(answer.refusal("ask the engine for its version"));
        }
        let number = number.ok_or_else(|| {
            Error::unavailable(
                "ask the engine for its version: /_ping answers without Api-Version; is this the \
                 socket of Docker or Podman?",
            )
        })?;
        let version = Version { number: number.min(OWN_VERSION), podman };
        memo::set(VERSION_KEY, version.to_text());
        Ok(version)
    }

    /// Sends it in the agreed version. An engine that was replaced by an older or newer one is
    /// asked again.
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

    /// The container that the engine finds by a name, an id or the beginning of an id.
    pub(crate) fn inspect(&self, reference: &str) -> Result<Option<Inspect>> {
        self.inspect_as(reference)
    }

    fn inspect_as<T: DeserializeOwned>(&self, reference: &str) -> Result<Option<T>> {
        let path = format!("/containers/{}/json", encode(reference));
        let answer = self.send(&Call::get(&path))?;
        match answer.status {
            200 => Ok(Some(answer.response.json()?)),
            404 => Ok(None),
            _ => Err(answer.refusal(&format!("inspect container {reference:?}"))),
        }
    }

    /// The container of exactly this name or whole id. The engine itself would also take the
    /// beginning of any id: `db` may be such a beginning.
    pub(crate) fn inspect_exactly(&self, handle: &str) -> Result<Option<Inspect>> {
        let found = self.inspect(handle)?;
        Ok(found.filter(|it| it.name.strip_prefix('/') == Some(handle) || it.id == handle))
    }

    /// All that the engine says of the container of exactly this name.
    pub(crate) fn whole(&self, name: &str) -> Result<Option<Value>> {
        let found: Option<Value> = self.inspect_as(name)?;
        let named =
            |it: &Value| it["Name"].as_str().map(|it| it.strip_prefix('/')) == Some(Some(name));
        Ok(found.filter(named))
    }
}

// === impl Version ===

impl Version {
    /// Whether `stop` heeds its parameter `signal`; elsewhere it is ignored in silence.
    pub(crate) fn stop_takes_signal(self) -> bool {
        self.number >= STOP_SIGNAL_VERSION && !self.podman
    }

    /// Whether `create` takes all networks of a container; elsewhere it takes one.
    pub(crate) fn joins_networks_at_once(self) -> bool {
        self.number >= NETWORKS_VERSION && !self.podman
    }

    /// Podman does not ask registries for digests.
    pub(crate) fn asks_registries(self) -> bool {
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

    /// To this endpoint instead of [`ENDPOINT`].
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
        // Reading consumes the response, and a refusal has nothing else to read.
        let (request, mut body) = (response.request().to_owned(), response);
        let mut text = Vec::new();
        while let Some(piece) = body.read()? {
            text.extend_from_slice(&piece);
            if text.len() > MESSAGE_LIMIT {
                return Err(Error::http(
                    status,
                    format!("{request}: {status} with a huge message"),
                ));
            }
        }
        let message = match serde_json::from_slice::<Refusal>(&text) {
            Ok(refusal) => refusal.message,
            // A proxy in front of the engine answers in text or HTML.
            Err(_) => String::from_utf8_lossy(&text).into_owned(),
        };
        let message: Vec<&str> = message.split_whitespace().collect();
        Ok(Self { status, message: message.join(" "), response: body })
    }

    /// 2xx, or 304: it was so already.
    pub(crate) fn is_done(&self) -> bool {
        self.status < 300 || self.status == 304
    }

    /// Podman's words, under the status 500, when the container is not in a state for this: somebody
    /// else has changed it since it was looked at, or is about to.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.message.ends_with("container state improper")
    }

    /// The container that the request was for is removed, or is gone already.
    pub(crate) fn is_of_removed(&self) -> bool {
        let says = |words| self.message.contains(words);
        match self.status {
            404 => self.message.starts_with("No such container"),
            409 | 500 => says("marked for removal") || says("removal of container"),
            _ => false,
        }
    }

    /// The engine's refusal as a failure of what was attempted.
    pub(crate) fn refusal(&self, attempted: &str) -> Error {
        let (status, request) = (self.status, self.response.request());
        let said = if self.message.is_empty() { "no reason given" } else { &self.message };
        let message = format!("{attempted}: {status} from {request}: {said}");
        match status {
            401 | 403 => Error::http(
                status,
                format!("{message}; allow this request where the endpoint's access is decided"),
            ),
            _ if self.is_overtaken() => Error::conflict(message),
            _ => Error::http(status, message),
        }
    }
}
