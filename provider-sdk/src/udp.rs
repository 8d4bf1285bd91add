//! Datagrams to an endpoint that the operator granted by name with a `udp://host:port` url. The
//! host knows where that is; nothing comes back.

use crate::{error::Result, host};

/// The most that fits into one datagram.
pub const PAYLOAD_LIMIT: usize = 1_472;

/// Sends one datagram of at most [`PAYLOAD_LIMIT`] bytes. Success says that it left, not that
/// anybody heard it. Waits when more than 100 are sent in a second.
///
/// The description asks for such an endpoint by a suggested url with `udp` and without rules:
///
/// ```
/// # use drowse_provider_sdk::EndpointWish;
/// EndpointWish::new("lan", "wakes machines").suggested_url("udp://255.255.255.255:9");
/// ```
pub fn send(endpoint: &str, payload: impl AsRef<[u8]>) -> Result<()> {
    host::send_datagram(endpoint, payload.as_ref())
}
