//! Rejections: responses of the router's own, to requests that are not forwarded.

use std::time::Duration;

use bytes::Bytes;
use drowse_core::{Phase, Snapshot, Workload, WorkloadName};
use http::{
    HeaderValue, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, VARY,
        WWW_AUTHENTICATE, X_FRAME_OPTIONS,
    },
};
use serde::Serialize;

use super::{
    headers::Refused,
    negotiation::{MediaType, Negotiated},
};
use crate::{
    format::{approximate, seconds},
    page::{Notice, Theme},
    progress::{PageState, QueuePosition, cause, stage},
    via::ForwardingLoop,
};

/// The content security policy of responses that are no pages: nothing may be loaded.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request is not forwarded.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The client gets an error, rendered as it can use it.
    Problem(Box<ProblemDetails>),
    /// The client gets this response: a waiting page, a response in the workload's place, or one
    /// of an authentication service.
    Response(Box<Response<Bytes>>),
    /// The client has disconnected.
    ClientGone,
}

/// An error for a client: problem details (RFC 9457) for programs, the content of a page for
/// people.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProblemDetails {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    /// The stable name of this error.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// The stable name of the cause of a failed wake.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<WorkloadName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(flatten)]
    wake: Option<WakeProgress>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// The value of `Allow`.
    #[serde(skip)]
    allow: Option<HeaderValue>,
    /// The value of `WWW-Authenticate`.
    #[serde(skip)]
    challenge: Option<HeaderValue>,
}

/// The progress of a wake.
#[derive(Clone, Debug, Serialize)]
struct WakeProgress {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueuePosition>,
    /// Seconds since the wake began.
    elapsed: f64,
    /// Seconds that the wake usually takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<f64>,
}

// === impl Rejection ===

impl Rejection {
    /// The response for the client. None if it has disconnected.
    pub(crate) fn render(self, negotiated: Negotiated, theme: &Theme) -> Option<Response<Bytes>> {
        match self {
            Self::Problem(problem) => Some(problem.render(negotiated, theme)),
            Self::Response(response) => Some(*response),
            Self::ClientGone => None,
        }
    }
}

impl From<ProblemDetails> for Rejection {
    fn from(problem: ProblemDetails) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        ProblemDetails::new(refused.status, refused.reason).into()
    }
}

// === impl ProblemDetails ===

impl From<ForwardingLoop> for ProblemDetails {
    fn from(found: ForwardingLoop) -> Self {
        Self::new(StatusCode::LOOP_DETECTED, found.detail).code("loop")
    }
}

impl ProblemDetails {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            code: None,
            cause: None,
            workload: None,
            phase: None,
            wake: None,
            retry_after: None,
            allow: None,
            challenge: None,
        }
    }

    /// 405: only these methods, separated by commas, are allowed (RFC 9110 §15.5.6).
    pub(crate) fn only(methods: &'static str, detail: &str) -> Self {
        let allow = Some(HeaderValue::from_static(methods));
        Self { allow, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// Sets `WWW-Authenticate` (RFC 9110 §15.5.2).
    pub(crate) fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.challenge = Some(challenge);
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Adds the workload's current state, with the progress of its wake.
    pub(crate) fn during(self, workload: &Workload) -> Self {
        self.at(workload.name(), &workload.snapshot())
    }

    fn at(mut self, workload: &WorkloadName, snapshot: &Snapshot) -> Self {
        self.wake = (snapshot.phase == Phase::Waking).then(|| WakeProgress {
            stage: snapshot.stage.as_ref().map(stage),
            queue: QueuePosition::of(snapshot),
            elapsed: seconds(snapshot.since.elapsed()),
            expected: snapshot.expected.map(seconds),
        });
        self.cause = snapshot.failure.as_deref().map(cause);
        self.of(workload, snapshot.phase)
    }

    /// Adds the workload and its phase.
    pub(crate) fn of(mut self, workload: &WorkloadName, phase: Phase) -> Self {
        self.workload = Some(workload.clone());
        self.phase = Some(phase);
        self
    }

    /// Sets `Retry-After`, rounded up to whole seconds, at least one.
    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.retry_after = Some(seconds.max(1));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn render(&self, negotiated: Negotiated, theme: &Theme) -> Response<Bytes> {
        let mut response = match negotiated.media_type {
            MediaType::Json => {
                let body = serde_json::to_vec(self).unwrap_or_default();
                let mut response = no_store(PROBLEM, body.into());
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
                response
            }
            MediaType::Html => {
                html(theme.render_notice(&self.notice(negotiated.repeatable)), theme)
            }
        };
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Some(methods) = &self.allow {
            response.headers_mut().insert(ALLOW, methods.clone());
        }
        if let Some(challenge) = &self.challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
        }
        response
    }

    fn notice(&self, repeatable: bool) -> Notice<'_> {
        let failed = matches!(self.status.as_u16(), 500 | 502 | 504 | 508)
            || self.code == Some("wake-failed");
        let next = match self.retry_after.filter(|_| repeatable) {
            Some(seconds) => format!("It can be tried again in {}.", approximate(seconds as f64)),
            None => String::new(),
        };
        Notice {
            state: if failed { PageState::Failed } else { PageState::Notice },
            title: heading(self.status).unwrap_or(self.title),
            message: &self.detail,
            error: format!("{} {}", self.status.as_u16(), self.title),
            workload: self.workload.as_ref().map_or("", WorkloadName::as_str),
            phase: self.phase,
            retry: repeatable && (failed || self.retry_after.is_some() || self.challenge.is_some()),
            next,
        }
    }
}

/// A heading for people, in place of the status' reason phrase.
fn heading(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        401 => "This needs a password",
        403 => "This is not allowed",
        404 => "There is nothing here",
        429 => "Too many requests for now",
        502 => "The app does not answer",
        503 => "The app is not available",
        504 => "The app takes too long",
        508 => "This address leads back to itself",
        _ => return None,
    })
}

/// The waiting page of a workload that is not ready. `retry_after` in seconds.
pub(crate) fn waiting_page(page: Bytes, theme: &Theme, retry_after: u64) -> Response<Bytes> {
    let mut response = html(page, theme);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, retry_after.into());
    response
}

/// A page of the router. Other sites may not frame it.
fn html(page: Bytes, theme: &Theme) -> Response<Bytes> {
    let mut response = no_store(HTML, page);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, theme.content_security_policy().clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// A response of the router that no cache may store.
pub(crate) fn no_store(content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, sec-fetch-mode, sec-fetch-dest"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests;
