//! Attachments of containers to networks, and their errors.

/// One attachment of a container to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The granted name.
    pub(crate) network: String,
    pub(crate) container: String,
    /// Path of the network namespace; empty if it no longer exists.
    pub(crate) namespace: String,
    pub(crate) interface: String,
    /// Address to request again.
    pub(crate) address: Option<String>,
}

/// Why an attachment was not added, checked or deleted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NetworkError {
    Denied(String),
    /// A plugin or its configuration failed.
    Failed(String),
    Invalid(String),
    /// The attachment does not exist.
    NotFound(String),
    Timeout(String),
}
