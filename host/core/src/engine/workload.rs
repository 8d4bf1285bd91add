//! One workload: its spec, its gate, its state and the tasks that work for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use super::{PhaseChange, Shared, Snapshot, Snapshots, Turned, Visit, WorkloadStatus, lock};
use crate::{
    gate::{Gate, Left},
    provider::{Failure, Observation},
    spec::WorkloadSpec,
    step::{Effect, Input, Policy, State, step},
    words::{Generation, Phase, WorkloadName},
};

/// An operator's sleep waits so long for the visits inside.
const DRAIN: Duration = Duration::from_secs(30);

/// A visitor that could not connect waits at most so long for the engine's look.
const SUSPICION: Duration = Duration::from_secs(5);

/// One thing that sleeps and wakes. Its methods may be called from any thread.
pub struct Workload {
    pub(super) spec: WorkloadSpec,
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Gate,
    /// The life that the gate leads to; written before the gate opens.
    pub(super) life: ArcSwapOption<Life>,
    pub(super) nudge: Notify,
    policy: Policy,
    inner: Mutex<Inner>,
    snapshots: Snapshots,
    /// Milliseconds since the engine began; when the gate was last left empty or opened.
    last_left: AtomicU64,
    waiting: AtomicUsize,
    /// Looks that were answered, so that who suspects something can wait for one.
    looks: watch::Sender<u64>,
}

/// One life of a workload: where it is reached.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) generation: Generation,
    pub(super) observation: Arc<Observation>,
}

#[derive(Default)]
struct Inner {
    state: State,
    tasks: Tasks,
    /// Set when the engine has ended.
    ended: bool,
}

/// What works for this workload now. Each is aborted when replaced.
#[derive(Default)]
pub(super) struct Tasks {
    pub(super) operation: Option<AbortHandle>,
    pub(super) look: Option<AbortHandle>,
    pub(super) probe: Option<AbortHandle>,
    pub(super) timer: Option<AbortHandle>,
}

/// Counts a visitor at the closed gate for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

// === impl Workload ===

impl Workload {
    pub(super) fn new(spec: WorkloadSpec, shared: Arc<Shared>) -> Arc<Self> {
        let policy = Policy {
            idle: spec.idle,
            wake_timeout: spec.wake.timeout,
            cooldown: spec.wake.cooldown,
            drain: DRAIN,
        };
        let inner = Inner::default();
        let snapshot = super::snapshot_of(&shared, &inner.state);
        Arc::new(Self {
            spec,
            shared,
            gate: Gate::new(),
            life: ArcSwapOption::empty(),
            nudge: Notify::new(),
            policy,
            inner: Mutex::new(inner),
            snapshots: Snapshots::new(snapshot),
            last_left: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            looks: watch::Sender::new(0),
        })
    }

    /// Its stable name.
    pub fn name(&self) -> &WorkloadName {
        &self.spec.name
    }

    /// What the operator said of it.
    pub fn spec(&self) -> &WorkloadSpec {
        &self.spec
    }

    /// One pass through the open gate, or nothing when it is closed.
    pub fn enter(self: &Arc<Self>) -> Option<Visit> {
        if !self.gate.enter() {
            return None;
        }
        // The gate opens only after the life was written, so there is one.
        let life = self.life.load_full()?;
        Some(Visit::new(self.clone(), life))
    }

    /// A visitor wants it awake. However many ask, it is started once. Returns at once.
    pub fn wake(self: &Arc<Self>) {
        if !matches!(self.snapshots.borrow().phase, Phase::Waking | Phase::Ready) {
            self.apply(Input::Wake);
        }
    }

    /// Wakes it if need be and waits until inside. Dropping this ends the waiting, not the wake.
    pub async fn admit(self: &Arc<Self>, deadline: tokio::time::Instant) -> Result<Visit, Turned> {
        if let Some(visit) = self.enter() {
            return Ok(visit);
        }
        let _waiting = Waiting::begin(&self.waiting);
        let mut snapshots = self.snapshots.subscribe();
        loop {
            if let Some(visit) = self.enter() {
                return Ok(visit);
            }
            self.wake();
            let snapshot = snapshots.borrow_and_update().clone();
            match snapshot.phase {
                Phase::Ready => tokio::task::yield_now().await,
                Phase::Failed | Phase::Missing => {
                    return Err(Turned::Failed(self.cause(&snapshot), snapshot.retry_in()));
                }
                phase => match tokio::time::timeout_at(deadline, snapshots.changed()).await {
                    Ok(_) => {}
                    Err(_) => return Err(Turned::TimedOut(phase)),
                },
            }
        }
    }

