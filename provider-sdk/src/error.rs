//! Errors of calls: a stable code for decisions, a message for people.

use std::fmt;

pub use crate::bindings::drowse::provider::types::ErrorCode;
use crate::{bindings::drowse::provider::types, words::Attribute};

/// Result of a fallible function of a provider.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a call.
///
/// The message is one line in lower case without a full stop: what was attempted on what, what
/// happened, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    message: String,
    attributes: Vec<Attribute>,
}

// === impl Error ===

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident),+ $(,)?) => {
        $($(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorCode::$code, message)
        })+
    };
}

impl Error {
    /// A failure with this code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), attributes: Vec::new() }
    }

    constructors! {
        /// The call or the settings are invalid; a retry without changes cannot help.
        invalid_request => InvalidRequest,
        /// The target does not exist on the platform.
        not_found => NotFound,
        /// The target's state or another operation prevents the call; a later retry may succeed.
        conflict => Conflict,
        /// The platform cannot be reached or cannot answer now.
        unavailable => Unavailable,
        /// The platform did not answer in time. The operation may still have taken effect.
        timeout => Timeout,
        /// The provider does not support the call.
        unsupported => Unsupported,
        /// A defect in the provider or in the platform.
        internal => Internal,
        /// A grant or the platform's permissions forbid the call; the message names what is
        /// missing.
        denied => Denied,
    }

    /// The failure that an HTTP status of 4xx or 5xx usually means, with attribute `http-status`.
    pub fn http(status: u16, message: impl Into<String>) -> Self {
        let code = match status {
            401 | 403 | 407 => ErrorCode::Denied,
            404 | 410 => ErrorCode::NotFound,
            408 | 504 => ErrorCode::Timeout,
            409 => ErrorCode::Conflict,
            429 | 502 | 503 => ErrorCode::Unavailable,
            400..=499 => ErrorCode::InvalidRequest,
            501 => ErrorCode::Unsupported,
            _ => ErrorCode::Internal,
        };
        Self::new(code, message).with_attribute("http-status", status.to_string())
    }

    /// Prefixes the message with what was attempted: `{what}: {message}`.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds a detail for machines: `http-status`, `native-code`, `exit-status`.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// The stable code.
    pub fn code(&self) -> &ErrorCode {
        &self.code
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        crate::words::find(&self.attributes, name)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        let types::Error { code, message, attributes } = error;
        Self { code, message, attributes }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        let Error { code, message, attributes } = error;
        Self { code, message, attributes }
    }
}
