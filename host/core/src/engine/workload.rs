//! One workload: its spec, its gate, its state and the tasks that work for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use super::{
    InstanceRecord, PhaseChange, Shared, Snapshot, WorkloadStatus,
    instance::{Instance, Instances},
    lock,
    needs::{Dependency, Hold, Wanted},
    operation_record::OperationRecord,
    pool::Pool,
};
use crate::{
    gate::Gate,
    journal::OperationKind,
    names::{Generation, Phase, WorkloadName},
    spec::{Adopt, Membership, ReadyCheck, WorkloadSpec},
    step::{Effect, Force, Input, Policy, Priority, State, step},
};

/// An operator's sleep waits so long for the visits inside.
const DRAIN: Duration = Duration::from_secs(30);
/// When something spoke against sleeping it is asked again after so long.
const VETO: Duration = Duration::from_secs(60);
/// Without a pool of its own nobody waits for a place.
const NO_QUEUE: Duration = Duration::from_secs(60);

/// One thing that sleeps and wakes. Its methods may be called from any thread.
pub struct Workload {
    pub(super) me: Weak<Workload>,
    pub(super) spec: WorkloadSpec,
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Gate,
    /// The instance that the gate leads to; written before the gate opens.
    pub(super) instance: ArcSwapOption<Instance>,
    pub(super) nudge: Notify,
    /// What it needs by its configuration.
    pub(super) needs: OnceLock<Vec<Dependency>>,
    /// What it needs by the labels that compose wrote.
    pub(super) compose: Mutex<Vec<Dependency>>,
    pub(super) pool: Option<Arc<Pool>>,
    /// What an earlier router knew of it.
    pub(super) restored: Mutex<Option<InstanceRecord>>,
    inner: Mutex<Inner>,
    snapshots: watch::Sender<Snapshot>,
    /// There is a new snapshot: those that need it are told in the order in which they asked.
    pub(super) snapshot_changed: Notify,
    /// In [`Shared::milliseconds`]: when the last one who counts left, or the gate was opened.
    pub(super) last_left: AtomicU64,
    /// It was found running, and nobody has asked for it since.
    pub(super) unrequested: AtomicBool,
    pub(super) waiting: AtomicUsize,
    /// Visits inside that do not count as use, and perhaps some that are about to come in.
    pub(super) untracked: AtomicUsize,
    /// Bytes in use by the provider's word; 0 when unknown.
    pub(super) measured: AtomicU64,
    /// The last look that was answered, so that who suspects something can wait for it.
    pub(super) looks: watch::Sender<u64>,
    /// The last question that the provider has answered with what the workload is.
    pub(super) confirmed: AtomicU64,
    /// No connection is made before the provider has answered this question or a later one; 0 when
    /// nothing has to be confirmed.
    pub(super) unconfirmed: AtomicU64,
    /// In [`Shared::milliseconds`]: when it was last looked at without a reason.
    last_polled: AtomicU64,
    /// The last look failed, and that was told.
    pub(super) status_failing: AtomicBool,
}

#[derive(Default)]
struct Inner {
    state: State,
    tasks: Tasks,
    story: Option<OperationRecord>,
    /// The story before, which what is left to do is part of.
    told: Option<OperationRecord>,
    wakes: super::operation_record::Wakes,
    /// Those that connections may lead to.
    instances: Instances,
    veto: Option<String>,
    /// Set when the engine has ended.
    ended: bool,
}

/// What works for this workload now. Each is aborted when replaced.
#[derive(Default)]
pub(super) struct Tasks {
    pub(super) operation: Option<AbortHandle>,
    pub(super) look: Option<AbortHandle>,
    pub(super) look_timer: Option<AbortHandle>,
    pub(super) probe: Option<AbortHandle>,
    pub(super) timer: Option<AbortHandle>,
    pub(super) needs: Option<AbortHandle>,
    pub(super) question: Option<AbortHandle>,
    pub(super) meter: Option<AbortHandle>,
    /// What gets the parts for a renewal.
    pub(super) fetch: Option<AbortHandle>,
    /// What it needs is kept awake by these.
    pub(super) holds: Vec<Hold>,
    /// Holds that end, and what is to be held from now on, when this workload is not locked any
    /// more: another one is never locked within this one's lock.
    pub(super) released: Vec<Hold>,
    pub(super) wanted: Option<Wanted>,
}

