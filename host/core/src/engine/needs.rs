//! Holding the dependencies of a workload awake, and waiting for them before its start.

use std::{pin::pin, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{Snapshot, Workload, dependencies::Dependency};
use crate::{
    journal::{Cause, Correlation, Trigger},
    names::{Generation, Phase, WorkloadName},
    need::Until,
    provider::{ErrorCode, Failure, Reason},
    step::{Input, Stage},
};

/// Keeps a workload awake until dropped.
pub(super) struct Hold(Arc<Workload>, Trigger);

/// The holds of one workload on its dependencies. Belongs to the tasks of the workload: a change
/// is made under the lock of its runner, and another workload is locked only after that lock is
/// released.
#[derive(Default)]
pub(super) struct NeedHolds {
    held: Vec<Hold>,
    /// Holds to drop once the lock is released.
    released: Vec<Hold>,
    /// Holds to take once the lock is released.
    requested: Option<NeedsRequest>,
}

/// Take holds on all dependencies for an instance, and drop the holds before.
pub(super) struct NeedsRequest {
    pub(super) generation: Generation,
    /// The start waits for the dependencies, jobs included. An instance that runs already neither
    /// waits nor runs jobs.
    pub(super) waits: bool,
    pub(super) correlation: Option<Correlation>,
}

/// A dependency that a start waits for.
struct PendingNeed {
    need: Dependency,
    /// The run of a job that counts.
    run: Generation,
}

// === impl Hold ===

impl Hold {
    pub(super) fn take(workload: Arc<Workload>, cause: Cause) -> Self {
        let trigger = cause.trigger;
        workload.apply(Input::Hold(Arc::new(cause)));
        Self(workload, trigger)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.apply(Input::Release(self.1));
    }
}

// === impl NeedHolds ===

impl NeedHolds {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn request(&mut self, request: NeedsRequest) {
        self.requested = Some(request);
    }

    pub(super) fn release_all(&mut self) {
        self.requested = None;
        self.released.append(&mut self.held);
    }

    /// Takes out what is to be done once the lock is released: holds to drop, then holds to take.
    pub(super) fn take_pending(&mut self) -> (Vec<Hold>, Option<NeedsRequest>) {
        (std::mem::take(&mut self.released), self.requested.take())
    }

    fn replace(&mut self, holds: Vec<Hold>) -> Vec<Hold> {
        std::mem::replace(&mut self.held, holds)
    }
}

// === impl Workload ===

impl Workload {
    /// Takes holds on the dependencies in place of those before.
    pub(super) fn hold_needs(self: &Arc<Self>, request: &NeedsRequest) {
        let (generation, mut cause) = (request.generation, needed_by(self.name()));
        cause.correlation = request.correlation;
        let pending = loop {
            let needs = self.dependencies.all();
            let (mut holds, mut pending) = (Vec::new(), Vec::new());
            for need in &needs {
                let run = match need.is_job() {
                    // Jobs run before starts only.
                    true if !request.waits => continue,
                    true => need.workload.run_job(cause.clone()),
                    false => {
                        holds.push(Hold::take(need.workload.clone(), cause.clone()));
                        Generation::default()
                    }
                };
                pending.push(PendingNeed { need: need.clone(), run });
            }
            let replaced = self.within_generation(generation, |tasks| tasks.needs.replace(holds));
            if replaced.is_none() {
                return;
            }
            // A status query may have discovered other dependencies meanwhile.
            if needs == self.dependencies.all() {
                break pending;
            }
        };
        if request.waits {
            self.await_needs(generation, pending);
        }
    }

    fn await_needs(self: &Arc<Self>, generation: Generation, mut pending: Vec<PendingNeed>) {
        pending.retain(|one| !matches!(one.outcome(), Some(Ok(()))));
        if pending.is_empty() {
            return self.apply(Input::NeedsMet(generation));
        }
        self.apply(Input::MissingNeeds(generation, names(&pending)));
        let dependent = self.clone();
        let wait = async move {
            let met = dependent.wait_for_needs(generation, pending).await;
            dependent.apply(match met {
                Ok(()) => Input::NeedsMet(generation),
                Err(failure) => Input::NeedsFailed(generation, failure),
            });
        };
        self.within_generation(generation, |tasks| {
            super::effects::replace(&mut tasks.needs_wait, self.spawn(wait));
        });
    }

    async fn wait_for_needs(
        self: &Arc<Self>,
        generation: Generation,
        pending: Vec<PendingNeed>,
    ) -> Result<(), Failure> {
        let mut left: Vec<_> = names(&pending).to_vec();
        let mut all: FuturesUnordered<_> = pending.into_iter().map(PendingNeed::met).collect();
        while let Some(result) = all.next().await {
            let name = result?;
            left.retain(|other| *other != name);
            self.apply(Input::MissingNeeds(generation, left.clone().into()));
        }
        Ok(())
    }

    /// Runs a job, or joins a run in progress; returns the generation of that run.
    fn run_job(self: &Arc<Self>, cause: Cause) -> Generation {
        self.apply(Input::Wake(Arc::new(cause)));
        let state = self.state();
        match state.wake_wanted() {
            true => state.generation().next(),
            false => state.generation(),
        }
    }
}

// === impl PendingNeed ===

impl PendingNeed {
    async fn met(self) -> Result<WorkloadName, Failure> {
        let workload = &self.need.workload;
        loop {
            let mut published = pin!(workload.runner.published());
            // Registered before the snapshot is read, so that no change is missed.
            published.as_mut().enable();
            if let Some(outcome) = self.outcome() {
                return outcome.map(|()| workload.name().clone());
            }
            published.await;
        }
    }

    /// Returns whether the dependency has come far enough, or will not; none while that is open.
    fn outcome(&self) -> Option<Result<(), Failure>> {
        let snapshot = self.need.workload.snapshot();
        let runs = matches!(snapshot.stage, Some(Stage::Probing(_)));
        match (self.need.until, snapshot.phase) {
            (Until::Completed, _) if snapshot.completed >= Some(self.run) => Some(Ok(())),
            (Until::Completed, Phase::Failed | Phase::Missing)
                if snapshot.generation >= self.run =>
            {
                Some(Err(self.failure(&snapshot)))
            }
            (Until::Completed, Phase::Asleep) if snapshot.generation >= self.run => {
                let name = self.need.workload.name();
                let message = format!("it needs {name}, which was ended before it had completed");
                let failure = Failure::new(ErrorCode::Conflict, message);
                Some(Err(failure.with_reason(Reason::NeedFailed)))
            }
            (Until::Completed, _) => None,
            (_, Phase::Failed | Phase::Missing) if snapshot.wake_wanted => None,
            (_, Phase::Ready) => Some(Ok(())),
            (Until::Started, Phase::Waking) if runs => Some(Ok(())),
            (_, Phase::Failed | Phase::Missing) => Some(Err(self.failure(&snapshot))),
            _ => None,
        }
    }

    fn failure(&self, snapshot: &Snapshot) -> Failure {
        let name = self.need.workload.name();
        match &snapshot.failure {
            Some(failure) => Failure::new(
                failure.code.clone(),
                format!("it needs {name}, which could not be woken: {}", failure.message),
            ),
            None => Failure::new(
                ErrorCode::NotFound,
                format!("it needs {name}, which its provider does not know"),
            ),
        }
        .with_reason(Reason::NeedFailed)
    }
}

fn names(pending: &[PendingNeed]) -> Arc<[WorkloadName]> {
    pending.iter().map(|one| one.need.workload.name().clone()).collect()
}

/// The cause of a wake for a dependent.
pub(super) fn needed_by(dependent: &WorkloadName) -> Cause {
    Cause::new(Trigger::Dependency).with_reference(dependent.as_str())
}