    /// A visitor could not connect to this life although the gate was open. Returns when the
    /// provider has been asked, or after 5 s.
    pub async fn suspect(self: &Arc<Self>, generation: Generation) {
        let mut looks = self.looks.subscribe();
        looks.mark_unchanged();
        if self.snapshots.borrow().generation != generation {
            return;
        }
        self.apply(Input::Suspected(generation));
        let _ = tokio::time::timeout(SUSPICION, looks.changed()).await;
    }

    /// Follows its phases.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    /// What everybody may know of it now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Visitors held at the gate.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// As an operator sees it.
    pub fn status(&self) -> WorkloadStatus {
        let (state, visits) = (lock(&self.inner).state.clone(), self.gate.visits());
        let now = self.shared.now();
        let sleeps_in = match (state.phase(), self.policy.idle, visits) {
            (Phase::Ready, Some(idle), 0) => Some(idle.saturating_sub(self.quiet()).as_secs_f64()),
            _ => None,
        };
        WorkloadStatus {
            name: self.spec.name.clone(),
            provider: self.spec.provider.clone(),
            target: self.spec.target.handle.clone(),
            phase: state.phase(),
            generation: state.generation(),
            visits,
            waiting: self.waiting(),
            phase_seconds: now.saturating_sub(state.since()).as_secs_f64(),
            sleeps_in_seconds: sleeps_in,
            failure: state.failure().map(|failure| (**failure).clone()),
            observed: state.life().map(|life| (**life).clone()),
        }
    }

    /// Something happened: one step, its effects, and the steps that these lead to.
    pub(super) fn apply(self: &Arc<Self>, input: Input) {
        let mut inner = lock(&self.inner);
        if inner.ended {
            return;
        }
        let answered = matches!(input, Input::Looked(..));
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let from = inner.state.phase();
            let state = std::mem::take(&mut inner.state);
            let (state, effects) = step(&self.policy, state, input, self.shared.now());
            inner.state = state;
            for effect in effects {
                match effect {
                    Effect::Publish => self.publish(from, &inner.state),
                    effect => inputs.extend(self.run(effect, &mut inner.tasks)),
                }
            }
        }
        if answered {
            self.looks.send_modify(|looks| *looks += 1);
        }
    }

    /// The engine ends: nothing works for it any more, and nobody is let in.
    pub(super) fn end(&self) {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        inner.tasks = Tasks::default();
        self.gate.close();
    }

    /// One visit is over.
    pub(super) fn left(self: &Arc<Self>) {
        // Written before leaving too: who closes the gate at this moment reads this visit's end.
        if self.gate.visits() <= 1 {
            self.touch();
        }
        match self.gate.leave() {
            Left::Occupied => {}
            Left::Empty => self.touch(),
            Left::Drained => self.apply(Input::Drained),
        }
    }

    /// The idle time begins anew.
    pub(super) fn touch(&self) {
        let now = u64::try_from(self.shared.now().as_millis()).unwrap_or(u64::MAX);
        self.last_left.fetch_max(now, Ordering::Relaxed);
    }

    /// How long nobody has been inside, if nobody is.
    pub(super) fn quiet(&self) -> Duration {
        let left = Duration::from_millis(self.last_left.load(Ordering::Relaxed));
        self.shared.now().saturating_sub(left)
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.policy.idle
    }

    fn cause(&self, snapshot: &Snapshot) -> Arc<Failure> {
        snapshot.failure.clone().unwrap_or_else(|| {
            Arc::new(Failure::new(
                crate::provider::ErrorCode::NotFound,
                format!(
                    "provider {:?} knows no target {:?}",
                    self.spec.provider, self.spec.target.handle
                ),
            ))
        })
    }

    fn publish(&self, from: Phase, state: &State) {
        let snapshot = super::snapshot_of(&self.shared, state);
        let reason = snapshot.failure.as_ref().map(|failure| failure.message.clone());
        let (phase, generation) = (snapshot.phase, snapshot.generation);
        tracing::info!(
            workload = %self.spec.name,
            provider = %self.spec.provider,
            %phase,
            was = %from,
            %generation,
            reason,
            "phase"
        );
        self.snapshots.send_replace(snapshot);
        // Nobody listening is fine.
        let _ = self.shared.changes.send(PhaseChange {
            workload: self.spec.name.clone(),
            from,
            to: phase,
            generation,
            reason,
        });
    }
}

// === impl Tasks ===

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in [&self.operation, &self.look, &self.probe, &self.timer].into_iter().flatten() {
            task.abort();
        }
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
