//! Requests to the API, and what its refusals mean.

use drowse_provider_sdk::{Endpoint, Error, ErrorCode, Response, encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The endpoint's name in the grant.
pub(crate) const ENDPOINT: &str = "api";

/// More than any refusal is long.
const REFUSAL_LIMIT: usize = 64 << 10;

/// Why the API did not do something.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// Nothing came back.
    Unheard(Error),
    /// It answered with an error, or a task ended with one.
    Said {
        /// None of a task.
        status: Option<u16>,
        /// `POST /api2/json/…`, or the kind of the task.
        of: String,
        /// In the API's words.
        text: String,
        /// Parameters that it refused, each with the reason.
        errors: Map<String, Value>,
    },
}

/// Success, and errors of newer versions.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Map<String, Value>,
}

/// `GET`; the path begins after `/api2/json`.
pub(crate) fn get<T: DeserializeOwned>(path: &str, query: &[(&str, &str)]) -> Result<T, Refusal> {
    let mut request = Endpoint::new(ENDPOINT).get(&format!("/api2/json{path}"));
    for (name, value) in query {
        request = request.query(name, value);
    }
    read(request.send().map_err(Refusal::Unheard)?)
}

/// `POST` with a form.
pub(crate) fn post<T: DeserializeOwned>(path: &str, form: &[(&str, &str)]) -> Result<T, Refusal> {
    let mut request = Endpoint::new(ENDPOINT).post(&format!("/api2/json{path}"));
    if !form.is_empty() {
        let pairs: Vec<_> = form
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(pairs.join("&"));
    }
    read(request.send().map_err(Refusal::Unheard)?)
}

fn read<T: DeserializeOwned>(response: Response) -> Result<T, Refusal> {
    if !response.is_success() {
        return Err(refused(response));
    }
    let what = response.request().to_owned();
    let body: Body = response.json().map_err(Refusal::Unheard)?;
    serde_json::from_value(body.data).map_err(|error| {
        Refusal::Unheard(Error::internal(format!("{what}: unexpected answer: {error}")))
    })
}

/// Newer versions say in JSON what went wrong, older ones in the status line alone.
fn refused(response: Response) -> Refusal {
    let (status, of) = (response.status(), response.request().to_owned());
    let words = response.reason();
    let body = response.bytes(REFUSAL_LIMIT).unwrap_or_default();
    let body = serde_json::from_slice::<Body>(&body).ok();
    let (message, errors) = body.map(|body| (body.message, body.errors)).unwrap_or_default();
    let text = match (message.trim(), words) {
        ("", words) => words.unwrap_or_default().trim().to_owned(),
        (message, _) => message.to_owned(),
    };
    Refusal::Said { status: Some(status), of, text, errors }
}

// === impl Refusal ===

impl Refusal {
    /// The end of a task that went wrong.
    pub(crate) fn of_task(kind: &str, text: &str) -> Self {
        let (of, text) = (format!("task {kind}"), text.trim().to_owned());
        Self::Said { status: None, of, text, errors: Map::new() }
    }

    /// The API's own words; empty if there are none.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Unheard(error) => error.message(),
            Self::Said { text, .. } => text,
        }
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Unheard(_) => None,
            Self::Said { status, .. } => *status,
        }
    }

    /// The guest is not, or not any more, where it was looked for; or the node is gone and the
    /// guest may have been moved away from it.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let gone = || {
            let text = self.text();
            text.contains("Configuration file") && text.contains("does not exist")
        };
        match self.status() {
            Some(500) => gone(),
            Some(status) => is_unreachable_node(status),
            None => gone(),
        }
    }

    /// There is no such guest of this kind.
    pub(crate) fn is_missing(&self) -> bool {
        let node = self.status().is_some_and(is_unreachable_node);
        matches!(self, Self::Said { .. }) && !node && self.is_elsewhere()
    }

    /// The server does not know this parameter: nothing was done.
    pub(crate) fn refuses_parameter(&self, name: &str) -> bool {
        match self {
            Self::Said { status: Some(400), errors, .. } => errors.contains_key(name),
            _ => false,
        }
    }

    /// The same may work in a moment: a connection or a node is away.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Unheard(error) => matches!(
                error.code(),
                ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal
            ),
            Self::Said { status, .. } => {
                status.is_some_and(|status| is_unreachable_node(status) || status == 503)
            }
        }
    }

    /// The failure of what was attempted.
    pub(crate) fn into_error(self, attempt: &str) -> Error {
        let (status, of, text, errors) = match self {
            Self::Unheard(error) => return error.context(attempt),
            Self::Said { status, of, text, errors } => (status, of, text, errors),
        };
        let said = match text.as_str() {
            "" => "no reason given",
            text => text,
        };
        let errors: Vec<_> = errors.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let told = match status {
            Some(status) => format!("{attempt}: {status} from {of}: {said}"),
            None => format!("{attempt}: {of} failed: {said}"),
        };
        let error = if let Some(lock) = lock(&text) {
            let tool = if text.contains("CT is locked") { "pct" } else { "qm" };
            Error::conflict(format!(
                "{told}; it is left alone until that is over; a lock that was left behind is taken \
                 away by `{tool} unlock`"
            ))
            .with_attribute("lock", lock)
        } else if text.contains("can't lock file") {
            Error::conflict(format!("{told}; another task works on it"))
        } else if text.contains("no quorum") {
            Error::unavailable(format!("{told}; its cluster has lost too many nodes"))
        } else if text.contains("if it's a template") {
            Error::invalid_request(told)
        } else {
            match status {
                Some(401) => Error::denied(format!(
                    "{told}; the endpoint's headers need Authorization with \
                     PVEAPIToken=USER@REALM!TOKENID=SECRET of a token that exists and has not \
                     expired"
                )),
                Some(403) => Error::denied(format!(
                    "{told}; the token, and the user it belongs to, need that privilege on that \
                     path"
                )),
                Some(400) => Error::invalid_request(match errors.as_slice() {
                    [] => told,
                    errors => format!("{told} {}", errors.join("; ")),
                }),
                Some(501) => Error::unsupported(told),
                Some(status) if is_unreachable_node(status) => Error::unavailable(format!(
                    "{told}; the node that was asked cannot reach the guest's node"
                )),
                Some(503) => Error::unavailable(told),
                _ if text.contains("does not exist") => Error::not_found(told),
                _ => Error::internal(told),
            }
        };
        match status {
            Some(status) => error.with_attribute("http-status", status.to_string()),
            None => error.with_attribute("native-code", said),
        }
    }
}

/// Codes of Proxmox VE's own: the node that was asked could not ask another one.
fn is_unreachable_node(status: u16) -> bool {
    (595..=599).contains(&status)
}

/// The lock's name in `CT is locked (backup)`.
pub(crate) fn lock(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(" is locked (")?;
    rest.split_once(')').map(|(name, _)| name)
}
