//! Visits: entering through the gate or waiting in front of it, and leaving.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout_at;

use super::{Instance, Snapshot, Workload};
use crate::{
    gate::LeaveOutcome,
    journal::Cause,
    names::{Generation, Phase},
    provider::{ErrorCode, Failure, Reason},
    step::{Input, State},
};

/// One pass through the gate, held until the visitor's last byte. Dropping it leaves.
pub struct Visit {
    workload: Arc<Workload>,
    instance: Arc<Instance>,
    /// The visit counts as use.
    tracked: bool,
}

/// Why a visitor was not admitted.
#[derive(Clone, Debug)]
pub enum AdmitError {
    /// The last wake failed; with the time until the next attempt, absent when it may be made at
    /// once.
    Failed(Arc<Failure>, Option<Duration>),
    /// The visitor's deadline passed while the workload was in this phase.
    TimedOut(Phase),
    /// The visitor may only join a wake, and none is on its way: the workload is in this phase.
    NotWaking(Phase),
}

// === impl Workload ===

impl Workload {
    /// Enters through the open gate; none when it is closed.
    pub fn enter(self: &Arc<Self>) -> Option<Visit> {
        self.through(true)
    }

    /// Enters through the open gate without counting as use: the workload is not stopped during
    /// the visit, and its idle time goes on.
    pub fn enter_untracked(self: &Arc<Self>) -> Option<Visit> {
        self.through(false)
    }

    fn through(self: &Arc<Self>, tracked: bool) -> Option<Visit> {
        let instance = self.admission.enter(tracked)?;
        Some(Visit { workload: self.clone(), instance, tracked })
    }

    /// Requests a wake. Concurrent requests lead to one start. Returns at once, with the request
    /// shown by [`Workload::snapshot`].
    pub fn wake(self: &Arc<Self>, cause: Cause) {
        // The snapshot may be older than a step that is being taken.
        if !self.admission.is_open() {
            let not_waking = |state: &State| state.phase() != Phase::Waking;
            self.apply_if(not_waking, Input::Wake(Arc::new(cause)));
        }
    }

    /// Wakes the workload if necessary and waits until the visitor is inside. Dropping the future
    /// ends the waiting, not the wake. [`AdmitError::Failed`] when the wake fails, or failed lately
    /// and cools down; for a job, which is not woken because it cannot be visited; and when the
    /// engine ends. [`AdmitError::TimedOut`] at `deadline`.
    pub async fn admit(
        self: &Arc<Self>,
        deadline: tokio::time::Instant,
        cause: Cause,
    ) -> Result<Visit, AdmitError> {
        self.wait_to_enter(deadline, Some(cause)).await
    }

    /// As [`Workload::admit`] without waking: waits while a wake that another caller requested is
    /// on its way.
    pub async fn join(
        self: &Arc<Self>,
        deadline: tokio::time::Instant,
    ) -> Result<Visit, AdmitError> {
        self.wait_to_enter(deadline, None).await
    }

    async fn wait_to_enter(
        self: &Arc<Self>,
        deadline: tokio::time::Instant,
        cause: Option<Cause>,
    ) -> Result<Visit, AdmitError> {
        if let Some(visit) = self.enter() {
            return Ok(visit);
        }
        if self.is_job() {
            let message = "it is a job: it runs and ends, and cannot be visited";
            let failure = Failure::new(ErrorCode::InvalidRequest, message);
            return Err(AdmitError::Failed(Arc::new(failure), None));
        }
        let _held = self.admission.hold();
        loop {
            let mut released = pin!(self.admission.released());
            // Registered before the gate and the snapshot are read, so that no release is missed.
            released.as_mut().enable();
            if let Some(visit) = self.enter() {
                return Ok(visit);
            }
            if self.has_ended() {
                let failure = Failure::new(ErrorCode::Unavailable, "the router is ending")
                    .with_reason(Reason::RouterEnding);
                return Err(AdmitError::Failed(Arc::new(failure), None));
            }
            let mut snapshot = self.snapshot();
            if let Some(cause) = &cause
                && !snapshot.is_wake_pending()
            {
                let cause = cause.clone();
                let woken = self.on_engine(move |workload| workload.wake(cause));
                match timeout_at(deadline, woken).await {
                    Ok(Some(())) => {}
                    Ok(None) if self.has_ended() => continue,
                    // The step has panicked.
                    Ok(None) => {
                        let failure =
                            Failure::new(ErrorCode::Internal, "the wake could not be requested");
                        return Err(AdmitError::Failed(Arc::new(failure), None));
                    }
                    Err(_) => return Err(AdmitError::TimedOut(self.runner.phase())),
                }
                snapshot = self.snapshot();
            }
            match snapshot.phase {
                // A wake after a failed one is on its way.
                Phase::Failed | Phase::Missing if !snapshot.wake_wanted => {
                    let failure = self.failure_of(&snapshot);
                    return Err(AdmitError::Failed(failure, snapshot.retry_in()));
                }
                phase if cause.is_none() && !snapshot.is_coming() => {
                    return Err(AdmitError::NotWaking(phase));
                }
                _ => {}
            }
            if timeout_at(deadline, released).await.is_err() {
                return Err(AdmitError::TimedOut(self.runner.phase()));
            }
        }
    }

    /// Visitors held at the gate.
    pub fn waiting(&self) -> usize {
        self.admission.waiting()
    }

    fn leave(self: &Arc<Self>, tracked: bool) {
        match self.admission.leave(tracked) {
            LeaveOutcome::Occupied => {}
            LeaveOutcome::Empty => self.pool.iter().for_each(|pool| pool.visit_ended()),
            LeaveOutcome::Drained => {
                let workload = self.clone();
                self.spawn(async move { workload.apply(Input::Drained) });
            }
        }
    }

    fn failure_of(&self, snapshot: &Snapshot) -> Arc<Failure> {
        snapshot.failure.clone().unwrap_or_else(|| {
            let (provider, handle) = (&self.spec.provider, &self.spec.target.handle);
            let message = format!("provider {provider:?} knows no target {handle:?}");
            Arc::new(Failure::new(ErrorCode::NotFound, message))
        })
    }
}

// === impl Visit ===

impl Visit {
    /// The generation of the instance that was entered.
    pub fn generation(&self) -> Generation {
        self.instance.generation()
    }

    /// The instance that was entered.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Whether a connection may be made to the instance that was entered: it is open, and no
    /// confirmation is required. Established connections lead to it as long as it is open.
    pub fn may_dial(&self) -> bool {
        self.instance.is_open() && !self.workload.is_unconfirmed()
    }

    /// The workload that was entered.
    pub fn workload(&self) -> &Arc<Workload> {
        &self.workload
    }

    /// Host and port at which the workload's own `port` is reached in this instance.
    pub fn upstream(&self, port: u16) -> Option<(&str, u16)> {
        self.instance.observation().addresses.iter().find_map(|address| address.socket(port))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.workload.leave(self.tracked);
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("workload", self.workload.name())
            .field("generation", &self.generation())
            .finish()
    }
}

// === impl AdmitError ===

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure, _) => failure.fmt(f),
            Self::TimedOut(phase) => write!(f, "it is still {phase}"),
            Self::NotWaking(phase) => write!(f, "it is {phase}, and no wake is on its way"),
        }
    }
}
