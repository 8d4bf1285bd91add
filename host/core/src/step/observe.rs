//! Provider events and the results of status queries.

use std::sync::Arc;

use super::{
    Effect, Operation, Priority,
    failure::backoff,
    machine::Machine,
    phase::{Launch, PhaseState, Progress, Recovery, WakeStage},
};
use crate::{
    names::Phase,
    provider::{Failure, Observation, Status},
    spec::Adopt,
};

impl Machine<'_> {
    /// Takes a provider event, which is a hint.
    pub(super) fn changed(&mut self, seen: &Observation) {
        if let Some(operation) = self.state.operation() {
            // The operation's result may be older than this event.
            self.state.queries.defer_if(match operation {
                Operation::Start => is_down(&seen.status),
                Operation::Sleep | Operation::DeepSleep | Operation::Renew(_) => {
                    is_up(&seen.status)
                }
            });
            return;
        }
        let query = match &self.state.phase {
            PhaseState::Draining(_) | PhaseState::Stopping(_) => false,
            PhaseState::Waking(waking) => match &waking.stage {
                WakeStage::Queued(_) | WakeStage::Needs(_) => {
                    self.state.queries.set_deferred(is_up(&seen.status));
                    false
                }
                WakeStage::Launched(Launch { progress: Progress::Absent(_), .. }) => {
                    self.start_if_back(&seen.status);
                    false
                }
                WakeStage::Launched(_) | WakeStage::Adopted(_) => {
                    self.effects.push(Effect::ProbeNow);
                    self.differs(seen)
                }
            },
            PhaseState::Ready(_) => self.differs(seen),
            PhaseState::Asleep => !matches!(seen.status, Status::Stopped | Status::Paused),
            PhaseState::Failed(recovery) => {
                let retries = matches!(recovery, Recovery::SleepFailed { .. });
                is_up(&seen.status) || retries || self.state.target.differs(seen)
            }
            PhaseState::Missing => seen.status != Status::Missing,
        };
        if query {
            self.query_status(Priority::Urgent);
        }
    }

    /// Returns whether this is another instance than the one that is probed or ready.
    fn differs(&self, seen: &Observation) -> bool {
        self.state.observation().is_none_or(|own| {
            !is_up(&seen.status) && own.status != seen.status
                || own.native_id != seen.native_id
                || own.addresses != seen.addresses
        })
    }

    pub(super) fn query_status(&mut self, priority: Priority) {
        if self.state.operation().is_some() {
            // The query's result could be older than the operation's.
            return self.state.queries.defer();
        }
        if self.state.queries.join(priority) {
            return;
        }
        let ticket = self.ticket();
        self.disarm_query_timer();
        self.state.queries.sent(ticket, priority);
        self.effects.push(Effect::QueryStatus(ticket, priority));
    }

    pub(super) fn status_result(&mut self, ticket: u64, result: Result<Observation, Failure>) {
        let Some(query) = self.state.queries.take(ticket) else { return };
        match result {
            _ if query.outdated => {}
            // Counts even if an event arrived since the query was sent: with frequent events and
            // slow queries no result would ever count.
            Ok(seen) => self.observed(seen),
            Err(_) => {
                let failures = self.state.queries.failed();
                self.arm_query_timer(backoff(failures));
            }
        }
        if let Some(priority) = query.repeat {
            self.query_status(priority);
        }
    }

    fn observed(&mut self, seen: Observation) {
        let adopts = self.policy.adopt != Adopt::Ignore && !self.policy.job;
        let (owned, status) = (self.state.is_owned(), seen.status.clone());
        let restarted = self.restarted(&seen).is_some();
        let replaced = self.state.target.is_replaced_by(&seen);
        let removed = status == Status::Missing && self.state.target.exists();
        let (up, down) = (is_up(&status), is_down(&status));
        self.record(&seen);
        self.state.queries.succeeded();
        self.state.ownership.may_run &= !down;
        if let PhaseState::Failed(recovery @ Recovery::Unverified) = &mut self.state.phase {
            *recovery = Recovery::Settled;
        }
        match &self.state.phase {
            PhaseState::Draining(_) | PhaseState::Stopping(_) => {}
            PhaseState::Waking(waking) => match &waking.stage {
                // The status before the start matters only if there will be no start.
                WakeStage::Queued(_) | WakeStage::Needs(_) => {
                    self.state.queries.set_deferred(up);
                }
                WakeStage::Launched(Launch { progress: Progress::Absent(_), .. }) => {
                    self.start_if_back_or_poll(&status);
                }
                WakeStage::Launched(_) | WakeStage::Adopted(_) if down => self.exited(&seen),
                WakeStage::Launched(_) | WakeStage::Adopted(_) => {
                    if up && self.differs(&seen) {
                        self.effects.push(Effect::StopProbe);
                        self.probe(Arc::new(seen));
                    }
                }
            },
            PhaseState::Ready(_) if down || status == Status::Stopping => {
                self.record_stopped();
                self.effects.push(Effect::CloseGate);
                self.enter(resting_phase(&status));
            }
            PhaseState::Ready(_) if self.differs(&seen) => {
                // Another instance under the same name: it has to pass the readiness check.
                self.effects.push(Effect::CloseGate);
                self.adopt(seen);
            }
            PhaseState::Ready(_) => {
                if let Some(ready) = self.state.phase.ready_mut() {
                    ready.observation = Arc::new(seen);
                }
            }
            PhaseState::Failed(Recovery::SleepFailed { depth, .. }) => {
                let depth = *depth;
                self.verify_sleep(depth, &status);
            }
            PhaseState::Failed(_) if up && self.state.is_owned() && !self.policy.job => {
                self.adopt(seen);
            }
            PhaseState::Asleep | PhaseState::Missing | PhaseState::Failed(_)
                if up && (adopts || restarted) =>
            {
                self.adopt(seen);
            }
            // The failure was that of a target that is gone.
            PhaseState::Failed(_) if removed => {
                self.state.light_sleep = false;
                self.lift_cooldown(PhaseState::Missing);
            }
            PhaseState::Failed(_) if replaced => self.lift_cooldown(PhaseState::Asleep),
            PhaseState::Asleep if status == Status::Missing => {
                self.state.light_sleep = false;
                self.enter(PhaseState::Missing);
            }
            PhaseState::Missing if status != Status::Missing => {
                self.state.failures.clear();
                self.enter(PhaseState::Asleep);
            }
            PhaseState::Asleep | PhaseState::Failed(_) | PhaseState::Missing => {}
        }
        if matches!(self.state.phase(), Phase::Asleep | Phase::Failed) {
            match status {
                Status::Paused => {
                    self.state.light_sleep |= (adopts || owned) && self.policy.deep_after.is_some();
                }
                Status::Stopped | Status::Failed => self.state.light_sleep = false,
                _ => {}
            }
        }
    }
}

/// The target does not serve, and will not without a start.
pub(super) fn is_down(status: &Status) -> bool {
    matches!(status, Status::Stopped | Status::Paused | Status::Failed | Status::Missing)
}

/// The target runs or starts.
pub(super) fn is_up(status: &Status) -> bool {
    matches!(status, Status::Running | Status::Starting)
}

/// Maps a status to the phase of a workload at rest.
pub(super) fn resting_phase(status: &Status) -> PhaseState {
    match status {
        Status::Missing => PhaseState::Missing,
        _ => PhaseState::Asleep,
    }
}
