//! Building a request.

use std::time::Duration;

use drowse_provider_rules::masked_url;
use serde::Serialize;

use super::{Response, encode};
use crate::{
    bindings::drowse::provider::http,
    error::{Error, Result},
    host,
    words::Attribute,
};

/// A request to an endpoint. [`send`](Self::send) it.
#[must_use = "a request does nothing until it is sent"]
#[derive(Clone, Debug)]
pub struct Request {
    wire: http::Request,
    error: Option<Error>,
}

// === impl Request ===

impl Request {
    pub(super) fn new(endpoint: &str, method: &str, path: &str) -> Self {
        let wire = http::Request {
            endpoint: endpoint.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        };
        Self { wire, error: None }
    }

    /// Adds `name=value` to the query, percent-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.wire.path.push(if self.wire.path.contains('?') { '&' } else { '?' });
        self.wire.path.push_str(&encode(name));
        self.wire.path.push('=');
        self.wire.path.push_str(&encode(value));
        self
    }

    /// Adds a header. The host refuses `authorization`, `cookie`, `host` and hop-by-hop headers.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.wire.headers.push(Attribute::new(name.to_ascii_lowercase(), value));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.wire.body = body.into();
        self
    }

    /// Sets a JSON body with its content type.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.wire.body = body,
            Err(error) => {
                let what = self.masked();
                self.error = Some(Error::internal(format!("{what}: encode the body: {error}")));
            }
        }
        self.header("content-type", "application/json")
    }

    /// Sets the timeout until the response's head; default is the grant's limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wire.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Method, path and query keys for messages; values may be secret and are masked.
    fn masked(&self) -> String {
        let http::Request { method, path, .. } = &self.wire;
        format!("{method} {}", masked_url(path))
    }

    /// Sends the request and returns when the response's head has arrived, with any status.
    ///
    /// Errors are `denied` (the message names the rule to grant), `unavailable` (nothing was sent),
    /// `timeout`, and `internal` (the connection broke: the request may have taken effect).
    pub fn send(self) -> Result<Response> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let what = self.masked();
        Ok(Response::new(what, host::send(&self.wire)?))
    }
}
