//! One workload: its configuration and the parts that run it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use super::{
    Shared, Snapshot, WorkloadStatus,
    admission::Admission,
    dependencies::Dependencies,
    eviction::MeasuredMemory,
    pool::Pool,
    restore::Restored,
    runner::{Runner, RunnerStatus},
    status_queries::StatusQueries,
};
use crate::{
    names::{Phase, WorkloadName},
    spec::{Membership, ReadyCheck, WorkloadSpec},
    step::{Force, State},
};

/// One thing that sleeps and wakes. Its methods may be called from any thread.
pub struct Workload {
    me: Weak<Workload>,
    pub(super) spec: WorkloadSpec,
    pub(super) shared: Arc<Shared>,
    pub(super) admission: Admission,
    pub(super) runner: Runner,
    pub(super) dependencies: Dependencies,
    pub(super) queries: StatusQueries,
    pub(super) restored: Restored,
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) memory: MeasuredMemory,
    /// Ends the pause before the next probe.
    pub(super) probe_now: Notify,
}

impl Workload {
    pub(super) fn new(
        spec: WorkloadSpec,
        pool: Option<Arc<Pool>>,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            spec,
            admission: Admission::new(shared.uptime),
            runner: Runner::new(&shared),
            dependencies: Dependencies::default(),
            queries: StatusQueries::new(),
            restored: Restored::default(),
            pool,
            memory: MeasuredMemory::default(),
            probe_now: Notify::new(),
            shared,
        })
    }

    /// Its stable name.
    pub fn name(&self) -> &WorkloadName {
        &self.spec.name
    }

    /// Its configuration.
    pub fn spec(&self) -> &WorkloadSpec {
        &self.spec
    }

    /// Follows its phases and stages.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.runner.watch()
    }

    /// Its public state now.
    pub fn snapshot(&self) -> Snapshot {
        self.runner.snapshot()
    }

    /// Its state for operators.
    pub fn status(&self) -> WorkloadStatus {
        let RunnerStatus { state, veto, expected } = self.runner.status();
        let (now, visits) = (self.shared.uptime.now(), self.admission.visits());
        let unrequested = self.admission.is_unrequested();
        let kept = visits > 0 || state.is_kept_awake(Force::Drain) || unrequested;
        let sleeps_in = match (state.phase(), self.spec.idle) {
            (Phase::Ready, Some(idle)) if !kept => {
                Some(idle.saturating_sub(self.admission.idle_for()).as_secs_f64())
            }
            _ => None,
        };
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
            unrequested,
            needs: self.needs().into_iter().map(|(needed, _)| needed.name().clone()).collect(),
            pool: self.membership().map(|membership| membership.pool.clone()),
            phase_seconds: now.saturating_sub(state.since()).as_secs_f64(),
            sleeps_in_seconds: sleeps_in,
            expected_seconds: expected.map(|expected| expected.as_secs_f64()),
            veto: veto.filter(|_| state.phase() == Phase::Ready),
            failure: state.failure().map(|failure| (**failure).clone()),
            observed: state.observation().map(|life| (**life).clone()),
        }
    }

    /// The provider's own report on the call for this workload that is in flight, such as the
    /// progress of an image pull. None when there is no such call, or it has reported nothing.
    pub fn progress(&self) -> Option<String> {
        self.shared.provider(&self.spec.provider).ok()?.progress(&self.spec.target)
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.spec.idle
    }

    /// Returns whether the engine has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.runner.has_ended()
    }

    pub(super) fn state(&self) -> State {
        self.runner.state()
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    pub(super) fn membership(&self) -> Option<&Membership> {
        self.spec.pool.as_ref()
    }

    pub(super) fn is_job(&self) -> bool {
        self.spec.ready == ReadyCheck::Completed
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.shared.runtime.spawn(work).abort_handle()
    }
}
