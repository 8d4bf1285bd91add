//! Rewriting message heads: removes hop-by-hop headers, and adds the client's address and the
//! router for the next hop. RFC 9110 §7.6.1 and §7.6.3, RFC 9112 §3.2 and §6.1.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
    },
    request, response,
    uri::Authority,
};
use http_body::Body;

use crate::via::{self, Pseudonym};

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request with an invalid head, and the response for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
}

/// A response that must not reach a client, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The origin of a request, for the upstream.
pub(crate) struct Origin<'a> {
    /// The client's address.
    pub(crate) forwarded_for: &'a HeaderValue,
    /// The client is a trusted proxy: its `X-Forwarded-*` headers are kept.
    pub(crate) trusted: bool,
    /// The host that the client asked for.
    pub(crate) host: &'a HeaderValue,
    /// The router's own name for `Via`.
    pub(crate) via: &'a Pseudonym,
}

/// The header names of interest in a head, found in one pass.
#[derive(Default)]
struct Found {
    connection: bool,
    te: bool,
    upgrade: bool,
    expect: bool,
    transfer_encoding: bool,
    content_length: bool,
    /// Further names to remove.
    removed: Vec<HeaderName>,
}

/// The options of the `Connection` header.
#[derive(Default)]
struct ConnectionOptions {
    upgrade: bool,
    /// Headers for this hop only.
    named: Vec<HeaderName>,
}

/// The host that a request asks for: the target's authority, or else the `Host` header. Empty for
/// an HTTP/1.0 request without either.
pub(crate) fn host(head: &request::Parts) -> Result<HeaderValue, Refused> {
    let bad = |reason| Refused { status: StatusCode::BAD_REQUEST, reason };
    if head.method == Method::CONNECT {
        let reason = "this server does not open tunnels";
        return Err(Refused { status: StatusCode::NOT_IMPLEMENTED, reason });
    }
    if head.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(bad("the request has more than one Host header"));
    }
    if let Some(authority) = head.uri.authority() {
        return from_authority(authority)
            .ok_or_else(|| bad("the request's target is not a valid host"));
    }
    match head.headers.get(HOST) {
        Some(host) if host.as_bytes().iter().all(|&b| is_host_byte(b)) => Ok(host.clone()),
        Some(_) => Err(bad("the Host header is not a valid host")),
        None if head.version == Version::HTTP_11 => Err(bad("the request has no Host header")),
        None => Ok(HeaderValue::from_static("")),
    }
}

/// Refuses framing that servers interpret differently. hyper has checked that `chunked` comes last
/// and that no `Content-Length` contradicts it.
pub(crate) fn check_framing(head: &request::Parts) -> Result<(), Refused> {
    if head.headers.contains_key(TRANSFER_ENCODING) && !only_chunked(&head.headers) {
        let reason = "the only transfer coding understood here is chunked";
        return Err(Refused { status: StatusCode::NOT_IMPLEMENTED, reason });
    }
    Ok(())
}

/// Rewrites a client's request head for the upstream. Returns the protocols that the client offers
/// to switch to.
pub(crate) fn to_upstream(
    head: &mut request::Parts,
    body: &impl Body,
    origin: &Origin<'_>,
) -> Option<HeaderValue> {
    let found = Found::in_request(&head.headers, origin.trusted);
    let headers = &mut head.headers;
    let mut offered = None;
    if found.connection {
        let connection = ConnectionOptions::take(headers);
        if connection.upgrade && found.upgrade && head.version == Version::HTTP_11 {
            offered = protocols(headers);
        }
        for name in &connection.named {
            headers.remove(name);
        }
    }
    for name in &found.removed {
        headers.remove(name);
    }
    if found.upgrade {
        headers.remove(UPGRADE);
    }
    let trailers = found.te && accepts_trailers(headers);
    if found.te {
        headers.remove(TE);
    }
    // The router sends `100 Continue` itself, when the upstream reads the body.
    if found.expect && headers.get_all(EXPECT).iter().any(is_continue) {
        headers.remove(EXPECT);
    }
    if let Some(protocols) = &offered {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocols.clone());
    } else if trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    set_framing(headers, body, &found);
    set_origin(headers, origin);
    headers.append(VIA, origin.via.of_request(head.version));
    if head.uri.authority().is_some() || head.uri.scheme().is_some() {
        head.uri = origin_form(&head.uri);
    }
    head.version = Version::HTTP_11;
    offered
}

