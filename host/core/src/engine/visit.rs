//! Visitors: coming in through the gate or waiting before it, what they hold while inside, and
//! what they are told when they are not let in.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{Instance, Snapshot, Workload};
use crate::{
    gate::Left,
    journal::Cause,
    names::{Generation, Phase},
    provider::{ErrorCode, Failure, Reason},
    step::{Input, Priority, State},
};

/// A visitor that could not connect waits at most so long for the engine's look.
const SUSPICION: Duration = Duration::from_secs(5);

/// One pass through the gate, held until the visitor's last byte. Dropping it is leaving.
pub struct Visit {
    workload: Arc<Workload>,
    instance: Arc<Instance>,
    /// It does not count as use.
    unnoticed: bool,
}

/// Why a visitor was not let in.
#[derive(Clone, Debug)]
pub enum AdmitError {
    /// The wake failed, lately; and when it is worth trying again, absent when the next try may be
    /// made at once.
    Failed(Arc<Failure>, Option<Duration>),
    /// The visitor's own time was over while the workload was in this phase.
    TimedOut(Phase),
    /// It would only have joined a wake, and none is coming: the workload is in this phase.
    NotWaking(Phase),
}

/// What came of asking the provider whether an instance is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// It is.
    Confirmed,
    /// No request may be sent to it any more.
    Closed,
    /// The provider has not answered.
    Unanswered,
}

/// Counts a visitor at the closed gate for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

// === impl Workload ===

impl Workload {
    /// One pass through the open gate, or nothing when it is closed.
    pub fn enter(self: &Arc<Self>) -> Option<Visit> {
        self.through(false)
    }

    /// One pass through the open gate that does not count as use: the workload is not stopped
    /// while it lasts, and its idle time goes on as if nobody had come.
    pub fn enter_untracked(self: &Arc<Self>) -> Option<Visit> {
        self.untracked.fetch_add(1, Ordering::Relaxed);
        let visit = self.through(true);
        if visit.is_none() {
            self.untracked.fetch_sub(1, Ordering::Relaxed);
        }
        visit
    }

    fn through(self: &Arc<Self>, unnoticed: bool) -> Option<Visit> {
        if !self.gate.enter() {
            return None;
        }
        // The gate opens only after the instance was written, so there is one.
        let instance = self.instance.load_full()?;
        Some(Visit { workload: self.clone(), instance, unnoticed })
    }

    /// Somebody wants it awake. However many ask, it is started once. Returns at once.
    pub fn wake(self: &Arc<Self>, cause: Cause) {
        // The snapshot may be older than what happens to it at this moment.
        if !self.gate.is_open() {
            let rests = |state: &State| state.phase() != Phase::Waking;
            self.apply_if(rests, Input::Wake(Arc::new(cause)));
        }
    }

    /// Wakes it if need be and waits until inside. Dropping this ends the waiting, not the wake.
    /// [`AdmitError::Failed`] when the wake fails, or has failed and rests; when it is a job, which is
    /// not woken, as nobody can be inside; and when the engine ends. [`AdmitError::TimedOut`] when
    /// `deadline` comes first.
    pub async fn admit(
        self: &Arc<Self>,
        deadline: tokio::time::Instant,
        cause: Cause,
    ) -> Result<Visit, AdmitError> {
        self.inside(deadline, Some(cause)).await
    }

    /// As [`Workload::admit`], and never wakes it: waits for as long as somebody else's wake is
    /// coming.
    pub async fn join(
        self: &Arc<Self>,
        deadline: tokio::time::Instant,
    ) -> Result<Visit, AdmitError> {
        self.inside(deadline, None).await
    }

    async fn inside(
        self: &Arc<Self>,
        deadline: tokio::time::Instant,
        cause: Option<Cause>,
    ) -> Result<Visit, AdmitError> {
        if let Some(visit) = self.enter() {
            return Ok(visit);
        }
        if self.is_job() {
            let message = "it is a job: it runs and ends, and nobody can visit it";
            let failure = Failure::new(ErrorCode::InvalidRequest, message);
            return Err(AdmitError::Failed(Arc::new(failure), None));
        }
        let _waiting = Waiting::begin(&self.waiting);
        let mut snapshots = self.watch();
        loop {
            if let Some(visit) = self.enter() {
                return Ok(visit);
            }
            if let Some(cause) = &cause {
                self.wake(cause.clone());
            }
            let snapshot = snapshots.borrow_and_update().clone();
            if self.has_ended() {
                let failure = Failure::new(ErrorCode::Unavailable, "the router is ending")
                    .with_reason(Reason::RouterEnding);
                return Err(AdmitError::Failed(Arc::new(failure), None));
            }
            match snapshot.phase {
                Phase::Ready => tokio::task::yield_now().await,
                // One that is about to be woken again is waited for.
                Phase::Failed | Phase::Missing if !snapshot.wake_wanted => {
                    return Err(AdmitError::Failed(self.cause(&snapshot), snapshot.retry_in()));
                }
                phase if cause.is_none() && !snapshot.is_coming() => {
                    return Err(AdmitError::NotWaking(phase));
                }
                phase => match tokio::time::timeout_at(deadline, snapshots.changed()).await {
                    Ok(_) => {}
                    Err(_) => return Err(AdmitError::TimedOut(phase)),
                },
            }
        }
    }

