//! HTTP/1.1: from an accepted connection to the upstream and back.
//!
//! [`service`] serves connections and lists the steps of each request. [`admit`] passes a request
//! through its workload's gate, [`forward`] sends it to the upstream, and [`rejection`] renders the
//! router's own responses.

mod admit;
pub(crate) mod connection;
mod deadline;
mod exchange;
mod forward;
pub(crate) mod headers;
pub(crate) mod negotiation;
pub(crate) mod pool;
pub(crate) mod rejection;
mod request_body;
pub(crate) mod response_body;
pub(crate) mod service;
pub(crate) mod shared;
mod tunnel;
mod upstream;
