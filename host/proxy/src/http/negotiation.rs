//! Content negotiation: the form of response that a request's client can use.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{ACCEPT, UPGRADE},
    request,
};

use super::headers::tokens;

/// The media type of the router's own responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// A page, for people.
    Html,
    /// For programs.
    Json,
}

/// The form of an error response that a request's client can use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiated {
    pub(crate) media_type: MediaType,
    /// The request can be repeated by a link.
    pub(crate) repeatable: bool,
}

// === impl Negotiated ===

impl Negotiated {
    pub(crate) fn new(head: &request::Parts) -> Self {
        Self {
            media_type: accepted(head.headers.get(ACCEPT)),
            repeatable: is_repeatable(&head.method, &head.headers),
        }
    }
}

/// The request only reads, so it can be made again.
fn is_repeatable(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(UPGRADE)
}

/// The request can be answered with a page: it is repeatable and not for a frame, as no page of
/// the router may be framed.
pub(crate) fn can_show_page(method: &Method, headers: &HeaderMap) -> bool {
    const FRAMES: [&str; 5] = ["iframe", "frame", "embed", "object", "fencedframe"];
    let framed = headers
        .get("sec-fetch-dest")
        .is_some_and(|destination| FRAMES.iter().any(|frame| destination == frame));
    is_repeatable(method, headers) && !framed
}

/// The request comes from a browser that shows the response to a person as a page of its own.
pub(crate) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if !can_show_page(method, headers) {
        return false;
    }
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => accepted(headers.get(ACCEPT)) == MediaType::Html,
    }
}

/// The browser declares that a person navigates to this address. Browsers without
/// `Sec-Fetch-Mode` are not recognised: they request icons on their own like the others.
pub(crate) fn is_declared_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}

/// The media type for a client with this `Accept` header.
fn accepted(accept: Option<&HeaderValue>) -> MediaType {
    let html = accept.into_iter().flat_map(tokens).any(|range| {
        let mut parts = range.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let media_type = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| matches!(parameter, b"q=0" | b"q=0.0" | b"Q=0"));
        let html = media_type.eq_ignore_ascii_case(b"text/html")
            || media_type.eq_ignore_ascii_case(b"application/xhtml+xml");
        html && !refused
    });
    if html { MediaType::Html } else { MediaType::Json }
}

#[cfg(test)]
mod tests;
