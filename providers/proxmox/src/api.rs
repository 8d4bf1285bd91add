//! Requests to the API, and the meaning of its errors.

use drowse_provider_sdk::{Endpoint, Error, ErrorCode, Response, encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Endpoint name in the grant.
pub(crate) const ENDPOINT: &str = "api";

/// Maximum size of an error response, in bytes.
const MAX_ERROR_BODY: usize = 64 << 10;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) enum ApiError {
    /// No response.
    NoResponse(Error),
    /// An error response, or a failed task.
    Response {
        /// HTTP status; None for a task.
        status: Option<u16>,
        /// `POST /api2/json/…`, or the type of the task.
        of: String,
        /// Message of the API.
        text: String,
        /// Refused parameters with the reasons.
        errors: Map<String, Value>,
    },
}

/// Success, or an error of newer versions.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Map<String, Value>,
}

/// Sends `GET`; the path begins after `/api2/json`.
pub(crate) fn get<T: DeserializeOwned>(path: &str, query: &[(&str, &str)]) -> Result<T, ApiError> {
    let mut request = Endpoint::new(ENDPOINT).get(&format!("/api2/json{path}"));
    for (name, value) in query {
        request = request.query(name, value);
    }
    read(request.send().map_err(ApiError::NoResponse)?)
}

/// Sends `POST` with a form.
pub(crate) fn post<T: DeserializeOwned>(path: &str, form: &[(&str, &str)]) -> Result<T, ApiError> {
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
    read(request.send().map_err(ApiError::NoResponse)?)
}

fn read<T: DeserializeOwned>(response: Response) -> Result<T, ApiError> {
    if !response.is_success() {
        return Err(parse_error(response));
    }
    let what = response.request().to_owned();
    let body: Body = response.json().map_err(ApiError::NoResponse)?;
    serde_json::from_value(body.data).map_err(|error| {
        ApiError::NoResponse(Error::internal(format!("{what}: unexpected response: {error}")))
    })
}

/// Newer versions report the error in JSON, older ones only in the status line.
fn parse_error(response: Response) -> ApiError {
    let (status, of) = (response.status(), response.request().to_owned());
    let status_text = response.reason();
    let body = response.bytes(MAX_ERROR_BODY).unwrap_or_default();
    let body = serde_json::from_slice::<Body>(&body).ok();
    let (message, errors) = body.map(|body| (body.message, body.errors)).unwrap_or_default();
    let text = match (message.trim(), status_text) {
        ("", status_text) => status_text.unwrap_or_default().trim().to_owned(),
        (message, _) => message.to_owned(),
    };
    ApiError::Response { status: Some(status), of, text, errors }
}

// === impl ApiError ===

impl ApiError {
    /// A failed task.
    pub(crate) fn of_task(kind: &str, text: &str) -> Self {
        let (of, text) = (format!("task {kind}"), text.trim().to_owned());
        Self::Response { status: None, of, text, errors: Map::new() }
    }

    /// The API's message; empty if there is none.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::NoResponse(error) => error.message(),
            Self::Response { text, .. } => text,
        }
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::NoResponse(_) => None,
            Self::Response { status, .. } => *status,
        }
    }

    /// The guest is no longer on this node; or the node is unreachable and the guest may have been
    /// migrated.
    pub(crate) fn is_moved(&self) -> bool {
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

    /// No guest of this kind exists.
    pub(crate) fn is_missing(&self) -> bool {
        let node = self.status().is_some_and(is_unreachable_node);
        matches!(self, Self::Response { .. }) && !node && self.is_moved()
    }

    /// The server does not know this parameter; nothing was done.
    pub(crate) fn refuses_parameter(&self, name: &str) -> bool {
        match self {
            Self::Response { status: Some(400), errors, .. } => errors.contains_key(name),
            _ => false,
        }
    }

    /// A retry may succeed: a connection or a node is down.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::NoResponse(error) => matches!(
                error.code(),
                ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal
            ),
            Self::Response { status, .. } => {
                status.is_some_and(|status| is_unreachable_node(status) || status == 503)
            }
        }
    }

    /// Converts to the error of the attempted action.
    pub(crate) fn into_error(self, attempt: &str) -> Error {
        let (status, of, text, errors) = match self {
            Self::NoResponse(error) => return error.context(attempt),
            Self::Response { status, of, text, errors } => (status, of, text, errors),
        };
        let reason = match text.as_str() {
            "" => "no reason given",
            text => text,
        };
        let errors: Vec<_> = errors.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let message = match status {
            Some(status) => format!("{attempt}: {status} from {of}: {reason}"),
            None => format!("{attempt}: {of} failed: {reason}"),
        };
        let error = if let Some(lock) = lock(&text) {
            let tool = if text.contains("CT is locked") { "pct" } else { "qm" };
            Error::conflict(format!(
                "{message}; retry when that task is done; `{tool} unlock` removes a stale lock"
            ))
            .with_attribute("lock", lock)
        } else if text.contains("can't lock file") {
            Error::conflict(format!("{message}; another task is running"))
        } else if text.contains("no quorum") {
            Error::unavailable(format!("{message}; its cluster has too few nodes online"))
        } else if text.contains("if it's a template") {
            Error::invalid_request(message)
        } else {
            match status {
                Some(401) => Error::denied(format!(
                    "{message}; the endpoint's headers need Authorization with \
                     PVEAPIToken=USER@REALM!TOKENID=SECRET of a token that exists and has not \
                     expired"
                )),
                Some(403) => Error::denied(format!(
                    "{message}; the token and its user need that privilege on that path"
                )),
                Some(400) => Error::invalid_request(match errors.as_slice() {
                    [] => message,
                    errors => format!("{message} {}", errors.join("; ")),
                }),
                Some(501) => Error::unsupported(message),
                Some(status) if is_unreachable_node(status) => Error::unavailable(format!(
                    "{message}; the contacted node cannot reach the guest's node"
                )),
                Some(503) => Error::unavailable(message),
                _ if text.contains("does not exist") => Error::not_found(message),
                _ => Error::internal(message),
            }
        };
        match status {
            Some(status) => error.with_attribute("http-status", status.to_string()),
            None => error.with_attribute("native-code", reason),
        }
    }
}

/// Status codes of Proxmox VE: the contacted node could not reach another one.
fn is_unreachable_node(status: u16) -> bool {
    (595..=599).contains(&status)
}

/// Name of the lock in `CT is locked (backup)`.
pub(crate) fn lock(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(" is locked (")?;
    rest.split_once(')').map(|(name, _)| name)
}
