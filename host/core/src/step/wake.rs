//! A wake: slot, needs, start, readiness probe.

use std::sync::Arc;

use super::{
    Effect, Operation, Origin, Priority, ReadyInstance,
    machine::Machine,
    observe::{is_down, resting_phase},
    phase::{
        Adoption, CleanUp, Launch, PhaseState, Probe, Progress, Ready, Recovery, WakeStage, Waking,
    },
    state::Slot,
};
use crate::{
    journal::{Cause, OperationKind, Trigger},
    names::Phase,
    provider::{ErrorCode, Failure, Observation, Reason, Status},
};

impl Machine<'_> {
    pub(super) fn wake(&mut self, cause: Arc<Cause>) {
        let trigger = cause.trigger;
        self.state.holds.restore_window();
        match &self.state.phase {
            // It is wanted from now on, although no visit is inside.
            PhaseState::Ready(_) if trigger.is_operator() || trigger == Trigger::Schedule => {
                self.effects.push(Effect::RestartIdleTime);
            }
            PhaseState::Waking(_) | PhaseState::Ready(_) => {}
            PhaseState::Draining(_) | PhaseState::Stopping(_) => self.want_wake(cause),
            PhaseState::Asleep | PhaseState::Failed(_) | PhaseState::Missing => {
                if !trigger.is_operator() && self.is_cooling_down() {
                    return;
                }
                match self.state.operation() {
                    Some(_) => self.want_wake(cause),
                    None => self.begin_wake(cause),
                }
            }
        }
    }

    /// Keeps the first cause of a wake that follows the sleep in progress.
    fn want_wake(&mut self, cause: Arc<Cause>) {
        if let Some(wanted) = self.state.phase.wake_wanted_mut() {
            wanted.get_or_insert(cause);
        }
    }

    pub(super) fn begin_wake(&mut self, cause: Arc<Cause>) {
        self.begin_record(OperationKind::Wake, cause.clone());
        self.begin_generation(Waking { cause, stage: WakeStage::Queued(None) });
        if self.state.slot == Slot::Held {
            return self.slot_granted();
        }
        self.state.slot = Slot::Requested;
        self.arm(self.policy.queue_timeout);
        self.effects.push(Effect::RequestSlot(self.state.generation));
    }

    pub(super) fn slot_granted(&mut self) {
        self.state.slot = Slot::Held;
        self.set_stage(WakeStage::Needs(Arc::default()));
        self.arm(self.policy.needs_timeout);
        self.state.holds_needs = true;
        self.effects.push(Effect::TakeNeeds(self.state.generation));
    }

    pub(super) fn launch(&mut self) {
        self.state.ownership.started = true;
        self.state.light_sleep = false;
        self.arm(self.policy.wake_timeout);
        let ticket = self.ticket();
        self.set_stage(WakeStage::Launched(Launch {
            continued: false,
            deadline: self.now + self.policy.wake_timeout,
            restarted: false,
            progress: Progress::Starting(ticket),
        }));
        self.operate(ticket, Operation::Start);
    }

    /// Starts the target once more within its wake.
    pub(super) fn relaunch(&mut self) {
        let ticket = self.ticket();
        self.set_progress(Progress::Starting(ticket));
        self.operate(ticket, Operation::Start);
    }

    /// Adopts a target that runs although this router did not start it, or whose start seemed to
    /// fail, or that changed while it was ready.
    pub(super) fn adopt(&mut self, observation: Observation) {
        let cause = Arc::new(Cause::new(Trigger::Reconciler));
        self.begin_record(OperationKind::Adopt, cause.clone());
        let restarted = self.restarted(&observation).map(|stopped| stopped.adopted);
        let same = |before: &Arc<Observation>| {
            before.native_id.is_some() && before.native_id == observation.native_id
        };
        let continued = self.state.observation().is_some_and(same) || restarted.is_some();
        let owned = match &self.state.phase {
            PhaseState::Ready(ready) => continued && !ready.adopted,
            PhaseState::Failed(_) if self.state.is_owned() => true,
            _ => restarted == Some(false),
        };
        let observation = Arc::new(observation);
        let probe = Probe::new(observation.clone());
        let stage = match owned {
            true => WakeStage::Launched(Launch {
                continued,
                deadline: self.now + self.policy.wake_timeout,
                restarted: false,
                progress: Progress::Probing(probe),
            }),
            false => WakeStage::Adopted(Adoption { continued, probe }),
        };
        self.begin_generation(Waking { cause, stage });
        self.state.ownership.started = owned;
        self.state.light_sleep = false;
        self.arm(self.policy.wake_timeout);
        if self.state.slot != Slot::Held {
            self.state.slot = Slot::Held;
            self.effects.push(Effect::ClaimSlot);
        }
        self.state.holds_needs = true;
        self.effects.push(Effect::KeepNeeds(self.state.generation));
        self.probe(observation);
    }

    fn begin_generation(&mut self, waking: Waking) {
        // The new generation takes its own needs.
        self.release_needs();
        self.enter(PhaseState::Waking(waking));
        self.state.generation = self.state.generation.next();
        self.state.generation_since = self.now;
        self.state.target.forget_stopped();
        self.state.ownership.started = false;
        self.state.failures.clear_with_retry();
    }

    pub(super) fn start_result(&mut self, result: Result<Observation, Failure>) {
        match result {
            Ok(seen) => {
                self.record(&seen);
                match is_down(&seen.status) {
                    true => self.exited(&seen),
                    false => self.probe(Arc::new(seen)),
                }
            }
            Err(failure) => {
                // The platform may have started it all the same.
                self.state.ownership.may_run |= !matches!(
                    failure.code,
                    ErrorCode::InvalidRequest | ErrorCode::Unsupported | ErrorCode::Denied
                );
                if failure.code == ErrorCode::NotFound {
                    self.state.ownership.may_run = false;
                    self.record_missing();
                    if self.await_target(&failure.message) {
                        return;
                    }
                }
                self.fail(failure);
                self.verify();
            }
        }
    }

    pub(super) fn probe(&mut self, observation: Arc<Observation>) {
        self.state.ownership.may_run = false;
        let probe = Probe::new(observation.clone());
        match self.state.phase.probe_mut() {
            Some(current) => *current = probe,
            None => self.set_progress(Progress::Probing(probe)),
        }
        self.effects.push(Effect::Probe(self.state.generation, observation));
    }

    pub(super) fn ready(&mut self) {
        let (probe, adopted, continued) = match self.state.phase.stage() {
            Some(WakeStage::Launched(Launch {
                continued,
                progress: Progress::Probing(probe),
                ..
            })) => (probe, false, *continued),
            Some(WakeStage::Adopted(Adoption { continued, probe })) => (probe, true, *continued),
            _ => return,
        };
        let origin = match (continued, adopted) {
            (true, _) => Origin::Continued,
            (false, true) => Origin::Adopted,
            (false, false) => Origin::Started,
        };
        let observation = probe.observation.clone();
        self.enter(PhaseState::Ready(Ready {
            observation: observation.clone(),
            adopted,
            sleep_check: None,
            closing: None,
        }));
        self.state.failures.wake_succeeded();
        self.state.target.succeeded();
        self.effects.push(Effect::OpenGate(ReadyInstance {
            generation: self.state.generation,
            observation,
            origin,
        }));
        self.end_record(Ok(()));
    }

    /// The instance of the wake does not run any more. A job may have succeeded. Anything else is
    /// started once more; after that the wake has failed.
    pub(super) fn exited(&mut self, observation: &Observation) {
        self.state.ownership.may_run = false;
        let exit = observation.attributes.get("exit-status").map(String::as_str);
        if self.policy.job && observation.status == Status::Stopped && matches!(exit, Some("0")) {
            return self.job_succeeded();
        }
        let Some(launch) = self.state.phase.launch() else {
            return self.adopted_exited(observation);
        };
        let may_restart = !self.policy.job && !launch.restarted;
        let removed = "it was removed while it was woken";
        if observation.status == Status::Missing && self.await_target(removed) {
            return;
        }
        if may_restart && observation.status != Status::Missing {
            self.effects.push(Effect::StopProbe);
            if let Some(launch) = self.state.phase.launch_mut() {
                launch.restarted = true;
            }
            return self.relaunch();
        }
        let (code, reason) = match observation.status {
            Status::Missing => (ErrorCode::NotFound, Reason::Removed),
            _ if self.policy.job => (ErrorCode::Unavailable, Reason::JobFailed),
            _ => (ErrorCode::Unavailable, Reason::Exited),
        };
        let word = &observation.native_status;
        let exit = exit.map(|status| format!(" with exit status {status}")).unwrap_or_default();
        let detail = observation.detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default();
        let message = format!("it was started and is {word} again{exit}{detail}");
        self.fail(Failure::new(code, message).with_reason(reason));
    }

    /// An adopted instance ended before it was ready. The workload rests without a failure, and
    /// the next visitor wakes it.
    fn adopted_exited(&mut self, observation: &Observation) {
        let why = format!("it is {} before it was ready", observation.native_status);
        let failure = Failure::new(ErrorCode::Unavailable, why).with_reason(Reason::Exited);
        self.end_record(Err(Arc::new(failure)));
        self.enter(resting_phase(&observation.status));
    }

    fn job_succeeded(&mut self) {
        self.enter(PhaseState::Asleep);
        self.state.failures.wake_succeeded();
        self.state.completed = Some(self.state.generation);
        self.end_record(Ok(()));
    }

    /// Ends the wake with a failure.
    pub(super) fn fail(&mut self, failure: Failure) {
        let phase = match failure.code {
            ErrorCode::NotFound if self.state.ownership.started => PhaseState::Missing,
            _ => PhaseState::Failed(Recovery::Settled),
        };
        let failure = Arc::new(failure);
        self.enter(phase);
        self.record_failure();
        self.state.failures.wake_failed(failure.clone(), self.now, self.policy.cooldown);
        self.end_record(Err(failure));
    }

    pub(super) fn wake_timed_out(&mut self) {
        let PhaseState::Waking(Waking { cause, stage }) = &self.state.phase else { return };
        let (limit, what) = match stage {
            WakeStage::Queued(_) => {
                (self.policy.queue_timeout, "no slot in its pool was free".to_owned())
            }
            WakeStage::Needs(missing) => {
                let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
                let what = format!("its needs were not met: {}", names.join(", "));
                (self.policy.needs_timeout, what)
            }
            WakeStage::Launched(Launch { progress: Progress::Absent(absence), .. }) => {
                let absence = absence.clone();
                return self.target_stays_away(&absence);
            }
            WakeStage::Launched(Launch { progress: Progress::Starting(_), .. }) => {
                (self.policy.wake_timeout, "the provider has not answered the start".to_owned())
            }
            WakeStage::Launched(Launch { progress: Progress::Probing(probe), .. })
            | WakeStage::Adopted(Adoption { probe, .. }) => {
                let what = match &probe.unready {
                    Some(reason) => format!("last probe: {reason}"),
                    None => "no probe has ended".to_owned(),
                };
                (self.policy.wake_timeout, what)
            }
        };
        let (cause, queued) = (cause.clone(), matches!(stage, WakeStage::Queued(_)));
        let cleans_up = self.state.ownership.started;
        self.cancel_start();
        let message = format!("it was not ready within {limit:?}; {what}");
        let failure = Failure::new(ErrorCode::Timeout, message);
        self.fail(match queued {
            true => failure.with_reason(Reason::PoolFull),
            false => failure,
        });
        match cleans_up {
            // A hung instance is not kept in memory: it would hang again.
            true => self.clean_up(cause),
            false => self.verify(),
        }
    }

    /// Puts the instance of a failed wake into the deep sleep.
    fn clean_up(&mut self, cause: Arc<Cause>) {
        let ticket = self.ticket();
        let clean_up = CleanUp { ticket, cause, wake_wanted: None };
        self.state.phase = PhaseState::Failed(Recovery::CleaningUp(clean_up));
        self.operate(ticket, Operation::DeepSleep);
    }

    /// Queries the status after a failed wake, if the target may run.
    pub(super) fn verify(&mut self) {
        if self.state.ownership.may_run {
            self.leave_queue();
            if self.state.phase() == Phase::Failed {
                self.state.phase = PhaseState::Failed(Recovery::Unverified);
            }
            self.query_status(Priority::Urgent);
        }
    }

    fn set_stage(&mut self, stage: WakeStage) {
        if let Some(current) = self.state.phase.stage_mut() {
            *current = stage;
        }
    }

    pub(super) fn set_progress(&mut self, progress: Progress) {
        if let Some(launch) = self.state.phase.launch_mut() {
            launch.progress = progress;
        }
    }
}