/// Rewrites an upstream's response head for the client. `offered` are the protocols that the client
/// offers to switch to.
pub(crate) fn to_client(
    head: &mut response::Parts,
    body: &impl Body,
    offered: Option<&HeaderValue>,
) -> Result<(), Malformed> {
    let found = Found::in_response(&head.headers);
    let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let headers = &mut head.headers;
    let chosen = if switching { Some(chosen_protocol(headers, offered)?) } else { None };
    if found.transfer_encoding {
        if !only_chunked(headers) {
            return Err(Malformed("its transfer coding is not chunked"));
        }
        headers.remove(TRANSFER_ENCODING);
        // A transfer coding overrides it (RFC 9112 §6.3), and the client would use it as the length.
        headers.remove(CONTENT_LENGTH);
    }
    if found.connection {
        for name in &ConnectionOptions::take(headers).named {
            headers.remove(name);
        }
    }
    for name in &found.removed {
        headers.remove(name);
    }
    if found.upgrade {
        headers.remove(UPGRADE);
    }
    if found.content_length
        && let Some(length) = body.size_hint().exact()
        && !body.is_end_stream()
        && !is_one_number(headers)
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if let Some(protocol) = chosen {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    let (name, value) = via::of_response(head.version);
    headers.append(name, value);
    head.version = Version::HTTP_11;
    Ok(())
}

/// Frames the request's body for the upstream as the client has framed it.
fn set_framing(headers: &mut HeaderMap, body: &impl Body, found: &Found) {
    if body.is_end_stream() || body.size_hint().exact().is_some() {
        if found.transfer_encoding {
            headers.remove(TRANSFER_ENCODING);
        }
    } else {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Adds the client's address and the original scheme and host.
fn set_origin(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let before = headers.get_all(X_FORWARDED_FOR).iter();
    let mut line: Vec<u8> = Vec::new();
    for value in before {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    let line = if line.is_empty() {
        origin.forwarded_for.clone()
    } else {
        line.extend_from_slice(origin.forwarded_for.as_bytes());
        HeaderValue::try_from(line).unwrap_or_else(|_| origin.forwarded_for.clone())
    };
    headers.insert(X_FORWARDED_FOR, line);
    if !origin.trusted || !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !origin.trusted || !headers.contains_key(X_FORWARDED_HOST) {
        headers.insert(X_FORWARDED_HOST, origin.host.clone());
    }
    headers.insert(HOST, origin.host.clone());
}

/// The protocol that the upstream switches to. It must be one that the client offers.
fn chosen_protocol(
    headers: &HeaderMap,
    offered: Option<&HeaderValue>,
) -> Result<HeaderValue, Malformed> {
    let offered =
        offered.ok_or(Malformed("it switches protocols, which the client did not offer"))?;
    let chosen = headers
        .get(UPGRADE)
        .ok_or(Malformed("it switches protocols without naming one in `Upgrade`"))?;
    let known = tokens(offered).any(|token| token.eq_ignore_ascii_case(chosen.as_bytes()));
    let unknown = Malformed("it switches to a protocol that the client did not offer");
    if known { Ok(chosen.clone()) } else { Err(unknown) }
}

/// The protocols that the client offers to switch to. HTTP/2 in the clear is left out: requests
/// inside such a tunnel would not be routed.
fn protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(UPGRADE).iter();
    let only = values.next()?;
    let h2c = |value: &HeaderValue| {
        tokens(value).any(|token| token.len() >= 2 && token[..2].eq_ignore_ascii_case(b"h2"))
    };
    if values.next().is_some() || h2c(only) || only.is_empty() { None } else { Some(only.clone()) }
}

fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from)
}

fn from_authority(authority: &Authority) -> Option<HeaderValue> {
    let text = authority.as_str();
    if !text.bytes().all(is_host_byte) {
        return None;
    }
    HeaderValue::from_str(text).ok()
}

/// The characters of a host and port; no user, no path, no list.
fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&b)
}

