//! The runtime around the phase machine: it keeps the workloads, feeds [`step`](crate::step) with
//! inputs and carries out its effects.
//!
//! A sleeping workload costs an entry here, and neither a task nor a timer. A waking one has a
//! provider call or a probe and a deadline; a ready one has its idle timer. Tasks belong to the
//! workload and end with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::SystemTime,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, broadcast, watch},
    task::AbortHandle,
};

use crate::{
    journal::{Cause, Journal},
    names::{Phase, PoolName, ProviderName, WorkloadName},
    need::Need,
    probe::Prober,
    provider::{ErrorCode, Failure, Provider, ProviderEvent},
    spec::{PoolSpec, WorkloadSpec},
    step::{Force, Input, Renewal, State},
};

mod address_table;
mod admission;
mod dependencies;
mod dial;
mod discovery;
mod effects;
mod eviction;
mod instance;
mod needs;
mod operation_record;
mod pool;
mod readiness;
mod renewal;
mod restore;
mod resync;
mod routine;
mod runner;
mod scheduler;
mod snapshot;
mod status_queries;
mod uptime;
mod vetoes;
mod visit;
mod workload;

pub use dependencies::find_cycle;
pub use instance::Instance;
pub use pool::PoolStatus;
pub use restore::InstanceRecord;
pub use snapshot::{PhaseChange, Snapshot, WorkloadStatus};
pub use status_queries::Confirmation;
pub use visit::{AdmitError, Visit};
pub use workload::Workload;

use address_table::AddressTable;
use dependencies::Dependency;
use discovery::Groups;
use pool::Pool;
use renewal::RenewalOrder;
use resync::Resync;
use uptime::Uptime;

/// Maximum phase changes buffered for a slow subscriber; older ones are dropped.
const CHANGES: usize = 1024;

/// Keeps the workloads of one router and the providers that control them.
pub struct Engine {
    shared: Arc<Shared>,
    workloads: RwLock<BTreeMap<WorkloadName, Arc<Workload>>>,
    pools: RwLock<BTreeMap<PoolName, Arc<Pool>>>,
    /// The engine's own tasks: a watch and a resync per provider, a server per pool, the scheduler.
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Dependencies of the engine.
pub struct EngineDeps {
    /// Runs providers, probes and timers; not a runtime of the data path.
    pub runtime: Handle,
    /// Probes workloads from outside.
    pub prober: Arc<dyn Prober>,
    /// Takes an entry for every operation.
    pub journal: Arc<dyn Journal>,
    /// The time of day, for schedules and the journal.
    pub clock: Clock,
}

/// Returns the time of day.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Shared by all workloads.
pub(crate) struct Shared {
    runtime: Handle,
    prober: Arc<dyn Prober>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    uptime: Uptime,
    providers: RwLock<BTreeMap<ProviderName, Arc<dyn Provider>>>,
    /// Providers that are still being loaded, or were.
    expected: RwLock<BTreeSet<ProviderName>>,
    /// Notified when a provider is added.
    arrivals: watch::Sender<()>,
    resyncs: RwLock<BTreeMap<ProviderName, Arc<Resync>>>,
    /// Permits for routine calls per provider.
    routine: RwLock<BTreeMap<ProviderName, Arc<Semaphore>>>,
    /// Workloads by provider and handle, for events.
    targets: RwLock<BTreeMap<ProviderName, Targets>>,
    groups: Mutex<Groups>,
    addresses: AddressTable,
    changes: broadcast::Sender<PhaseChange>,
}

/// Workloads by the handle of their target.
type Targets = BTreeMap<String, Vec<Weak<Workload>>>;

// === impl Engine ===

impl Engine {
    /// An engine without workloads.
    pub fn new(deps: EngineDeps) -> Arc<Self> {
        let shared = Shared {
            runtime: deps.runtime,
            prober: deps.prober,
            journal: deps.journal,
            clock: deps.clock,
            uptime: Uptime::begin(),
            providers: RwLock::default(),
            expected: RwLock::default(),
            arrivals: watch::Sender::new(()),
            resyncs: RwLock::default(),
            routine: RwLock::default(),
            targets: RwLock::default(),
            groups: Mutex::default(),
            addresses: AddressTable::default(),
            changes: broadcast::Sender::new(CHANGES),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
            workloads: RwLock::default(),
            pools: RwLock::default(),
            tasks: Mutex::default(),
        })
    }

    /// Announces a provider that is being loaded: until it is added, starts and stops wait for it,
    /// and status queries fail with `unavailable`.
    pub fn expect_provider(&self, name: ProviderName) {
        write(&self.shared.expected).insert(name);
    }

