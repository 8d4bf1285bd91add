//! Container networking by CNI configurations that the operator granted by name. The host runs the
//! plugins and stores their results. A provider requests networks in its description:
//!
//! ```
//! # use drowse_provider_sdk::NetworkWish;
//! NetworkWish::new("*", "gives addresses to containers").named_by("network").optional();
//! ```

use crate::{error::Result, host};

pub use crate::bindings::drowse::provider::network::Attachment;

/// Attaches and returns the addresses. An existing attachment stays unchanged; a failed attempt is
/// rolled back.
pub fn add(attachment: &Attachment) -> Result<Vec<String>> {
    host::add_network(attachment)
}

/// Detaches. Succeeds if it is not attached. With a namespace, a newer attachment of another
/// namespace stays.
pub fn del(attachment: &Attachment) -> Result<()> {
    host::del_network(attachment)
}

/// Checks an attachment; `not-found` if it does not exist.
pub fn check(attachment: &Attachment) -> Result<()> {
    host::check_network(attachment)
}
