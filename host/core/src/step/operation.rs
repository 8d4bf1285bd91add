//! Provider calls that change the target.

/// A provider call that changes the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start the target.
    Start,
    /// Put the target to sleep with its configured sleep method; the light one of two.
    Sleep,
    /// Put the target into its deepest sleep, which keeps no memory.
    DeepSleep,
    /// Renew the target on an operator's order.
    Renew(Renewal),
}

/// An operator's order that replaces the running instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Stop the target, then wake it.
    Restart,
    /// Recreate the target from its definition, then wake it if it was awake or waking.
    Recreate {
        /// Fetch the image or other sources again first.
        refresh: bool,
    },
}

// === impl Operation ===

impl Operation {
    /// The workload is at rest afterwards, unless a wake is wanted.
    pub(crate) fn is_sleep(self) -> bool {
        matches!(self, Self::Sleep | Self::DeepSleep)
    }

    pub(super) fn is_renewal(self) -> bool {
        matches!(self, Self::Renew(_))
    }
}