    /// Adds a provider and begins to watch it. Called once for each name.
    pub fn add_provider(&self, provider: Arc<dyn Provider>) {
        let name = provider.name().clone();
        write(&self.shared.routine).insert(name.clone(), routine::permits(provider.calls()));
        write(&self.shared.providers).insert(name.clone(), provider.clone());
        self.shared.arrivals.send_replace(());
        let shared = Arc::downgrade(&self.shared);
        let resync = Resync::new();
        write(&self.shared.resyncs).insert(name.clone(), resync.clone());
        self.keep(self.shared.runtime.spawn(resync.serve(name.clone(), shared.clone())));
        self.keep(self.shared.runtime.spawn(async move {
            let mut events = provider.watch();
            while let Some(event) = events.recv().await {
                let Some(shared) = shared.upgrade() else { return };
                shared.provider_event(&name, &event);
            }
        }));
    }

    /// Adds a pool, before the workloads that belong to it.
    pub fn add_pool(&self, spec: PoolSpec) {
        let name = spec.name.clone();
        let pool = Pool::new(spec);
        self.keep(self.shared.runtime.spawn(pool.clone().serve()));
        write(&self.pools).insert(name, pool);
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<Arc<dyn Provider>> {
        read(&self.shared.providers).get(name).cloned()
    }

    /// Every provider, by name.
    pub fn providers(&self) -> Vec<Arc<dyn Provider>> {
        read(&self.shared.providers).values().cloned().collect()
    }

    /// Adds a workload; it is asleep until the provider reports otherwise. `conflict` when the name
    /// is taken, `not_found` when there is no such pool.
    pub fn add_workload(&self, spec: WorkloadSpec) -> Result<Arc<Workload>, Failure> {
        let mut workloads = write(&self.workloads);
        if workloads.contains_key(&spec.name) {
            return Err(Failure::new(
                ErrorCode::Conflict,
                format!("workload {:?} exists already: give one of them another name", spec.name),
            ));
        }
        let pool = match &spec.pool {
            None => None,
            Some(membership) => Some(self.pool(&spec.name, &membership.pool)?),
        };
        let workload = Workload::new(spec, pool, self.shared.clone());
        workloads.insert(workload.name().clone(), workload.clone());
        write(&self.shared.targets)
            .entry(workload.spec().provider.clone())
            .or_default()
            .entry(workload.spec().target.handle.clone())
            .or_default()
            .push(Arc::downgrade(&workload));
        Ok(workload)
    }

    /// Connects workloads with their dependencies. Called once, after all workloads were added.
    /// `not_found` when a needed workload does not exist, `invalid_request` when workloads need
    /// each other in a circle.
    pub fn connect(&self) -> Result<(), Failure> {
        let workloads = self.workloads();
        let graph = workloads.iter().map(|one| (one.name(), one.spec().needs.as_slice()));
        if let Some(cycle) = find_cycle(graph) {
            let names: Vec<_> = cycle.iter().map(WorkloadName::as_str).collect();
            let message = format!("workloads need each other in a circle: {}", names.join(" → "));
            return Err(Failure::new(ErrorCode::InvalidRequest, message));
        }
        for workload in &workloads {
            let dependency = |need: &Need| {
                let name = need.workload.as_str();
                Ok(Dependency { workload: self.named(name)?, until: need.until })
            };
            let needs = workload.spec().needs.iter().map(dependency);
            workload.dependencies.configure(needs.collect::<Result<_, Failure>>()?);
        }
        Ok(())
    }

    /// Starts the scheduler: windows, alarms and regular status queries. Called once, after the
    /// providers were added, because an open window wakes its workload at once.
    pub fn start_clock(self: &Arc<Self>) {
        self.keep(self.shared.runtime.spawn(scheduler::run(Arc::downgrade(self))));
    }

    /// The workload of this name.
    pub fn workload(&self, name: &str) -> Option<Arc<Workload>> {
        read(&self.workloads).get(name).cloned()
    }

    /// Every workload, by name.
    pub fn workloads(&self) -> Vec<Arc<Workload>> {
        read(&self.workloads).values().cloned().collect()
    }

    /// The state of every workload for operators, by name.
    pub fn status(&self) -> Vec<WorkloadStatus> {
        self.workloads().iter().map(|workload| workload.status()).collect()
    }

    /// Wakes a workload for an operator, ignoring a cool-down. Returns at once; `not_found` when
    /// there is no such workload.
    pub fn wake(&self, name: &str, cause: Cause) -> Result<(), Failure> {
        self.named(name)?.apply(Input::Wake(Arc::new(cause)));
        Ok(())
    }

    /// Puts a workload to sleep for an operator. Visits inside have 30 s to end, or none when
    /// forced. Force overrules a schedule until its window ends or a wake is requested. Returns at
    /// once; `not_found` when there is no such workload, `conflict` when it is needed awake.
    pub fn sleep(&self, name: &str, cause: Cause, force: Force) -> Result<(), Failure> {
        let workload = self.named(name)?;
        let input = Input::Sleep(Arc::new(cause), force);
        if !workload.apply_if(|state| !state.is_kept_awake(force) || workload.is_job(), input) {
            let by = self.holders(&workload);
            let message = match by.is_empty() {
                true => format!(
                    "{name} is kept awake by its schedule until the window ends: `drowse sleep \
                     --force` overrules it"
                ),
                false => format!("{name} is needed by {0}: put {0} to sleep first", by.join(", ")),
            };
            return Err(Failure::new(ErrorCode::Conflict, message));
        }
        Ok(())
    }

    /// Restarts or recreates a workload for an operator. A newer image is fetched first, while visits
    /// go on; then visits inside are treated as by [`Engine::sleep`]. Returns at once; `not_found`
    /// when there is no such workload, `conflict` when it is going to sleep or being renewed
    /// already, `unsupported` or `denied` when its provider cannot recreate it.
    pub fn renew(
        &self,
        name: &str,
        cause: Cause,
        force: Force,
        renewal: Renewal,
    ) -> Result<(), Failure> {
        self.named(name)?.renew(RenewalOrder::new(cause, force, renewal))
    }

    /// The state of every pool for operators, by name.
    pub fn pools(&self) -> Vec<PoolStatus> {
        read(&self.pools).values().map(|pool| pool.status()).collect()
    }

    /// The journal of operations.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.shared.journal
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

    fn pool(&self, workload: &WorkloadName, name: &PoolName) -> Result<Arc<Pool>, Failure> {
        read(&self.pools).get(name).cloned().ok_or_else(|| {
            Failure::new(
                ErrorCode::NotFound,
                format!("workload {workload:?}: there is no pool {name:?}: define [pool.{name}]"),
            )
        })
    }

    /// Names of the workloads that keep this one awake.
    fn holders(&self, workload: &Workload) -> Vec<String> {
        let needs = |other: &Arc<Workload>| {
            let needs = other.dependencies.all();
            let mut held = needs.iter().filter(|need| !need.is_job());
            held.any(|need| need.workload.name() == workload.name()) && other.state().holds_needs()
        };
        let holders = self.workloads().into_iter().filter(needs);
        holders.map(|holder| holder.name().to_string()).collect()
    }

    fn keep(&self, task: tokio::task::JoinHandle<()>) {
        lock(&self.tasks).push(task.abort_handle());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
        for workload in read(&self.workloads).values() {
            workload.end();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn provider(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, Failure> {
        read(&self.providers).get(name).cloned().ok_or_else(|| {
            let message = match read(&self.expected).contains(name) {
                true => format!("provider {name:?} is still being loaded: try again in a moment"),
                false => format!("provider {name:?} is not configured: add [provider.{name}]"),
            };
            Failure::new(ErrorCode::Unavailable, message)
        })
    }

    /// The provider; waits without limit for one that is still being loaded.
    async fn loaded_provider(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, Failure> {
        let mut arrivals = self.arrivals.subscribe();
        loop {
            let found = self.provider(name);
            if found.is_ok() || !read(&self.expected).contains(name) {
                return found;
            }
            // Cannot fail: the sender is in `self`.
            let _ = arrivals.changed().await;
        }
    }

    fn provider_event(&self, provider: &ProviderName, event: &ProviderEvent) {
        match event {
            ProviderEvent::Synced => {
                let failed = |state: &State| state.phase() == Phase::Failed;
                for workload in self.all_of(provider).iter().filter_map(Weak::upgrade) {
                    workload.apply_if(failed, Input::Resynced);
                }
                self.resync(provider);
            }
            ProviderEvent::Changed(seen) => {
                for workload in self.named(provider, &seen.handle) {
                    workload.apply(Input::Changed(seen.clone()));
                }
            }
        }
    }

    /// The workloads behind one handle.
    fn named(&self, provider: &ProviderName, handle: &str) -> Vec<Arc<Workload>> {
        let targets = read(&self.targets);
        let named = targets.get(provider).and_then(|handles| handles.get(handle));
        named.into_iter().flatten().filter_map(Weak::upgrade).collect()
    }
}

// A poisoned lock is used further: a panic leaves consistent data behind.

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(drowse_loom)))]
mod tests;