// === impl Workload ===

impl Workload {
    pub(super) fn new(
        spec: WorkloadSpec,
        pool: Option<Arc<Pool>>,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let inner = Inner::default();
        let snapshot = Snapshot::of(&shared, &inner.state, None);
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            spec,
            shared,
            gate: Gate::new(),
            instance: ArcSwapOption::empty(),
            nudge: Notify::new(),
            needs: OnceLock::new(),
            compose: Mutex::default(),
            pool,
            restored: Mutex::default(),
            inner: Mutex::new(inner),
            snapshots: watch::Sender::new(snapshot),
            snapshot_changed: Notify::new(),
            last_left: AtomicU64::new(0),
            unrequested: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            untracked: AtomicUsize::new(0),
            measured: AtomicU64::new(0),
            looks: watch::Sender::new(0),
            confirmed: AtomicU64::new(0),
            unconfirmed: AtomicU64::new(0),
            last_polled: AtomicU64::new(0),
            status_failing: AtomicBool::new(false),
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

    /// Follows its phases and stages.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    /// What everybody may know of it now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// As an operator sees it.
    pub fn status(&self) -> WorkloadStatus {
        let inner = lock(&self.inner);
        let (state, veto, expected) =
            (inner.state.clone(), inner.veto.clone(), inner.wakes.expected());
        drop(inner);
        let (now, visits) = (self.shared.now(), self.gate.visits());
        let kept = visits > 0 || state.is_kept_awake(Force::Drain) || self.is_unrequested();
        let sleeps_in = match (state.phase(), self.idle()) {
            (Phase::Ready, Some(idle)) if !kept => {
                Some(idle.saturating_sub(self.idle_for()).as_secs_f64())
            }
            _ => None,
        };
        let needs = self.links().into_iter().map(|link| link.workload.name().clone()).collect();
        WorkloadStatus {
            name: self.spec.name.clone(),
            provider: self.spec.provider.clone(),
            target: self.spec.target.handle.clone(),
            phase: state.phase(),
            light: state.sleeps_lightly(),
            generation: state.generation(),
            stage: state.stage().as_ref().map(ToString::to_string),
            progress: self.progress(),
            visits,
            waiting: self.waiting(),
            held: state.needed_by(),
            unrequested: self.is_unrequested(),
            needs,
            pool: self.membership().map(|membership| membership.pool.clone()),
            phase_seconds: now.saturating_sub(state.since()).as_secs_f64(),
            sleeps_in_seconds: sleeps_in,
            expected_seconds: expected.map(|expected| expected.as_secs_f64()),
            veto: veto.filter(|_| state.phase() == Phase::Ready),
            failure: state.failure().map(|failure| (**failure).clone()),
            observed: state.observation().map(|life| (**life).clone()),
        }
    }

    /// Something happened: one step, its effects, and the steps that these lead to.
    pub(super) fn apply(self: &Arc<Self>, input: Input) {
        self.apply_if(|_| true, input);
    }

    /// Something happened that matters only if it is as described; says whether it is.
    pub(super) fn apply_if(
        self: &Arc<Self>,
        matters: impl FnOnce(&State) -> bool,
        input: Input,
    ) -> bool {
        self.apply_then(matters, input, |_| ()).is_some()
    }

    /// As [`Workload::apply_if`]; returns what `then` makes of the state before it changes again.
    pub(super) fn apply_then<T>(
        self: &Arc<Self>,
        matters: impl FnOnce(&State) -> bool,
        input: Input,
        then: impl FnOnce(&State) -> T,
    ) -> Option<T> {
        let mut inner = lock(&self.inner);
        if inner.ended || !matters(&inner.state) {
            return None;
        }
        let mut rivals = Vec::new();
        let answered = match &input {
            Input::StatusResult(ticket, _) => Some(*ticket),
            _ => None,
        };
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            match &input {
                // Told late: others have come in since.
                Input::Drained if self.gate.visits() > 0 => continue,
                Input::Vetoed(_, reason) => inner.veto = Some(reason.clone()),
                Input::MaySleep(_) => inner.veto = None,
                Input::StatusResult(_, Ok(seen)) => self.forget_record_if_gone(seen),
                _ => {}
            }
            let lost = self.heard(&inner, &input, &mut rivals);
            let from = inner.state.phase();
            let policy = self.policy(&input);
            // Cloned, so that a panic leaves the state as it was.
            let (state, effects) = step(&policy, inner.state.clone(), input, self.shared.now());
            inner.state = state;
            let mut opened = false;
            for effect in effects {
                opened |= matches!(effect, Effect::OpenGate(_));
                match effect {
                    Effect::Publish => self.publish(from, &inner),
                    Effect::BeginRecord(kind, cause) => {
                        if kind != OperationKind::Sleep {
                            inner.veto = None;
                        }
                        let generation = inner.state.generation();
                        inner.story = Some(OperationRecord::begin(kind, &cause, generation, self));
                    }
                    Effect::EndRecord(outcome) => {
                        if let Some(story) = inner.story.take() {
                            inner.wakes.learn(&story, outcome.is_ok());
                            let failure = outcome.err().map(|failure| (*failure).clone());
                            self.record(
                                &story,
                                inner.state.observation().map(|life| &**life),
                                failure,
                            );
                            inner.told = Some(story);
                        }
                    }
                    effect => {
                        let Inner { tasks, story, told, .. } = &mut *inner;
                        let story = story.as_ref().or(told.as_ref());
                        inputs.extend(self.run(effect, tasks, story));
                    }
                }
            }
            let Inner { state, instances, .. } = &mut *inner;
            if opened {
                instances.extend(self.instance.load_full());
            }
            instances.settle(state, &lost);
        }
        let then = then(&inner.state);
        let released = std::mem::take(&mut inner.tasks.released);
        let wanted = inner.tasks.wanted.take();
        drop(inner);
        drop(released);
        for rival in rivals {
            if !std::ptr::eq(&*rival, &**self) {
                tracing::info!(
                    workload = %rival.name(), provider = %rival.spec.provider,
                    holder = %self.spec.name,
                    "another workload has its address, asking the provider"
                );
            }
            rival.require_confirmation();
        }
        if let Some(ticket) = answered {
            self.looks.send_modify(|answered| *answered = ticket.max(*answered));
        }
        if let Some(wanted) = wanted {
            self.hold_needs(&wanted);
        }
        Some(then)
    }

