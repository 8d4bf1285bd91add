//! What a workload is to its pool: what it takes of it, and when it may go.

use std::{cmp::Reverse, sync::atomic::Ordering, time::Duration};

use super::Workload;
use crate::{
    names::Phase,
    step::{Force, State},
};

impl Workload {
    /// What it takes of its pool's memory: what was measured, else what the operator said.
    pub(super) fn memory(&self) -> u64 {
        match self.measured.load(Ordering::Relaxed) {
            0 => self.declared_memory(),
            measured => measured,
        }
    }

    /// What it takes of its pool's memory, by the operator's word.
    pub(super) fn declared_memory(&self) -> u64 {
        self.membership().and_then(|membership| membership.memory).unwrap_or(0)
    }

    /// It may be put to sleep for another one after this: when it has been ready for so long,
    /// if nobody needs it or is inside, and nobody is about to enter. One that runs although
    /// nobody has asked for it has its idle time first: somebody has just started it.
    pub(super) fn evictable_in(&self, state: &State, stay: Duration) -> Option<Duration> {
        let used =
            state.is_kept_awake(Force::Drain) || self.gate.visits() > 0 || self.waiting() > 0;
        if state.phase() != Phase::Ready || self.is_pinned() || used {
            return None;
        }
        let fresh = match self.is_unrequested() {
            true => self.idle().unwrap_or_default().saturating_sub(self.idle_for()),
            false => Duration::ZERO,
        };
        let since = self.shared.now().saturating_sub(state.since());
        Some(fresh.max(stay.saturating_sub(since)))
    }

    /// It sleeps lightly, and may be put into the deep sleep for another one.
    pub(super) fn can_sleep_deeper(&self, state: &State) -> bool {
        state.sleeps_lightly() && !state.is_kept_awake(Force::Drain) && !self.is_pinned()
    }

    fn is_pinned(&self) -> bool {
        self.membership().is_some_and(|membership| membership.pinned)
    }

    /// Who goes first when room is needed: the smallest. Priority, then how long it is idle.
    pub(super) fn rank(&self) -> (i32, Reverse<Duration>) {
        let priority = self.membership().map_or(0, |membership| membership.priority);
        (priority, Reverse(self.idle_for()))
    }
}
