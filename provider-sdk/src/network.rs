//! Container networking by CNI configurations that the operator granted by name. The host runs the
//! plugins and keeps what they answer. A provider asks for networks in its description:
//!
//! ```
//! # use drowse_provider_sdk::NetworkWish;
//! NetworkWish::new("*", "gives addresses to containers").named_by("network").optional();
//! ```

use crate::{error::Result, host};

pub use crate::bindings::drowse::provider::network::Attachment;

/// Attaches and returns the addresses. What is attached already stays as it is; a failed attempt is
/// undone.
pub fn add(attachment: &Attachment) -> Result<Vec<String>> {
    host::add_network(attachment)
}

/// Detaches. Success when it is not attached. With a namespace, what another one has got since stays.
pub fn del(attachment: &Attachment) -> Result<()> {
    host::del_network(attachment)
}

/// Whether it is attached and in order; `not-found` when it is not attached.
pub fn check(attachment: &Attachment) -> Result<()> {
    host::check_network(attachment)
}
