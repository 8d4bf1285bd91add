//! Dependents and the schedule window that need the workload awake.

use std::sync::Arc;

use super::Force;
use crate::journal::{Cause, Trigger};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Holds {
    /// Dependents, and the schedule window if one is open.
    count: u32,
    window: Option<WindowHold>,
}

/// The hold of an open schedule window.
#[derive(Clone, Debug, PartialEq)]
struct WindowHold {
    cause: Arc<Cause>,
    /// An operator put the workload to sleep during the window, and no wake was wanted since.
    overruled: bool,
}

// === impl Holds ===

impl Holds {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn add(&mut self, cause: &Arc<Cause>) {
        self.count += 1;
        if cause.trigger == Trigger::Schedule {
            self.window = Some(WindowHold { cause: cause.clone(), overruled: false });
        }
    }

    pub(super) fn remove(&mut self, trigger: Trigger) {
        self.count = self.count.saturating_sub(1);
        if trigger == Trigger::Schedule {
            self.window = None;
        }
    }

    /// Whether a hold keep_awakes an operator's order. [`Force::AtOnce`] overrules a schedule.
    pub(super) fn keep_awake(&self, force: Force) -> bool {
        let spared = |window: &WindowHold| window.overruled || force == Force::AtOnce;
        self.count > u32::from(self.window.as_ref().is_some_and(spared))
    }

    /// An operator orders a sleep: it overrules the schedule if that is the only hold.
    pub(super) fn overrule(&mut self, force: Force) {
        let keep_awake = self.keep_awake(force);
        if let Some(window) = &mut self.window {
            window.overruled |= !keep_awake;
        }
    }

    /// A wake is wanted: the schedule window counts again.
    pub(super) fn restore_window(&mut self) {
        if let Some(window) = &mut self.window {
            window.overruled = false;
        }
    }

    /// Cause of a wake for these holds: the schedule, unless there are dependents.
    pub(super) fn wake_cause(&self) -> Arc<Cause> {
        match &self.window {
            Some(window) if self.count == 1 => window.cause.clone(),
            _ => Arc::new(Cause::new(Trigger::Dependency)),
        }
    }
}
