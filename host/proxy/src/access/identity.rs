//! The identity that authentication reports of a client, and the headers that carry it.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

use crate::http::headers::is_origin_header;

/// The result of a successful authentication.
#[derive(Default)]
pub(crate) struct Identity {
    /// Headers for the workload's request.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// `Set-Cookie` values for the client, added to every kind of response: a renewed session.
    pub(crate) cookies: Vec<HeaderValue>,
}

// === impl Identity ===

impl Identity {
    /// Adds the identity headers to the workload's request. Called after all other changes to the
    /// request, so that no header of the client can remove one of them.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        for (name, value) in self.headers {
            headers.append(name, value);
        }
    }
}

/// Removes the client's own headers of these names. Credentials stay until they have been
/// checked.
pub(crate) fn strip_identity_headers(names: &[String], headers: &mut HeaderMap) {
    let credentials = [AUTHORIZATION.as_str(), COOKIE.as_str()];
    for name in names.iter().filter(|name| !credentials.contains(&name.as_str())) {
        strip(headers, name);
    }
}

/// Removes the client's own trailers of these names, and those that name its address.
pub(crate) fn strip_trailers(names: &[String], trailers: &mut HeaderMap) {
    for name in names {
        strip(trailers, name);
    }
    let introductions: Vec<_> =
        trailers.keys().filter(|name| is_origin_header(name.as_str())).cloned().collect();
    for name in introductions {
        trailers.remove(name);
    }
}

/// Removes the headers of this name and of those that a gateway interface (CGI, WSGI) maps to the
/// same variable: `_` and `-` are equal there.
pub(super) fn strip(headers: &mut HeaderMap, name: &str) {
    let is_equal = |held: &HeaderName| {
        held.as_str().len() == name.len()
            && held.as_str().bytes().zip(name.bytes()).all(|(held, wanted)| {
                held == wanted || matches!((held, wanted), (b'_', b'-') | (b'-', b'_'))
            })
    };
    let found: Vec<_> = headers.keys().filter(|held| is_equal(held)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}
