//! What we say ourselves, when no upstream does.

use std::time::Duration;

use bytes::Bytes;
use drowse_core::{Phase, Snapshot, WorkloadName};
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use crate::{
    headers::tokens,
    page::{Page, waiting},
};

/// The page has a style of its own and nothing else.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// An error in the client's language: `application/problem+json` (RFC 9457), or a short page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<WorkloadName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip)]
    retry_after: Option<u64>,
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
            workload: None,
            phase: None,
            retry_after: None,
        }
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

    pub(crate) fn response(&self, reads: Reads) -> Response<Bytes> {
        let (kind, body) = match reads {
            Reads::Json => {
                let body = serde_json::to_vec(self).unwrap_or_default();
                ("application/problem+json", Bytes::from(body))
            }
            Reads::Html => {
                let paragraphs = [self.detail.clone()];
                let page = Page { title: self.title, paragraphs: &paragraphs, reload: None };
                ("text/html; charset=utf-8", Bytes::from(page.to_string()))
            }
        };
        response(self.status, kind, body, self.retry_after)
    }
}

/// The page of a workload that is not ready.
pub(crate) fn waiting_page(workload: &WorkloadName, snapshot: &Snapshot) -> Response<Bytes> {
    let (page, reload) = waiting(workload.as_str(), snapshot);
    let status = StatusCode::SERVICE_UNAVAILABLE;
    response(status, "text/html; charset=utf-8", page.into(), Some(reload))
}

/// A browser that shows the answer to a person as a page of its own.
pub(crate) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) {
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

fn response(
    status: StatusCode,
    kind: &'static str,
    body: Bytes,
    retry_after: Option<u64>,
) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests;
