//! What we say ourselves, when no upstream does.

use std::time::Duration;

use bytes::Bytes;
use drowse_core::{Phase, Snapshot, Workload, WorkloadName};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, UPGRADE,
        VARY, WWW_AUTHENTICATE, X_FRAME_OPTIONS,
    },
};
use serde::Serialize;

use crate::{
    headers::tokens,
    page::{Notice, Theme},
    progress::{PageState, QueuePosition, cause, stage},
    words::{seconds, spoken},
};

/// What is no page loads nothing.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error in the client's language: `application/problem+json` (RFC 9457), or a short page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    /// For programs: which of ours it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// For programs: why the wake failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<WorkloadName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(flatten)]
    wake: Option<Wake>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// The methods that are allowed where the client's was not.
    #[serde(skip)]
    allow: Option<HeaderValue>,
    /// How the client has to authenticate.
    #[serde(skip)]
    challenge: Option<HeaderValue>,
}

/// How far a wake has come.
#[derive(Clone, Debug, Serialize)]
struct Wake {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueuePosition>,
    /// Seconds since it began.
    elapsed: f64,
    /// Seconds that it usually takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<f64>,
}

/// How a [`Problem`] is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format<'a> {
    Json,
    /// A page of this theme. `repeatable`: the request can be made again by a link.
    Html {
        theme: &'a Theme,
        repeatable: bool,
    },
}

/// What kind of answer a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Html,
    Json,
}

// === impl Problem ===

impl Problem {
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

    /// The method is not among these, separated by commas (RFC 9110 §15.5.6).
    pub(crate) fn only(methods: &'static str, detail: &str) -> Self {
        let allow = Some(HeaderValue::from_static(methods));
        Self { allow, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// How the client has to authenticate (RFC 9110 §15.5.2).
    pub(crate) fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.challenge = Some(challenge);
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// What the workload does now.
    pub(crate) fn during(self, workload: &Workload) -> Self {
        self.at(workload.name(), &workload.snapshot())
    }

    fn at(mut self, workload: &WorkloadName, snapshot: &Snapshot) -> Self {
        self.wake = (snapshot.phase == Phase::Waking).then(|| Wake {
            stage: snapshot.stage.as_ref().map(stage),
            queue: QueuePosition::of(snapshot),
            elapsed: seconds(snapshot.since.elapsed()),
            expected: snapshot.expected.map(seconds),
        });
        self.cause = snapshot.failure.as_deref().map(cause);
        self.of(workload, snapshot.phase)
    }

    pub(crate) fn of(mut self, workload: &WorkloadName, phase: Phase) -> Self {
        self.workload = Some(workload.clone());
        self.phase = Some(phase);
        self
    }

    /// When it is worth trying again; rounded up to whole seconds, at least one.
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

    pub(crate) fn response(&self, format: Format<'_>) -> Response<Bytes> {
        let mut response = match format {
            Format::Json => {
                let body = serde_json::to_vec(self).unwrap_or_default();
                let mut response = no_store(PROBLEM, body.into());
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
                response
            }
            Format::Html { theme, repeatable } => {
                html(theme.render_notice(&self.notice(repeatable)), theme)
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
            Some(seconds) => format!("It can be tried again in {}.", spoken(seconds as f64)),
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

/// What a person reads instead of the status' own words.
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

/// The page of a workload that is not ready.
pub(crate) fn waiting_page(page: Bytes, theme: &Theme, reload: u64) -> Response<Bytes> {
    let mut response = html(page, theme);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, reload.into());
    response
}

/// A page of ours. No other site may show it in a frame.
fn html(page: Bytes, theme: &Theme) -> Response<Bytes> {
    let mut response = no_store(HTML, page);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, theme.content_security_policy().clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// An answer of ours that nobody keeps.
pub(crate) fn no_store(kind: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, sec-fetch-mode, sec-fetch-dest"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// A request whose whole meaning is to look: it can be made again.
pub(crate) fn is_repeatable(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(UPGRADE)
}

/// A request that can be answered with a page: it can be made again, and is not for a frame, in
/// which no page of ours is shown.
pub(crate) fn can_be_shown(method: &Method, headers: &HeaderMap) -> bool {
    const FRAMES: [&str; 5] = ["iframe", "frame", "embed", "object", "fencedframe"];
    let framed = headers
        .get("sec-fetch-dest")
        .is_some_and(|destination| FRAMES.iter().any(|frame| destination == frame));
    is_repeatable(method, headers) && !framed
}

/// A browser that shows the answer to a person as a page of its own.
pub(crate) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if !can_be_shown(method, headers) {
        return false;
    }
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => reads(headers.get(ACCEPT)) == Reads::Html,
    }
}

/// What kind of answer a client with this `Accept` header reads.
pub(crate) fn reads(accept: Option<&HeaderValue>) -> Reads {
    let html = accept.into_iter().flat_map(tokens).any(|range| {
        let mut parts = range.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| matches!(parameter, b"q=0" | b"q=0.0" | b"Q=0"));
        let html = kind.eq_ignore_ascii_case(b"text/html")
            || kind.eq_ignore_ascii_case(b"application/xhtml+xml");
        html && !refused
    });
    if html { Reads::Html } else { Reads::Json }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests;
