//! HTTP to an endpoint that the operator granted by name. The host knows its location and adds
//! credentials; the provider sees neither.

mod request;
mod response;
mod stream;

use std::borrow::Cow;

pub use request::Request;
pub use response::{BODY_LIMIT, Response};
pub use stream::{LINE_LIMIT, Lines, VALUE_LIMIT, Values};

/// A granted HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    name: Cow<'static, str>,
}

/// Percent-encodes a path segment or a query's name or value: everything but letters, digits and
/// `-._~`. A slash in a handle becomes `%2F`, which the host refuses: validate handles first.
pub fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint granted under this name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into() }
    }

    /// A request with any method. The path begins with `/` and may have a query; both must be
    /// percent-encoded (see [`encode`] and [`Request::query`]).
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(&self.name, method, path)
    }

    /// `GET`
    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    /// `POST`
    pub fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    /// `PUT`
    pub fn put(&self, path: &str) -> Request {
        self.request("PUT", path)
    }

    /// `PATCH`
    pub fn patch(&self, path: &str) -> Request {
        self.request("PATCH", path)
    }

    /// `DELETE`
    pub fn delete(&self, path: &str) -> Request {
        self.request("DELETE", path)
    }
}

#[cfg(test)]
mod tests;
