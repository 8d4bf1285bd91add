//! Runs the phase machine of one workload: takes its steps one at a time, starts their effects and
//! publishes what changed.
//!
//! A step is taken under the runner's lock, with its journal entries and its snapshot, so that both
//! are in the order of the steps and a journal entry is there before the snapshot that follows
//! from it. Tasks of the engine's runtime take that lock; visits of the data path do not, except
//! for [`Workload::wake`].

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified, watch},
    task::AbortHandle,
};

use super::{
    PhaseChange, Shared, Snapshot, Workload,
    instance::Instances,
    lock,
    needs::NeedHolds,
    operation_record::{OperationRecord, WakeDurations},
    pool::Pool,
};
use crate::{
    journal::OperationKind,
    names::{Generation, Phase},
    spec::Adopt,
    step::{Effect, Input, Policy, State, step},
};

/// Time that an operator's sleep waits for the visits inside.
const DRAIN: Duration = Duration::from_secs(30);
/// Maximum delay before a vetoed sleep is tried again.
const VETO_RETRY: Duration = Duration::from_secs(60);
/// Time limit for a pool slot or dependencies of a workload that has none.
const NO_QUEUE: Duration = Duration::from_secs(60);

/// The phase machine of one workload and all that follows from its state.
pub(super) struct Runner {
    inner: Mutex<Inner>,
    snapshots: watch::Sender<Snapshot>,
    /// Notified after each new snapshot, in the order of registration.
    published: Notify,
    /// The engine has ended: no step is taken any more. Written under the lock of `inner`.
    ended: AtomicBool,
}

#[derive(Default)]
struct Inner {
    state: State,
    tasks: Tasks,
    /// The operation in progress.
    record: Option<OperationRecord>,
    /// The operation before it, which later calls of its clean-up belong to.
    last_record: Option<OperationRecord>,
    wakes: WakeDurations,
    /// Instances that connections may lead to.
    instances: Instances,
    /// Why the last attempt to sleep was vetoed.
    veto: Option<String>,
}

/// Background tasks of one workload. Each is aborted when replaced, and all when dropped.
#[derive(Default)]
pub(super) struct Tasks {
    pub(super) operation: Option<AbortHandle>,
    pub(super) status: Option<AbortHandle>,
    pub(super) status_timer: Option<AbortHandle>,
    pub(super) probe: Option<AbortHandle>,
    pub(super) timer: Option<AbortHandle>,
    pub(super) needs_wait: Option<AbortHandle>,
    pub(super) vetoes: Option<AbortHandle>,
    pub(super) memory_meter: Option<AbortHandle>,
    /// Fetches the image for a renewal.
    pub(super) fetch: Option<AbortHandle>,
    pub(super) needs: NeedHolds,
}

/// State of a runner for operators.
pub(super) struct RunnerStatus {
    pub(super) state: State,
    pub(super) veto: Option<String>,
    /// Expected duration of a wake.
    pub(super) expected: Option<Duration>,
}

// === impl Runner ===

impl Runner {
    pub(super) fn new(shared: &Shared) -> Self {
        let inner = Inner::default();
        let snapshot = Snapshot::of(shared, &inner.state, None);
        Self {
            inner: Mutex::new(inner),
            snapshots: watch::Sender::new(snapshot),
            published: Notify::new(),
            ended: AtomicBool::new(false),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Phase of the last snapshot.
    pub(super) fn phase(&self) -> Phase {
        self.snapshots.borrow().phase
    }

    /// Resolves at the next new snapshot after the future was enabled.
    pub(super) fn published(&self) -> Notified<'_> {
        self.published.notified()
    }

    pub(super) fn state(&self) -> State {
        lock(&self.inner).state.clone()
    }

    pub(super) fn status(&self) -> RunnerStatus {
        let inner = lock(&self.inner);
        RunnerStatus {
            state: inner.state.clone(),
            veto: inner.veto.clone(),
            expected: inner.wakes.expected(),
        }
    }

    /// Returns whether the engine has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Wakes watchers of the snapshot although it is unchanged.
    pub(super) fn notify_watchers(&self) {
        self.snapshots.send_modify(|_| ());
    }

    /// Aborts all tasks and takes no step from now on.
    fn end(&self) {
        let mut inner = lock(&self.inner);
        self.ended.store(true, Ordering::Release);
        let tasks = std::mem::take(&mut inner.tasks);
        drop(inner);
        drop(tasks);
        self.notify_watchers();
        self.published.notify_waiters();
    }

    fn lock(&self) -> Option<MutexGuard<'_, Inner>> {
        let inner = lock(&self.inner);
        (!self.has_ended()).then_some(inner)
    }
}

