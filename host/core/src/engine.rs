//! The runtime around the phase machine: it keeps the workloads, feeds [`step`](crate::step) with
//! what happens and carries out what it answers.
//!
//! A sleeping workload costs an entry here and nothing else: no task, no timer. A waking one has
//! a provider call or a probe and a deadline; a ready one has its idle timer. Tasks belong to the
//! workload and end with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, broadcast, watch},
    task::AbortHandle,
};

use crate::{
    journal::{Cause, Journal},
    names::{Phase, PoolName, ProviderName, WorkloadName},
    probe::Prober,
    provider::{ErrorCode, Failure, Provider, ProviderEvent},
    spec::{Need, PoolSpec, WorkloadSpec},
    step::{Force, Input, Moment, Renewal, State},
};

mod address_table;
mod compose;
mod dial;
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
mod scheduler;
mod snapshot;
mod visit;
mod workload;

pub use instance::Instance;
pub use needs::find_cycle;
pub use pool::PoolStatus;
pub use restore::InstanceRecord;
pub use snapshot::{PhaseChange, Snapshot, WorkloadStatus};
pub use visit::{AdmitError, Confirmation, Visit};
pub use workload::Workload;

use address_table::AddressTable;
use compose::Projects;
use needs::Dependency;
use pool::Pool;
use renewal::Order;
use resync::Resync;

/// Phase changes that a slow listener may be behind before it misses some.
const CHANGES: usize = 1024;
/// Nothing that was used longer ago than this is restored.
const BEFORE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Keeps the workloads of one router and the providers that control them.
pub struct Engine {
    shared: Arc<Shared>,
    workloads: RwLock<BTreeMap<WorkloadName, Arc<Workload>>>,
    pools: RwLock<BTreeMap<PoolName, Arc<Pool>>>,
    /// What works for the engine: a watch and a survey for each provider, a server for each pool,
    /// the clock.
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What the engine stands on.
pub struct EngineDeps {
    /// Where providers, probes and timers run; not a runtime of the data path.
    pub runtime: Handle,
    /// Looks at workloads from outside.
    pub prober: Arc<dyn Prober>,
    /// Takes what was done.
    pub journal: Arc<dyn Journal>,
    /// The time of day, for schedules and the journal.
    pub clock: Clock,
}

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What all workloads use.
pub(crate) struct Shared {
    runtime: Handle,
    prober: Arc<dyn Prober>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    providers: RwLock<BTreeMap<ProviderName, Arc<dyn Provider>>>,
    /// Providers that will come.
    expected: RwLock<BTreeSet<ProviderName>>,
    /// A provider has come.
    arrivals: watch::Sender<()>,
    resyncs: RwLock<BTreeMap<ProviderName, Arc<Resync>>>,
    /// Turns for what the router asks each provider by itself.
    routine: RwLock<BTreeMap<ProviderName, Arc<Semaphore>>>,
    /// The workloads behind each provider's handles, so that an event finds its own.
    targets: RwLock<BTreeMap<ProviderName, Targets>>,
    projects: Mutex<Projects>,
    address_table: AddressTable,
    changes: broadcast::Sender<PhaseChange>,
    began: tokio::time::Instant,
}

// === impl Engine ===

impl Engine {
    /// An engine without workloads.
    pub fn new(deps: EngineDeps) -> Arc<Self> {
        let shared = Shared {
            runtime: deps.runtime,
            prober: deps.prober,
            journal: deps.journal,
            clock: deps.clock,
            providers: RwLock::default(),
            expected: RwLock::default(),
            arrivals: watch::Sender::new(()),
            resyncs: RwLock::default(),
            routine: RwLock::default(),
            targets: RwLock::default(),
            projects: Mutex::default(),
            address_table: AddressTable::default(),
            changes: broadcast::Sender::new(CHANGES),
            began: tokio::time::Instant::now(),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
            workloads: RwLock::default(),
            pools: RwLock::default(),
            tasks: Mutex::default(),
        })
    }

    /// A provider of this name will come: until then starts and stops wait for it, and looks fail
    /// with `unavailable`.
    pub fn expect_provider(&self, name: ProviderName) {
        write(&self.shared.expected).insert(name);
    }

