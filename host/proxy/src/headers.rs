//! What of a message's head is for the next hop alone, and what the next hop is told of the client.
//! RFC 9110 §7.6.1 and §7.6.3, RFC 9112 §3.2 and §6.1.

use std::net::IpAddr;

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
use ipnet::IpNet;

use crate::via::{self, Pseudonym};

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request that is refused for its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
}

/// A response that no client may see, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Who the client is, for the upstream.
pub(crate) struct Origin<'a> {
    /// Its address.
    pub(crate) forwarded_for: &'a HeaderValue,
    /// What it says of clients before it is believed.
    pub(crate) trusted: bool,
    /// The host it asked for.
    pub(crate) host: &'a HeaderValue,
    /// How this router calls itself.
    pub(crate) via: &'a Pseudonym,
}

/// What one pass over the names of a head has found.
#[derive(Default)]
struct Found {
    connection: bool,
    te: bool,
    upgrade: bool,
    expect: bool,
    transfer_encoding: bool,
    content_length: bool,
    /// Further names to take away.
    doomed: Vec<HeaderName>,
}

/// What the `Connection` header says.
#[derive(Default)]
struct Connection {
    upgrade: bool,
    named: Vec<HeaderName>,
}

/// Whether a client at this address is believed.
pub(crate) fn trusts(trust: &[IpNet], address: IpAddr) -> bool {
    trust.iter().any(|net| net.contains(&address))
}

/// The host that a request asks for: the target's authority, else the `Host` header, as the
/// upstream will see it. Empty for an HTTP/1.0 client that says none.
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
        return said(authority).ok_or_else(|| bad("the request's target is not a valid host"));
    }
    match head.headers.get(HOST) {
        Some(host) if host.as_bytes().iter().all(|&b| is_host_byte(b)) => Ok(host.clone()),
        Some(_) => Err(bad("the Host header is not a valid host")),
        None if head.version == Version::HTTP_11 => Err(bad("the request has no Host header")),
        None => Ok(HeaderValue::from_static("")),
    }
}

/// Refuses framing that some servers read differently. hyper has seen to it that `chunked` comes
/// last and that there is no contradicting `Content-Length`.
pub(crate) fn check_framing(head: &request::Parts) -> Result<(), Refused> {
    if head.headers.contains_key(TRANSFER_ENCODING) && !only_chunked(&head.headers) {
        let reason = "the only transfer coding understood here is chunked";
        return Err(Refused { status: StatusCode::NOT_IMPLEMENTED, reason });
    }
    Ok(())
}

/// Makes a client's head one for the upstream. Returns the protocols the client would switch to.
pub(crate) fn to_upstream(
    head: &mut request::Parts,
    body: &impl Body,
    origin: &Origin<'_>,
) -> Option<HeaderValue> {
    let found = Found::in_request(&head.headers, origin.trusted);
    let headers = &mut head.headers;
    let mut asked = None;
    if found.connection {
        let connection = Connection::take(headers);
        if connection.upgrade && found.upgrade && head.version == Version::HTTP_11 {
            asked = protocols(headers);
        }
        for name in &connection.named {
            headers.remove(name);
        }
    }
    for name in &found.doomed {
        headers.remove(name);
    }
    if found.upgrade {
        headers.remove(UPGRADE);
    }
    let trailers = found.te && accepts_trailers(headers);
    if found.te {
        headers.remove(TE);
    }
    // Ours to answer: when the upstream is there and the body is wanted.
    if found.expect && headers.get_all(EXPECT).iter().any(is_continue) {
        headers.remove(EXPECT);
    }
    if let Some(protocols) = &asked {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocols.clone());
    } else if trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    frame(headers, body, &found);
    introduce(headers, origin);
    headers.append(VIA, origin.via.of_request(head.version));
    if head.uri.authority().is_some() || head.uri.scheme().is_some() {
        head.uri = origin_form(&head.uri);
    }
    head.version = Version::HTTP_11;
    asked
}

