//! The runtime around the phase machine: it keeps the workloads, feeds [`step`](crate::step) with
//! what happens and carries out what it answers.
//!
//! A sleeping workload costs an entry here and nothing else: no task, no timer. A waking one has
//! a provider call or a probe and a deadline; a ready one has its idle timer. Tasks belong to the
//! workload and end with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    runtime::Handle,
    sync::{broadcast, watch},
    task::AbortHandle,
};

use crate::{
    probe::Prober,
    provider::{ErrorCode, Failure, Observation, Provider, ProviderEvent},
    spec::WorkloadSpec,
    step::{Input, Moment},
    words::{Generation, Phase, ProviderName, WorkloadName},
};

mod effects;
mod visit;
mod workload;

pub use visit::{Turned, Visit};
pub use workload::Workload;

/// Phase changes that a slow listener may be behind before it misses some.
const CHANGES: usize = 1024;

/// Keeps the workloads of one router and the providers that control them.
pub struct Engine {
    shared: Arc<Shared>,
    workloads: RwLock<BTreeMap<WorkloadName, Arc<Workload>>>,
    /// The workloads behind each provider's handles, so that an event finds its own.
    targets: RwLock<HashMap<ProviderName, Targets>>,
    watches: Mutex<Vec<AbortHandle>>,
}

/// What all workloads use.
pub(crate) struct Shared {
    runtime: Handle,
    prober: Arc<dyn Prober>,
    providers: RwLock<HashMap<ProviderName, Arc<dyn Provider>>>,
    changes: broadcast::Sender<PhaseChange>,
    began: tokio::time::Instant,
}

/// What everybody may know of a workload at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where it is in its life.
    pub phase: Phase,
    /// Which life.
    pub generation: Generation,
    /// Why the last wake or sleep went wrong.
    pub failure: Option<Arc<Failure>>,
    /// When it entered the phase.
    pub since: Instant,
    /// Until then visitors are told of the failure and nothing is tried.
    pub rest_until: Option<Instant>,
}

/// A workload went from one phase to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseChange {
    /// Which workload.
    pub workload: WorkloadName,
    /// Where it was.
    pub from: Phase,
    /// Where it is.
    pub to: Phase,
    /// Which life.
    pub generation: Generation,
    /// What went wrong, if something did.
    pub reason: Option<String>,
}

/// A workload as an operator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Stable name.
    pub name: WorkloadName,
    /// Who controls it.
    pub provider: ProviderName,
    /// The provider's handle for it.
    pub target: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Which life.
    pub generation: Generation,
    /// Visits inside.
    pub visits: u64,
    /// Visitors held at the gate.
    pub waiting: usize,
    /// Seconds in this phase.
    pub phase_seconds: f64,
    /// Seconds until it sleeps if nobody comes; absent while somebody is inside.
    pub sleeps_in_seconds: Option<f64>,
    /// Why the last wake or sleep went wrong.
    pub failure: Option<Failure>,
    /// What the provider said when this life began.
    pub observed: Option<Observation>,
}

// === impl Engine ===

