//! The verdict of one check of a plugin file.

use serde::Serialize;

/// Verdict of one check, with a text that follows the word "it".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
pub enum Verdict {
    /// The file passed the check.
    Verified(String),
    /// The check does not apply.
    NotChecked(String),
    /// The file must not be used.
    Refused(String),
}