    /// What an input says of instances and addresses, before the step is taken: the generations
    /// that have ended, and other workloads that may have lost their addresses to this one.
    fn heard(&self, inner: &Inner, input: &Input, rivals: &mut Vec<Arc<Self>>) -> Vec<Generation> {
        if let Input::Changed(seen) = input {
            rivals.extend(self.shared.address_table.other_holders(self, seen));
        }
        let Some((question, seen)) = inner.state.counted_result(input) else { return Vec::new() };
        let others = self.shared.address_table.claim(self, seen);
        self.confirm_by(question);
        if !others.is_empty() {
            // What was asked earlier may be answered later: this answer may be the older one.
            rivals.extend(others);
            rivals.extend(self.weak().upgrade());
        }
        inner.instances.lost(seen)
    }

    /// Changes what works for this life, if it still is the one and holds what it needs.
    pub(super) fn within_life<T>(
        &self,
        generation: Generation,
        change: impl FnOnce(&mut Tasks) -> T,
    ) -> Option<T> {
        let mut inner = lock(&self.inner);
        let lives = inner.state.holds_needs() && inner.state.generation() == generation;
        if !lives || inner.ended {
            drop(inner);
            return None;
        }
        Some(change(&mut inner.tasks))
    }

    /// Looks at its state and changes what works for it, unless it has ended.
    pub(super) fn with_tasks<T>(&self, change: impl FnOnce(&State, &mut Tasks) -> T) -> Option<T> {
        let mut inner = lock(&self.inner);
        let Inner { state, tasks, ended, .. } = &mut *inner;
        (!*ended).then(|| change(state, tasks))
    }

