//! Stages of a wake, as shown to visitors and operators.

use std::{fmt, sync::Arc};

use crate::names::WorkloadName;

/// Stage of a wake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The wake waits for a slot of its pool.
    Queued {
        /// Position in the queue; the next one has 1.
        position: usize,
        /// Length of the queue.
        length: usize,
    },
    /// The wake waits for these needs.
    Needs(Arc<[WorkloadName]>),
    /// The provider starts the target.
    Starting,
    /// The target was removed a moment ago; the wake waits for another one of the same name.
    Absent,
    /// The target runs and is probed; the last probe's failure, for operators.
    Probing(Option<Arc<str>>),
}

// === impl Stage ===

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { position, length } => {
                write!(f, "waits for a slot in its pool, {position} of {length}")
            }
            Self::Needs(names) => {
                let names: Vec<_> = names.iter().map(WorkloadName::as_str).collect();
                write!(f, "waits for {}", names.join(", "))
            }
            Self::Starting => f.write_str("is being started"),
            Self::Absent => f.write_str("was removed; waits for another target of its name"),
            Self::Probing(None) => f.write_str("runs; waits for the first probe result"),
            Self::Probing(Some(seen)) => write!(f, "runs, not ready: {seen}"),
        }
    }
}