    /// Asks the provider whether the instance is still there, and returns its answer, or
    /// [`Confirmation::Unanswered`] after 5 s. However many ask at a time, the provider is asked
    /// once, or once more if it was being asked already.
    pub async fn confirm(self: &Arc<Self>, instance: &Instance) -> Confirmation {
        let generation = instance.generation();
        let is_ready =
            |state: &State| state.phase() == Phase::Ready && state.generation() == generation;
        let question = self.apply_then(is_ready, Input::Suspected(generation), State::next_query);
        let Some(question) = question else { return Confirmation::Closed };
        let mut looks = self.looks.subscribe();
        let answered = looks.wait_for(|answered| *answered >= question);
        tokio::select! {
            biased;
            () = instance.closed() => return Confirmation::Closed,
            // Over either way.
            _ = tokio::time::timeout(SUSPICION, answered) => {}
        }
        match self.confirmed.load(Ordering::Acquire) >= question {
            _ if !instance.is_open() => Confirmation::Closed,
            true => Confirmation::Confirmed,
            false => Confirmation::Unanswered,
        }
    }

    /// Something suggests that its address may have become another's: no connection is made to
    /// it before the provider, which is asked now, has answered. Returns at once.
    pub fn require_confirmation(self: &Arc<Self>) {
        let question =
            |state: &State| self.unconfirmed.store(state.next_query(), Ordering::Release);
        self.apply_then(|_| true, Input::QueryStatus(Priority::Urgent), question);
    }

    /// No connection may be made to it before [`Workload::confirm`] has said that it is there.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::Acquire) != 0
    }

    /// The provider has answered this question with what the workload is.
    pub(super) fn confirm_by(&self, question: u64) {
        self.confirmed.fetch_max(question, Ordering::AcqRel);
        // A later question, which may be asked at this moment, is not answered by this.
        let answered = |asked| (asked != 0 && asked <= question).then_some(0);
        let _ = self.unconfirmed.fetch_update(Ordering::AcqRel, Ordering::Acquire, answered);
    }

    /// Waits for the first look that knows of everything that has happened so far, if one is on
    /// its way; at most so long.
    pub(super) async fn await_status(&self, patience: Duration) {
        let mut looks = self.looks.subscribe();
        let Some(due) = self.state().pending_query() else { return };
        // Over either way.
        let _ = tokio::time::timeout(patience, looks.wait_for(|answered| *answered >= due)).await;
    }

    /// Visitors held at the gate.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Visits inside that count as use.
    pub(super) fn tracked_visits(&self) -> u64 {
        let untracked = u64::try_from(self.untracked.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        self.gate.visits().saturating_sub(untracked)
    }

    /// One visit is over.
    fn left(self: &Arc<Self>, unnoticed: bool) {
        // Written before leaving too: who closes the gate at this moment reads this visit's end.
        if !unnoticed && self.tracked_visits() <= 1 {
            self.touch();
        }
        let left = self.gate.leave();
        if unnoticed {
            self.untracked.fetch_sub(1, Ordering::Relaxed);
        } else if left != Left::Drained && self.tracked_visits() == 0 {
            self.touch();
        }
        match left {
            Left::Occupied => {}
            Left::Empty => self.pool.iter().for_each(|pool| pool.visit_ended()),
            Left::Drained => self.apply(Input::Drained),
        }
    }

    /// The idle time begins anew.
    pub(super) fn touch(&self) {
        self.last_left.fetch_max(self.shared.milliseconds(), Ordering::Relaxed);
        self.unrequested.store(false, Ordering::Relaxed);
    }

    /// A life begins that visitors may enter; it has not been used for so long, or nobody has
    /// asked for it.
    pub(super) fn begin_idle(&self, quiet: Duration, unrequested: bool) {
        let quiet = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        let left = self.shared.milliseconds().saturating_sub(quiet);
        self.last_left.store(left, Ordering::Relaxed);
        self.unrequested.store(unrequested, Ordering::Relaxed);
    }

    /// How long nobody has been inside, if nobody is.
    pub(super) fn idle_for(&self) -> Duration {
        let left = self.last_left.load(Ordering::Relaxed);
        Duration::from_millis(self.shared.milliseconds().saturating_sub(left))
    }

    pub(super) fn is_unrequested(&self) -> bool {
        self.unrequested.load(Ordering::Relaxed)
    }

    fn cause(&self, snapshot: &Snapshot) -> Arc<Failure> {
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

    /// A connection may be made to the instance that was entered: it is open, and nothing has to be
    /// confirmed first. Connections that stand lead to it as long as it is open.
    pub fn may_dial(&self) -> bool {
        self.instance.is_open() && !self.workload.is_unconfirmed()
    }

    /// The workload that was entered.
    pub fn workload(&self) -> &Arc<Workload> {
        &self.workload
    }

    /// Where the workload's own `port` is reached in this life: host and port.
    pub fn upstream(&self, port: u16) -> Option<(&str, u16)> {
        self.instance.observation().addresses.iter().find_map(|address| address.socket(port))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.workload.left(self.unnoticed);
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

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl AdmitError ===

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure, _) => failure.fmt(f),
            Self::TimedOut(phase) => write!(f, "it is still {phase}"),
            Self::NotWaking(phase) => write!(f, "it is {phase}, and nobody wakes it"),
        }
    }
}