fn is_continue(value: &HeaderValue) -> bool {
    tokens(value).any(|token| token.eq_ignore_ascii_case(b"100-continue"))
}

fn only_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked =
        values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    chunked && values.next().is_none()
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

fn is_one_number(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let number = values.next().is_some_and(|value| value.as_bytes().iter().all(u8::is_ascii_digit));
    number && values.next().is_none()
}

/// A header's comma-separated elements.
pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

// === impl Found ===

impl Found {
    fn in_request(headers: &HeaderMap, trusted: bool) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            match *name {
                EXPECT => found.expect = true,
                TE => found.te = true,
                PROXY_AUTHORIZATION => found.removed.push(name.clone()),
                FORWARDED if !trusted => found.removed.push(name.clone()),
                _ if found.hop_by_hop(name) => {}
                _ if is_origin_header(name.as_str()) && (!trusted || has_underscore(name)) => {
                    found.removed.push(name.clone());
                }
                _ => {}
            }
        }
        found
    }

    fn in_response(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            match *name {
                CONTENT_LENGTH => found.content_length = true,
                PROXY_AUTHENTICATE => found.removed.push(name.clone()),
                _ => {
                    found.hop_by_hop(name);
                }
            }
        }
        found
    }

    /// Records a hop-by-hop header of either direction.
    fn hop_by_hop(&mut self, name: &HeaderName) -> bool {
        match *name {
            CONNECTION => self.connection = true,
            UPGRADE => self.upgrade = true,
            TRANSFER_ENCODING => self.transfer_encoding = true,
            _ if matches!(name.as_str(), "keep-alive" | "proxy-connection") => {
                self.removed.push(name.clone());
            }
            _ => return false,
        }
        true
    }
}

/// A header in which proxies send the client's address or the original request, or one that a
/// backend's gateway interface (CGI, WSGI) maps to the same variable: `_` and `-` are equal there.
/// Some backends serve the path in `X-Original-URL` or `X-Rewrite-URL` instead of the request's.
pub(crate) fn is_origin_header(name: &str) -> bool {
    if !name.starts_with(['x', 'f']) {
        return false;
    }
    let begins = |prefix: &str| {
        name.len() >= prefix.len()
            && name.bytes().zip(prefix.bytes()).all(|(n, p)| n == p || (n == b'_' && p == b'-'))
    };
    let is = |whole: &str| begins(whole) && name.len() == whole.len();
    begins("x-forwarded-")
        || begins("x-original-")
        || is("x-rewrite-url")
        || is("x-real-ip")
        || name == "forwarded"
}

/// No proxy writes such a name itself, and many forward one that a client has sent.
fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

// === impl ConnectionOptions ===

impl ConnectionOptions {
    fn take(headers: &mut HeaderMap) -> Self {
        let mut connection = Self::default();
        for value in headers.get_all(CONNECTION) {
            for token in tokens(value) {
                if token.eq_ignore_ascii_case(b"upgrade") {
                    connection.upgrade = true;
                } else if !token.eq_ignore_ascii_case(b"close")
                    && !token.eq_ignore_ascii_case(b"keep-alive")
                    && !token.eq_ignore_ascii_case(b"te")
                    && let Ok(name) = HeaderName::from_bytes(token)
                    && name != HOST
                    && name != VIA
                {
                    connection.named.push(name);
                }
            }
        }
        headers.remove(CONNECTION);
        connection
    }
}

#[cfg(test)]
mod tests;