impl Engine {
    /// An engine without workloads. Providers and probes run on `runtime`, which must not be a
    /// runtime of the data path.
    pub fn new(runtime: Handle, prober: Arc<dyn Prober>) -> Arc<Self> {
        let shared = Shared {
            runtime,
            prober,
            providers: RwLock::default(),
            changes: broadcast::Sender::new(CHANGES),
            began: tokio::time::Instant::now(),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
            workloads: RwLock::default(),
            targets: RwLock::default(),
            watches: Mutex::default(),
        })
    }

    /// Takes a provider and begins to listen to it.
    pub fn add_provider(self: &Arc<Self>, provider: Arc<dyn Provider>) {
        let name = provider.name().clone();
        write(&self.shared.providers).insert(name.clone(), provider.clone());
        let engine = Arc::downgrade(self);
        let watch = self.shared.runtime.spawn(async move {
            let mut events = provider.watch();
            while let Some(event) = events.recv().await {
                let Some(engine) = engine.upgrade() else { return };
                engine.provider_event(&name, event);
            }
        });
        lock(&self.watches).push(watch.abort_handle());
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<Arc<dyn Provider>> {
        read(&self.shared.providers).get(name).cloned()
    }

    /// Every provider, by name.
    pub fn providers(&self) -> Vec<Arc<dyn Provider>> {
        let mut all: Vec<_> = read(&self.shared.providers).values().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// Takes a workload; it is asleep until the provider says otherwise. `conflict` when the name
    /// is taken.
    pub fn add_workload(self: &Arc<Self>, spec: WorkloadSpec) -> Result<Arc<Workload>, Failure> {
        let mut workloads = write(&self.workloads);
        if workloads.contains_key(&spec.name) {
            return Err(Failure::new(
                ErrorCode::Conflict,
                format!("workload {:?} exists already: give one of them another name", spec.name),
            ));
        }
        let workload = Workload::new(spec, self.shared.clone());
        workloads.insert(workload.name().clone(), workload.clone());
        write(&self.targets)
            .entry(workload.spec().provider.clone())
            .or_default()
            .entry(workload.spec().target.handle.clone())
            .or_default()
            .push(workload.clone());
        Ok(workload)
    }

    /// The workload of this name.
    pub fn workload(&self, name: &str) -> Option<Arc<Workload>> {
        read(&self.workloads).get(name).cloned()
    }

    /// Every workload, by name.
    pub fn workloads(&self) -> Vec<Arc<Workload>> {
        read(&self.workloads).values().cloned().collect()
    }

    /// Every workload as an operator sees it, by name.
    pub fn status(&self) -> Vec<WorkloadStatus> {
        self.workloads().iter().map(|workload| workload.status()).collect()
    }

    /// An operator wants it awake: a cool-down does not count. Returns at once; `not_found` when
    /// there is no such workload.
    pub fn wake(&self, name: &str) -> Result<(), Failure> {
        self.named(name)?.apply(Input::OperatorWake);
        Ok(())
    }

    /// An operator wants it asleep: visits inside are waited for a while. Returns at once;
    /// `not_found` when there is no such workload.
    pub fn sleep(&self, name: &str) -> Result<(), Failure> {
        self.named(name)?.apply(Input::OperatorSleep);
        Ok(())
    }

    /// Asks the providers for the state of every workload; what runs is adopted.
    pub fn reconcile(self: &Arc<Self>) {
        for workload in self.workloads() {
            workload.apply(Input::Look);
        }
    }

    /// Phase changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<PhaseChange> {
        self.shared.changes.subscribe()
    }

    fn named(&self, name: &str) -> Result<Arc<Workload>, Failure> {
        self.workload(name).ok_or_else(|| {
            Failure::new(
                ErrorCode::NotFound,
                format!("there is no workload {name:?}: `drowse status` lists them"),
            )
        })
    }

    fn provider_event(&self, provider: &ProviderName, event: ProviderEvent) {
        for (workload, input) in self.concerned(provider, event) {
            workload.apply(input);
        }
    }

    fn concerned(
        &self,
        provider: &ProviderName,
        event: ProviderEvent,
    ) -> Vec<(Arc<Workload>, Input)> {
        let targets = read(&self.targets);
        let Some(handles) = targets.get(provider) else { return Vec::new() };
        match event {
            ProviderEvent::Synced => {
                handles.values().flatten().map(|w| (w.clone(), Input::Look)).collect()
            }
            ProviderEvent::Changed(seen) => handles
                .get(&seen.handle)
                .into_iter()
                .flatten()
                .map(|w| (w.clone(), Input::Changed(seen.clone())))
                .collect(),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for watch in lock(&self.watches).drain(..) {
            watch.abort();
        }
        for workload in read(&self.workloads).values() {
            workload.end();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn at(&self, moment: Moment) -> Instant {
        (self.began + moment).into_std()
    }

    fn provider(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, Failure> {
        read(&self.providers).get(name).cloned().ok_or_else(|| {
            Failure::new(
                ErrorCode::Unavailable,
                format!("provider {name:?} is not configured: add [provider.{name}]"),
            )
        })
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// What is left of the time in which nothing is tried.
    pub fn retry_in(&self) -> Option<Duration> {
        let until = self.rest_until?;
        Some(until.saturating_duration_since(tokio::time::Instant::now().into_std()))
            .filter(|left| !left.is_zero())
    }
}

// A panic while one of these locks is held leaves plain data behind; the machine goes on.

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn snapshot_of(shared: &Shared, state: &crate::step::State) -> Snapshot {
    Snapshot {
        phase: state.phase(),
        generation: state.generation(),
        failure: state.failure().cloned(),
        since: shared.at(state.since()),
        rest_until: state.rest_until().map(|until| shared.at(until)),
    }
}

type Snapshots = watch::Sender<Snapshot>;
type Targets = HashMap<String, Vec<Arc<Workload>>>;

#[cfg(all(test, not(drowse_loom)))]
mod tests;
