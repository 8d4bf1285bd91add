//! Datagrams to an endpoint that the operator granted by name with a `udp://host:port` URL. The
//! host knows its location; there are no replies.

use crate::{error::Result, host};

/// Maximum payload of a datagram, in bytes.
pub const PAYLOAD_LIMIT: usize = 1_472;

/// Sends one datagram of at most [`PAYLOAD_LIMIT`] bytes. Success means that it was sent, not that
/// it was received. Waits when more than 100 are sent in a second.
///
/// The description requests such an endpoint by a suggested URL with `udp` and without rules:
///
/// ```
/// # use drowse_provider_sdk::EndpointWish;
/// EndpointWish::new("lan", "wakes machines").suggested_url("udp://255.255.255.255:9");
/// ```
pub fn send(endpoint: &str, payload: impl AsRef<[u8]>) -> Result<()> {
    host::send_datagram(endpoint, payload.as_ref())
}
