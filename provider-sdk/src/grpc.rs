//! gRPC to an endpoint that the operator granted by name. Messages are bytes, encoded by a crate
//! such as `prost`. The description requests calls by rules of this form:
//!
//! ```
//! # use drowse_provider_sdk::EndpointWish;
//! EndpointWish::new("containerd", "starts and stops containers")
//!     .suggested_url("unix:///run/containerd/containerd.sock")
//!     .rules(["/containerd.services.tasks.v1.Tasks/*"]);
//! ```

use std::time::Duration;

use crate::{
    bindings::drowse::provider::grpc,
    error::{Error, Result},
    host,
    words::Attribute,
};

/// A call to build.
#[derive(Clone, Debug)]
#[must_use = "nothing is called before `unary` or `stream`"]
pub struct Call(grpc::Call);

/// A stream of messages from the server. Dropping it cancels the call.
pub struct Messages(host::Messages);

// === impl Call ===

impl Call {
    /// A call of a method, `/package.Service/Method`, on a granted endpoint.
    pub fn new(endpoint: impl Into<String>, method: impl Into<String>) -> Self {
        Self(grpc::Call {
            endpoint: endpoint.into(),
            method: method.into(),
            metadata: Vec::new(),
            message: Vec::new(),
            timeout_ms: None,
        })
    }

    /// Adds text metadata. The name begins with the first word of the service and a hyphen, as in
    /// `containerd-namespace`; the host refuses any other.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.push(Attribute::new(name, value));
        self
    }

    /// Sets the request message; default is an empty one.
    pub fn message(mut self, message: impl Into<Vec<u8>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Sets the timeout of the answer, at most the grant's. For a stream: of each message.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends the call and waits for the single answer.
    pub fn unary(self) -> Result<Vec<u8>> {
        host::unary(&self.0)
    }

    /// Sends the call; the messages are read one by one. The first one shows whether the server
    /// accepts the call.
    pub fn stream(self) -> Result<Messages> {
        Ok(Messages(host::server_stream(&self.0)?))
    }
}

// === impl Messages ===

impl Messages {
    /// Waits for the next message; None after the last. May be called again after a timeout.
    #[allow(clippy::should_implement_trait, reason = "an iterator would end with an error")]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.0.next()
    }
}

/// gRPC status code of the server's answer, if it answered.
pub fn status(error: &Error) -> Option<u32> {
    error.attribute("grpc-status")?.parse().ok()
}
