//! Names and addresses of endpoints in messages, and errors of sending.

use std::{
    error::Error as StdError,
    sync::{Mutex, PoisonError},
};

/// Name and address of an endpoint in messages for guests and operators.
pub(crate) struct EndpointLabel {
    pub(super) name: String,
    pub(super) url: String,
    /// Cause of the last connection failure.
    pub(super) cause: Mutex<String>,
}

/// Why there is no response. The messages go to the guest and do not contain the endpoint's
/// address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The connection failed while sending or receiving.
    Broken(String),
    /// The request is invalid.
    Invalid(String),
    /// The server of a gRPC call answered with a status other than OK.
    Status { code: tonic::Code, message: String },
    /// The response head did not arrive in time.
    Timeout(String),
    /// The endpoint is unreachable; nothing was sent.
    Unavailable(String),
}

// === impl EndpointLabel ===

impl EndpointLabel {
    pub(super) fn new(name: &str, url: String) -> Self {
        Self { name: name.to_owned(), url, cause: Mutex::new(String::new()) }
    }

    /// The message for guests if the endpoint is unreachable. It contains neither the address nor
    /// the cause, which may concern secrets.
    pub(crate) fn unreached(&self) -> String {
        format!("endpoint {:?} cannot be reached", self.name)
    }

    /// The message for the operator, with address and cause.
    pub(crate) fn unreached_because(&self) -> String {
        let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, url) = (&self.name, &self.url);
        format!("endpoint {name:?} at {url} cannot be reached: {cause}")
    }

    pub(super) fn unavailable(&self, cause: String) -> SendError {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = cause;
        SendError::Unavailable(self.unreached())
    }
}

/// The root cause of an error.
pub(super) fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A host without the brackets of IPv6.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}