/// Makes an upstream's head one for the client. `asked` are the protocols the client would switch
/// to.
pub(crate) fn to_client(
    head: &mut response::Parts,
    body: &impl Body,
    asked: Option<&HeaderValue>,
) -> Result<(), Malformed> {
    let found = Found::in_response(&head.headers);
    let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let headers = &mut head.headers;
    let chosen = if switching { Some(agreed(headers, asked)?) } else { None };
    if found.transfer_encoding {
        if !only_chunked(headers) {
            return Err(Malformed("its transfer coding is not chunked"));
        }
        headers.remove(TRANSFER_ENCODING);
        // It does not count beside a transfer coding, and would be taken for the length.
        headers.remove(CONTENT_LENGTH);
    }
    if found.connection {
        for name in &Connection::take(headers).named {
            headers.remove(name);
        }
    }
    for name in &found.doomed {
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

/// How the request's end is told to the upstream: as the client told it.
fn frame(headers: &mut HeaderMap, body: &impl Body, found: &Found) {
    if body.is_end_stream() || body.size_hint().exact().is_some() {
        if found.transfer_encoding {
            headers.remove(TRANSFER_ENCODING);
        }
    } else {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Says who the client is and what it asked for.
fn introduce(headers: &mut HeaderMap, origin: &Origin<'_>) {
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

/// The protocol that the upstream switches to, if it is one that the client asked for.
fn agreed(headers: &HeaderMap, asked: Option<&HeaderValue>) -> Result<HeaderValue, Malformed> {
    let asked = asked.ok_or(Malformed("it switches protocols and nobody asked it to"))?;
    let chosen =
        headers.get(UPGRADE).ok_or(Malformed("it does not say which protocol it speaks"))?;
    let known = tokens(asked).any(|token| token.eq_ignore_ascii_case(chosen.as_bytes()));
    if known { Ok(chosen.clone()) } else { Err(Malformed("it speaks a protocol nobody asked for")) }
}

/// What the client would switch to. HTTP/2 in the clear is left out: requests inside such a
/// tunnel would pass by the routes.
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

fn said(authority: &Authority) -> Option<HeaderValue> {
    let text = authority.as_str();
    if !text.bytes().all(is_host_byte) {
        return None;
    }
    HeaderValue::from_str(text).ok()
}

/// What a host and port may be made of; no user, no path, no list.
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

/// A header's comma-separated words.
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
                PROXY_AUTHORIZATION => found.doomed.push(name.clone()),
                FORWARDED if !trusted => found.doomed.push(name.clone()),
                _ if found.general(name) => {}
                _ if is_introduction(name.as_str()) && (!trusted || is_spelt_oddly(name)) => {
                    found.doomed.push(name.clone());
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
                PROXY_AUTHENTICATE => found.doomed.push(name.clone()),
                _ => {
                    found.general(name);
                }
            }
        }
        found
    }

    /// What is for one hop alone in either direction.
    fn general(&mut self, name: &HeaderName) -> bool {
        match *name {
            CONNECTION => self.connection = true,
            UPGRADE => self.upgrade = true,
            TRANSFER_ENCODING => self.transfer_encoding = true,
            _ if matches!(name.as_str(), "keep-alive" | "proxy-connection") => {
                self.doomed.push(name.clone());
            }
            _ => return false,
        }
        true
    }
}

/// A header by which proxies introduce clients or say what was asked for, or one that a backend's
/// gateway interface cannot tell from it: `_` and `-` are the same there. Some backends serve the
/// path that `X-Original-URL` or `X-Rewrite-URL` names in place of the request's own.
pub(crate) fn is_introduction(name: &str) -> bool {
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

/// No proxy spells it so, and many pass on what clients do.
fn is_spelt_oddly(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

// === impl Connection ===

impl Connection {
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