    /// Takes a provider and begins to listen to it. Called once for each name.
    pub fn add_provider(&self, provider: Arc<dyn Provider>) {
        let name = provider.name().clone();
        write(&self.shared.routine).insert(name.clone(), routine::turns(provider.calls()));
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

    /// Takes a pool; workloads that share it come later.
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

    /// Takes a workload; it is asleep until the provider says otherwise. `conflict` when the name
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

    /// Connects workloads with what they need. Called once, when all workloads are there.
    /// `not_found` when one needs another that does not exist, `invalid_request` when they need
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
            let link = |need: &Need| {
                let name = need.workload.as_str();
                Ok(Dependency { workload: self.named(name)?, until: need.until })
            };
            let links: Result<Vec<_>, Failure> = workload.spec().needs.iter().map(link).collect();
            // Only the first call counts.
            let _ = workload.needs.set(links?);
        }
        Ok(())
    }

    /// Starts the clock: for workloads with times of their own, and for the regular look at what
    /// may have changed unnoticed. Called once, when providers are there, as a window that is open
    /// wakes at once.
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

    /// Every workload as an operator sees it, by name.
    pub fn status(&self) -> Vec<WorkloadStatus> {
        self.workloads().iter().map(|workload| workload.status()).collect()
    }

    /// An operator wants it awake: a cool-down does not count. Returns at once; `not_found` when
    /// there is no such workload.
    pub fn wake(&self, name: &str, cause: Cause) -> Result<(), Failure> {
        self.named(name)?.apply(Input::Wake(Arc::new(cause)));
        Ok(())
    }

    /// An operator wants it asleep: visits inside are waited for a while, or cut off at once when
    /// forced. Force overrules a schedule until its window ends or somebody wants the workload.
    /// Returns at once; `not_found` when there is no such workload, `conflict` when something needs
    /// it awake.
    pub fn sleep(&self, name: &str, cause: Cause, force: Force) -> Result<(), Failure> {
        let workload = self.named(name)?;
        let input = Input::Sleep(Arc::new(cause), force);
        if !workload.apply_if(|state| !state.is_kept_awake(force) || workload.is_job(), input) {
            let by = self.holders(&workload);
            let message = match by.is_empty() {
                true => format!(
                    "{name} is kept awake by its schedule until the window ends: `drowse sleep \
                     --force` puts it to sleep all the same"
                ),
                false => format!("{name} is needed by {0}: put {0} to sleep first", by.join(", ")),
            };
            return Err(Failure::new(ErrorCode::Conflict, message));
        }
        Ok(())
    }

    /// An operator wants it renewed: stopped and woken again, or made anew. What a newer one is made of
    /// is fetched before, while visits go on; then those inside are treated as when it is put to sleep.
    /// Returns at once; `not_found` when there is no such workload,
    /// `conflict` when it is on its way to sleep or being renewed already, `unsupported` or `denied`
    /// when its provider cannot recreate it.
    pub fn renew(
        &self,
        name: &str,
        cause: Cause,
        force: Force,
        renewal: Renewal,
    ) -> Result<(), Failure> {
        self.named(name)?.renew(Order::new(cause, force, renewal))
    }

    /// Every pool as an operator sees it, by name.
    pub fn pools(&self) -> Vec<PoolStatus> {
        read(&self.pools).values().map(|pool| pool.status()).collect()
    }

    /// What was done lately.
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

    /// Those that keep it awake at the moment.
    fn holders(&self, workload: &Workload) -> Vec<String> {
        let needs = |other: &Arc<Workload>| {
            let links = other.links();
            let mut held = links.iter().filter(|link| !link.is_job());
            held.any(|link| link.workload.name() == workload.name()) && other.state().holds_needs()
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
    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// As [`Shared::now`], counted from long before the engine began, so that there is room for
    /// what happened before.
    fn milliseconds(&self) -> u64 {
        u64::try_from((BEFORE + self.now()).as_millis()).unwrap_or(u64::MAX)
    }

    fn at(&self, moment: Moment) -> Instant {
        (self.began + moment).into_std()
    }

    fn provider(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, Failure> {
        read(&self.providers).get(name).cloned().ok_or_else(|| {
            let message = match read(&self.expected).contains(name) {
                true => format!("provider {name:?} is still being loaded: try again in a moment"),
                false => format!("provider {name:?} is not configured: add [provider.{name}]"),
            };
            Failure::new(ErrorCode::Unavailable, message)
        })
    }

    /// The provider, when it has come. Waits without end for one that is still being loaded.
    async fn arrived(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, Failure> {
        let mut arrivals = self.arrivals.subscribe();
        loop {
            let found = self.provider(name);
            if found.is_ok() || !read(&self.expected).contains(name) {
                return found;
            }
            // The sender is our own.
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

type Targets = BTreeMap<String, Vec<Weak<Workload>>>;

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

#[cfg(all(test, not(drowse_loom)))]
mod tests;