    /// Whoever follows it looks again.
    pub(super) fn tell_watchers(&self) {
        self.snapshots.send_modify(|_| ());
    }

    /// The engine ends: nothing works for it any more, nobody is let in, and whoever waits is told.
    pub(super) fn end(&self) {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        let tasks = std::mem::take(&mut inner.tasks);
        drop(inner);
        drop(tasks);
        self.gate.close();
        self.tell_watchers();
        self.snapshot_changed.notify_waiters();
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.spec.idle
    }

    /// Nothing works for it any more.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.inner).ended
    }

    pub(super) fn state(&self) -> State {
        lock(&self.inner).state.clone()
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    pub(super) fn membership(&self) -> Option<&Membership> {
        self.spec.pool.as_ref()
    }

    /// How long nobody has looked at it without a reason.
    pub(super) fn since_last_poll(&self) -> Duration {
        let last = self.last_polled.load(Ordering::Relaxed);
        Duration::from_millis(self.shared.milliseconds().saturating_sub(last))
    }

    /// Looks at it, without a reason.
    pub(super) fn poll(self: &Arc<Self>) {
        self.last_polled.store(self.shared.milliseconds(), Ordering::Relaxed);
        // One that is on its way tells as much.
        let unrequested = |state: &State| state.pending_query().is_none();
        self.apply_if(unrequested, Input::QueryStatus(Priority::Routine));
    }

    pub(super) fn is_job(&self) -> bool {
        self.spec.ready == ReadyCheck::Completed
    }

    /// What the operator wants at this moment: what it needs may have become known just now.
    fn policy(&self, input: &Input) -> Policy {
        let patience = |pool: &Arc<Pool>| pool.spec().queue_timeout;
        let queue = self.pool.as_ref().map_or(NO_QUEUE, patience);
        let needs = self.all_needs().into_iter().map(|other| {
            let queue = other.pool.as_ref().map_or(Duration::ZERO, patience);
            other.spec.wake.timeout.saturating_add(queue)
        });
        let adopt = match input {
            // Somebody asked for it: the router before this one was there.
            Input::StatusResult(_, Ok(seen)) if self.is_restored(seen) => Adopt::Sleep,
            _ => self.spec.adopt,
        };
        Policy {
            idle: self.spec.idle,
            wake_timeout: self.spec.wake.timeout,
            queue_timeout: queue,
            needs_timeout: needs.fold(NO_QUEUE, Duration::saturating_add),
            cooldown: self.spec.wake.cooldown,
            drain_timeout: DRAIN,
            deep_after: self.spec.deep_sleep.as_ref().map(|deeper| deeper.after),
            veto_retry: self.spec.idle.map_or(VETO, |idle| idle.min(VETO)),
            adopt,
            job: self.is_job(),
        }
    }

    fn publish(&self, from: Phase, inner: &Inner) {
        let state = &inner.state;
        let snapshot = Snapshot::of(&self.shared, state, inner.wakes.expected());
        let before = self.snapshots.send_replace(snapshot);
        self.snapshot_changed.notify_waiters();
        let (phase, generation) = (state.phase(), state.generation());
        let reason = state.failure().map(|failure| failure.message.clone());
        if from == phase
            && before.generation == generation
            && before.failure == state.failure().cloned()
        {
            return;
        }
        let correlation = inner.story.as_ref().map(|story| story.correlation);
        tracing::info!(
            workload = %self.spec.name,
            provider = %self.spec.provider,
            %phase,
            %from,
            %generation,
            correlation = correlation.map(tracing::field::display),
            reason,
            "phase changed"
        );
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

impl Tasks {
    pub(super) fn is_fetching(&self) -> bool {
        self.fetch.as_ref().is_some_and(|fetch| !fetch.is_finished())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let all = [&self.operation, &self.look, &self.look_timer, &self.probe];
        let more = [&self.timer, &self.needs, &self.question, &self.meter, &self.fetch];
        for task in all.into_iter().chain(more).flatten() {
            task.abort();
        }
    }
}
