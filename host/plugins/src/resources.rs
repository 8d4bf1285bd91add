//! Resources that guests hold: responses and message streams.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::endpoint::grpc::Messages;

/// A response whose body is being read. Dropping it closes its connection.
pub struct IncomingResponse {
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: hyper::body::Incoming,
    pub(crate) piece: Bytes,
    pub(crate) taken: u64,
    pub(crate) description: String,
    /// Permits of the instance's and the provider's limit of open responses.
    pub(crate) _permits: [OwnedSemaphorePermit; 2],
}

/// An open message stream. Dropping it cancels its call.
pub struct MessageStream {
    pub(crate) messages: Messages,
    pub(crate) endpoint: String,
    pub(crate) taken: u64,
    /// Permits of the instance's and the provider's limit of open responses.
    pub(crate) _permits: [OwnedSemaphorePermit; 2],
}