// === impl Workload ===

impl Workload {
    /// Runs a step on the engine's runtime, so that no thread of the data path takes the runner's
    /// lock. None when the runtime has shut down.
    pub(super) async fn on_engine<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Option<T> {
        let workload = self.clone();
        self.shared.runtime.spawn(async move { run(&workload) }).await.ok()
    }

    /// Takes one step, starts its effects, and takes the steps that these lead to.
    pub(super) fn apply(self: &Arc<Self>, input: Input) {
        self.apply_if(|_| true, input);
    }

    /// As [`Workload::apply`] if the state matches; returns whether it does.
    pub(super) fn apply_if(
        self: &Arc<Self>,
        matches: impl FnOnce(&State) -> bool,
        input: Input,
    ) -> bool {
        self.apply_then(matches, input, |_| ()).is_some()
    }

    /// As [`Workload::apply_if`]; returns the result of `then` on the state after the steps.
    pub(super) fn apply_then<T>(
        self: &Arc<Self>,
        matches: impl FnOnce(&State) -> bool,
        input: Input,
        then: impl FnOnce(&State) -> T,
    ) -> Option<T> {
        let mut inner = self.runner.lock()?;
        if !matches(&inner.state) {
            return None;
        }
        let mut rivals = Vec::new();
        let mut releases = false;
        let query = match &input {
            Input::StatusResult(ticket, _) => Some(*ticket),
            _ => None,
        };
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            match &input {
                // Late: other visitors have entered since.
                Input::Drained if self.admission.visits() > 0 => continue,
                Input::Vetoed(_, reason) => inner.veto = Some(reason.clone()),
                Input::MaySleep(_) => inner.veto = None,
                Input::StatusResult(_, Ok(seen)) => self.restored.forget_if_gone(seen),
                _ => {}
            }
            let lost = self.track_addresses(&inner, &input, &mut rivals);
            let from = inner.state.phase();
            let policy = self.policy(&input);
            // Cloned, so that a panic leaves the state as it was.
            let now = self.shared.uptime.now();
            let (state, effects) = step(&policy, inner.state.clone(), input, now);
            inner.state = state;
            let mut opened = false;
            for effect in effects {
                opened |= matches!(effect, Effect::OpenGate(_));
                match effect {
                    Effect::Publish => releases |= self.publish(from, &inner),
                    Effect::BeginRecord(kind, cause) => {
                        if kind != OperationKind::Sleep {
                            inner.veto = None;
                        }
                        let generation = inner.state.generation();
                        inner.record = Some(OperationRecord::begin(kind, &cause, generation, self));
                    }
                    Effect::EndRecord(outcome) => {
                        if let Some(record) = inner.record.take() {
                            inner.wakes.add(&record, outcome.is_ok());
                            let failure = outcome.err().map(|failure| (*failure).clone());
                            self.record(
                                &record,
                                inner.state.observation().map(|life| &**life),
                                failure,
                            );
                            inner.last_record = Some(record);
                        }
                    }
                    effect => {
                        let Inner { tasks, record, last_record, .. } = &mut *inner;
                        let record = record.as_ref().or(last_record.as_ref());
                        inputs.extend(self.run(effect, tasks, record));
                    }
                }
            }
            let Inner { state, instances, .. } = &mut *inner;
            if opened {
                instances.extend(self.admission.instance());
            }
            instances.settle(state, &lost);
        }
        let then = then(&inner.state);
        let (released, requested) = inner.tasks.needs.take_pending();
        drop(inner);
        if releases {
            self.admission.release();
        }
        drop(released);
        for rival in rivals {
            if !std::ptr::eq(&*rival, &**self) {
                tracing::info!(
                    workload = %rival.name(), provider = %rival.spec.provider,
                    holder = %self.spec.name,
                    "another workload has its address, asking the provider"
                );
            }
            rival.query_for_confirmation();
        }
        if let Some(query) = query {
            self.queries.ended(query);
        }
        if let Some(request) = requested {
            self.hold_needs(&request);
        }
        Some(then)
    }

    /// Updates the address table by an input, before its step. Returns the generations that have
    /// ended, and adds the workloads that may have lost their addresses to `rivals`.
    fn track_addresses(
        &self,
        inner: &Inner,
        input: &Input,
        rivals: &mut Vec<Arc<Self>>,
    ) -> Vec<Generation> {
        if let Input::Changed(seen) = input {
            rivals.extend(self.shared.addresses.other_holders(self, seen));
        }
        let Some((ticket, seen)) = inner.state.counted_result(input) else { return Vec::new() };
        let others = self.shared.addresses.claim(self, seen);
        self.queries.observed(ticket);
        if !others.is_empty() {
            // This answer may be older than one to a query that was sent earlier.
            rivals.extend(others);
            rivals.extend(self.weak().upgrade());
        }
        inner.instances.lost(seen)
    }

    /// Changes the tasks if the workload is still in this generation and holds its dependencies.
    pub(super) fn within_generation<T>(
        &self,
        generation: Generation,
        change: impl FnOnce(&mut Tasks) -> T,
    ) -> Option<T> {
        let mut inner = self.runner.lock()?;
        let current = inner.state.holds_needs() && inner.state.generation() == generation;
        if !current {
            // Unlocked first: what `change` holds is dropped with it, and may lock other workloads.
            drop(inner);
            return None;
        }
        Some(change(&mut inner.tasks))
    }

    /// Changes the tasks according to the state; none when the engine has ended.
    pub(super) fn with_tasks<T>(&self, change: impl FnOnce(&State, &mut Tasks) -> T) -> Option<T> {
        let mut inner = self.runner.lock()?;
        let Inner { state, tasks, .. } = &mut *inner;
        Some(change(state, tasks))
    }

    /// The engine ends: tasks are aborted, the gate closes, and every held visitor is refused.
    pub(super) fn end(&self) {
        self.runner.end();
        self.admission.close();
        self.admission.release();
    }

    /// The policy of the next step. Dependencies may have been discovered since the last one.
    fn policy(&self, input: &Input) -> Policy {
        let queue_timeout = |pool: &Arc<Pool>| pool.spec().queue_timeout;
        let queue = self.pool.as_ref().map_or(NO_QUEUE, queue_timeout);
        let needs = self.all_needs().into_iter().map(|other| {
            let queue = other.pool.as_ref().map_or(Duration::ZERO, queue_timeout);
            other.spec.wake.timeout.saturating_add(queue)
        });
        let adopt = match input {
            // The router before this one had started it for a visitor.
            Input::StatusResult(_, Ok(seen)) if self.restored.matches(seen) => Adopt::Sleep,
            _ => self.spec.adopt,
        };
        Policy {
            idle: self.spec.idle,
            wake_timeout: self.spec.wake.timeout,
            queue_timeout: queue,
            needs_timeout: needs.fold(NO_QUEUE, Duration::saturating_add),
            cooldown: self.spec.wake.cooldown,
            drain_timeout: DRAIN,
            deep_after: self.spec.deep_sleep.as_ref().map(|deep_sleep| deep_sleep.after),
            veto_retry: self.spec.idle.map_or(VETO_RETRY, |idle| idle.min(VETO_RETRY)),
            adopt,
            job: self.is_job(),
        }
    }

    /// Publishes the state; returns whether held visitors are to be released.
    fn publish(&self, from: Phase, inner: &Inner) -> bool {
        let state = &inner.state;
        let snapshot = Snapshot::of(&self.shared, state, inner.wakes.expected());
        let releases = !snapshot.is_wake_pending();
        let before = self.runner.snapshots.send_replace(snapshot);
        self.runner.published.notify_waiters();
        let (phase, generation) = (state.phase(), state.generation());
        let reason = state.failure().map(|failure| failure.message.clone());
        if from == phase
            && before.generation == generation
            && before.failure == state.failure().cloned()
        {
            return releases;
        }
        let correlation = inner.record.as_ref().map(|record| record.correlation);
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
        // An error means that there is no subscriber.
        let _ = self.shared.changes.send(PhaseChange {
            workload: self.spec.name.clone(),
            from,
            to: phase,
            generation,
            reason,
        });
        releases
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
        let all = [&self.operation, &self.status, &self.status_timer, &self.probe, &self.timer];
        let more = [&self.needs_wait, &self.vetoes, &self.memory_meter, &self.fetch];
        for task in all.into_iter().chain(more).flatten() {
            task.abort();
        }
    }
}
