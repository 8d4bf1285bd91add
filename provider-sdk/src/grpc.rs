//! gRPC to an endpoint that the operator granted by name. Messages are bytes; a crate such as
//! `prost` makes them. The description asks for calls by rules of their own kind:
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

/// A call that is being put together.
#[derive(Clone, Debug)]
#[must_use = "nothing is called before `unary` or `stream`"]
pub struct Call(grpc::Call);

/// A server's messages as they come. Dropping it cancels the call.
pub struct Messages(host::Messages);

// === impl Call ===

impl Call {
    /// Of a method, `/package.Service/Method`, on a granted endpoint.
    pub fn new(endpoint: impl Into<String>, method: impl Into<String>) -> Self {
        Self(grpc::Call {
            endpoint: endpoint.into(),
            method: method.into(),
            metadata: Vec::new(),
            message: Vec::new(),
            timeout_ms: None,
        })
    }

    /// Text that goes with the call. The name begins with the first word of the service and a
    /// hyphen, `containerd-namespace`; the host refuses any other.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.push(Attribute::new(name, value));
        self
    }

    /// The message to send; an empty one without.
    pub fn message(mut self, message: impl Into<Vec<u8>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Until the answer, never longer than the grant allows. Of a stream: until each message.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Calls and waits for the one answer.
    pub fn unary(self) -> Result<Vec<u8>> {
        host::unary(&self.0)
    }

    /// Calls; the server's messages are read one by one. Whether the server takes the call is seen
    /// with the first of them.
    pub fn stream(self) -> Result<Messages> {
        Ok(Messages(host::server_stream(&self.0)?))
    }
}

// === impl Messages ===

impl Messages {
    /// The next message, none after the last. Waits for it. After a timeout it may be asked for
    /// again.
    #[allow(clippy::should_implement_trait, reason = "an iterator would end with an error")]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.0.next()
    }
}

/// The number of the status that a server answered with, if it did.
pub fn status(error: &Error) -> Option<u32> {
    error.attribute("grpc-status")?.parse().ok()
}
