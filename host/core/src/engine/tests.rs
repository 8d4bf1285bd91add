//! The engine on a paused clock, with scripted platforms.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::{
    journal::{Entry, MemoryJournal, OperationKind, Trigger},
    names::{Generation, Phase},
    need::{Need, Until},
    spec::{Membership, ReadyCheck, WakePlan},
};

mod absence;
mod adopt;
mod discovery;
mod faults;
mod instances;
mod journal;
mod locks;
mod needs;
mod platform;
mod pool;
mod priorities;
mod renewals;
mod schedules;
mod tiers;
mod vetoes;
mod visits;

use platform::{Looks, Platform};

const IDLE: Duration = Duration::from_secs(60);
const COOLDOWN: Duration = Duration::from_secs(5);
/// Time that a visitor waits.
const PATIENCE: Duration = Duration::from_secs(3600);

/// An engine with its platform and prober.
struct World {
    engine: Arc<Engine>,
    platform: Arc<Platform>,
    looks: Arc<Looks>,
    began: Instant,
    /// Time by which the wall clock was set back.
    behind: Arc<Mutex<Duration>>,
}

// === impl World ===

impl World {
    /// One platform, `fake`, with a stopped target for each workload.
    fn new(specs: Vec<WorkloadSpec>) -> Self {
        Self::with_pools(Vec::new(), specs)
    }

    fn with_pools(pools: Vec<PoolSpec>, specs: Vec<WorkloadSpec>) -> Self {
        let world = Self::unconnected(pools, specs);
        world.engine.connect().expect("no cycle");
        world.engine.start_clock();
        world
    }

    fn unconnected(pools: Vec<PoolSpec>, specs: Vec<WorkloadSpec>) -> Self {
        let (platform, looks) = (Platform::new("fake", true), Looks::new());
        let (began, behind) = (Instant::now(), Arc::new(Mutex::default()));
        let late = behind.clone();
        let engine = Engine::new(EngineDeps {
            runtime: Handle::current(),
            prober: looks.clone(),
            journal: Arc::new(MemoryJournal::new(10_000)),
            clock: Arc::new(move || morning() + began.elapsed() - *lock(&late)),
        });
        let world = Self { engine, platform, looks, began, behind };
        world.engine.add_provider(world.platform.clone());
        for pool in pools {
            world.engine.add_pool(pool);
        }
        for spec in specs {
            world.platform.add(&spec.target.handle);
            world.engine.add_workload(spec).expect("a free name");
        }
        world
    }

    fn set_back(&self, by: Duration) {
        *lock(&self.behind) += by;
    }

    fn workload(&self, name: &str) -> Arc<Workload> {
        self.engine.workload(name).expect("a known workload")
    }

    fn snapshot(&self, name: &str) -> Snapshot {
        self.workload(name).snapshot()
    }

    fn phase_of(&self, name: &str) -> Phase {
        self.snapshot(name).phase
    }

    /// Waits until it is in this phase, at most an hour.
    async fn phase(&self, name: &str, phase: Phase) {
        self.until(name, &format!("{phase}"), |seen| seen.phase == phase).await;
    }

    async fn until(&self, name: &str, what: &str, is: impl FnMut(&Snapshot) -> bool) {
        let workload = self.workload(name);
        let mut snapshots = workload.watch();
        tokio::time::timeout(Duration::from_secs(3600), snapshots.wait_for(is))
            .await
            .unwrap_or_else(|_| panic!("{name}: never {what}: {:?}", workload.snapshot()))
            .expect("watching");
    }

    async fn visit(&self, name: &str) -> Result<Visit, AdmitError> {
        self.workload(name).admit(Instant::now() + PATIENCE, request()).await
    }

    /// Spawns a visitor.
    fn visitor(&self, name: &str) -> tokio::task::JoinHandle<Result<Visit, AdmitError>> {
        let workload = self.workload(name);
        tokio::spawn(async move { workload.admit(Instant::now() + PATIENCE, request()).await })
    }

    /// Visits and leaves.
    async fn call(&self, name: &str) {
        drop(self.visit(name).await.expect("admitted"));
    }

    /// Spawns a visitor that leaves at once.
    fn caller(&self, name: &str) -> tokio::task::JoinHandle<()> {
        let visitor = self.visitor(name);
        tokio::spawn(async move { drop(visitor.await.expect("visitor").expect("admitted")) })
    }

    /// The failure that a visitor gets, and the time until the next attempt.
    async fn refused(&self, name: &str) -> (String, Option<Duration>) {
        match self.visit(name).await {
            Err(AdmitError::Failed(failure, retry)) => (failure.message.clone(), retry),
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Journal entries, oldest first.
    fn entries(&self, name: Option<&str>) -> Vec<Entry> {
        let mut entries = self.engine.journal().recent(name, 10_000);
        entries.reverse();
        entries
    }

    /// Number of journal entries of one kind.
    fn count(&self, name: &str, kind: OperationKind) -> usize {
        self.entries(Some(name)).iter().filter(|entry| entry.kind == kind).count()
    }
}

/// The time of day at which every test begins: Friday, 2026-11-20 06:00 UTC.
fn morning() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_154_400)
}

/// Lets all tasks that are ready run.
async fn moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

fn request() -> Cause {
    Cause::new(Trigger::Request)
}

fn operator() -> Cause {
    Cause::new(Trigger::Cli)
}

fn named(name: &str) -> WorkloadName {
    WorkloadName::parse(name).expect("a name")
}

/// A web server on the platform `fake` that sleeps after [`IDLE`].
fn spec(name: &str) -> WorkloadSpec {
    let provider = ProviderName::parse("fake").expect("a name");
    let target = crate::provider::Target { handle: name.into(), settings: "{}".into() };
    WorkloadSpec {
        idle: Some(IDLE),
        ready: ReadyCheck::Tcp { port: 80 },
        wake: WakePlan { timeout: Duration::from_secs(30), cooldown: COOLDOWN },
        ..WorkloadSpec::new(named(name), provider, target)
    }
}

fn spec_needing(name: &str, needs: &[&str]) -> WorkloadSpec {
    let needs = needs.iter().map(|need| until(need, Until::Healthy)).collect();
    WorkloadSpec { needs, ..spec(name) }
}

/// A job.
fn job(name: &str) -> WorkloadSpec {
    WorkloadSpec { ready: ReadyCheck::Completed, idle: None, ..spec(name) }
}

fn until(name: &str, until: Until) -> Need {
    Need { workload: named(name), until }
}

fn pool(awake: usize) -> PoolSpec {
    PoolSpec {
        name: PoolName::parse("small").expect("a name"),
        max_awake: Some(awake),
        max_memory: None,
        max_queued: 100,
        queue_timeout: Duration::from_secs(600),
    }
}

/// A member of the pool `small`.
fn pooled(spec: WorkloadSpec) -> WorkloadSpec {
    let membership = Membership {
        pool: PoolName::parse("small").expect("a name"),
        priority: 0,
        pinned: false,
        memory: None,
    };
    WorkloadSpec { pool: Some(membership), ..spec }
}

fn membership(spec: &mut WorkloadSpec) -> &mut Membership {
    spec.pool.as_mut().expect("in a pool")
}
