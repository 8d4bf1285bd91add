//! Names and phases of workloads, shared by every crate.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The stable name of a workload; never a container ID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkloadName(Arc<str>);

/// The name of a provider, a configured plugin instance.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProviderName(Arc<str>);

/// The name of a pool.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(Arc<str>);

/// Numbers a workload's instances. Answers and observations of an older generation are ignored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// The phase of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Does not run, and no wake is requested.
    Asleep,
    /// Being started and probed.
    Waking,
    /// Running; its gate is open.
    Ready,
    /// Its gate is closed to new visits; earlier ones are still inside.
    Draining,
    /// Being put to sleep by its provider.
    Stopping,
    /// The last wake or sleep failed.
    Failed,
    /// Its target does not exist.
    Missing,
}

/// A name that cannot be used, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{name:?} is not a name: {reason}")]
pub struct InvalidName {
    name: String,
    reason: &'static str,
}

// === impl WorkloadName, ProviderName, PoolName ===

macro_rules! name {
    ($type:ident) => {
        impl $type {
            /// Parses a name: 1 to 128 letters, digits, `-`, `_`, `.`, `/` or `@`, beginning with
            /// a letter or digit.
            pub fn parse(name: &str) -> Result<Self, InvalidName> {
                check(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::parse(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(WorkloadName);
name!(ProviderName);
name!(PoolName);

fn check(name: &str) -> Result<(), InvalidName> {
    let fail = |reason| Err(InvalidName { name: name.chars().take(140).collect(), reason });
    if name.is_empty() {
        return fail("it is empty");
    }
    if name.len() > 128 {
        return fail("it is longer than 128 characters");
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return fail("it must begin with a letter or digit");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@".contains(c)) {
        return fail("only letters, digits, '-', '_', '.', '/' and '@' are allowed");
    }
    Ok(())
}

// === impl Generation ===

impl Generation {
    /// The next generation.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Phase ===

impl Phase {
    /// Name in messages, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Waking => "waking",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
