//! The signed URLs below the reserved path, from which a waiting page gets progress.

use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::signature::SigningKey;
use crate::page::LiveUrls;

/// The reserved path. The router serves everything below it while live progress is enabled.
pub(super) const RESERVED: &str = "/.well-known/drowse/";
/// The event stream.
pub(super) const EVENTS: &str = "/.well-known/drowse/waiting/events";
/// The current state as JSON.
pub(super) const STATE: &str = "/.well-known/drowse/waiting/state";

/// The location of a waiting page, which its URLs' signature covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLocation<'a> {
    pub(crate) listener: &'a str,
    /// The host as the client sent it.
    pub(crate) host: &'a HeaderValue,
    /// The path of the route.
    pub(crate) path: &'a str,
}

/// The URLs from which a page at this location gets progress.
pub(super) fn sign(key: &SigningKey, location: &PageLocation<'_>) -> LiveUrls {
    let signature = key.sign(&location.fields());
    let path = utf8_percent_encode(location.path, NON_ALPHANUMERIC);
    let url = |endpoint| format!("{endpoint}?route={path}&key={signature}");
    LiveUrls { events: url(EVENTS), state: url(STATE) }
}

/// A parameter of a query, decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_decode_str(value).decode_utf8().ok().map(Into::into)
}

// === impl PageLocation ===

impl PageLocation<'_> {
    /// The fields that the signature covers.
    pub(super) fn fields(&self) -> [&str; 3] {
        [self.listener, self.host.to_str().unwrap_or_default(), self.path]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location<'a>(host: &'a HeaderValue, path: &'a str) -> PageLocation<'a> {
        PageLocation { listener: "web", host, path }
    }

    #[test]
    fn a_signed_url_is_valid_for_its_own_location_only() {
        let key = SigningKey::random().unwrap();
        let host = HeaderValue::from_static("app.test:8080");
        for path in ["/", "/a/b", "/a&key=1", "/%20+é"] {
            let live = sign(&key, &location(&host, path));
            let (endpoint, query) = live.events.split_once('?').unwrap();
            assert_eq!(endpoint, EVENTS);
            assert!(live.events.is_ascii() && live.state.starts_with(STATE));
            assert_eq!(parameter(query, "route").unwrap(), path);
            let signature = parameter(query, "key").unwrap();
            assert!(key.verify(&location(&host, path).fields(), &signature));
            let other = HeaderValue::from_static("other.test");
            assert!(!key.verify(&location(&other, path).fields(), &signature));
            assert!(!key.verify(&location(&host, "/x").fields(), &signature));
        }
    }

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        assert_eq!(parameter("xroute=1&route=%2Fa", "route").unwrap(), "/a");
        assert_eq!(parameter("route", "route"), None);
        assert_eq!(parameter("", "route"), None);
        assert_eq!(parameter("route=%FF", "route"), None);
    }
}
