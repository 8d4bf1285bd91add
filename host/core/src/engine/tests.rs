//! The engine with a scripted provider and a paused clock.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::Instant,
};

use super::*;
use crate::{
    provider::{Address, Health, ProviderState, Status, StopOptions, Target},
    spec::{ReadyCheck, SleepPlan, WakePlan},
};

const IDLE: Duration = Duration::from_secs(60);

/// One target that starts and stops when it is told, and can be made to misbehave.
struct Platform {
    name: ProviderName,
    running: AtomicBool,
    starts: AtomicUsize,
    stops: AtomicUsize,
    fail_start: AtomicBool,
    fail_stop: AtomicBool,
    /// A stop takes until a permit is there.
    stop_permits: Semaphore,
    stop_begun: Notify,
    events: Mutex<Option<mpsc::Receiver<ProviderEvent>>>,
}

/// Ready when the platform runs and the switch is on.
struct Switch {
    on: AtomicBool,
    looks: AtomicUsize,
}

struct World {
    engine: Arc<Engine>,
    platform: Arc<Platform>,
    switch: Arc<Switch>,
    workload: Arc<Workload>,
    events: mpsc::Sender<ProviderEvent>,
}

// === impl Platform ===

impl Platform {
    fn seen(&self) -> Observation {
        let running = self.running.load(Ordering::SeqCst);
        Observation {
            handle: "blog".into(),
            status: if running { Status::Running } else { Status::Stopped },
            native_status: if running { "running" } else { "exited" }.into(),
            native_id: None,
            health: Health::None,
            addresses: running
                .then(|| Address { host: "192.0.2.1".into(), port: None, target_port: None })
                .into_iter()
                .collect(),
            labels: BTreeMap::new(),
            detail: None,
            attributes: BTreeMap::new(),
        }
    }
}

#[async_trait]
impl Provider for Platform {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn start(&self, _: &Target) -> Result<Observation, Failure> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        if self.fail_start.load(Ordering::SeqCst) {
            return Err(Failure::new(ErrorCode::Unavailable, "the engine is down"));
        }
        self.running.store(true, Ordering::SeqCst);
        Ok(self.seen())
    }

    async fn stop(&self, _: &Target, _: &StopOptions) -> Result<Observation, Failure> {
        self.stops.fetch_add(1, Ordering::SeqCst);
        self.stop_begun.notify_one();
        self.stop_permits.acquire().await.expect("open").forget();
        if self.fail_stop.swap(false, Ordering::SeqCst) {
            return Err(Failure::new(ErrorCode::Unavailable, "the engine is down"));
        }
        self.running.store(false, Ordering::SeqCst);
        Ok(self.seen())
    }

    async fn pause(&self, _: &Target) -> Result<Observation, Failure> {
        Ok(self.seen())
    }

    async fn resume(&self, _: &Target) -> Result<Observation, Failure> {
        Ok(self.seen())
    }

    async fn kill(&self, _: &Target, _: Option<&str>) -> Result<Observation, Failure> {
        Ok(self.seen())
    }

    async fn status(&self, _: &Target) -> Result<Observation, Failure> {
        Ok(self.seen())
    }

    async fn list(&self, _: Option<&str>) -> Result<(Vec<Observation>, Option<String>), Failure> {
        Ok((vec![self.seen()], None))
    }

    async fn logs(&self, _: &Target, _: u32) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        lock(&self.events).take().expect("watched once")
    }

    fn state(&self) -> ProviderState {
        ProviderState {
            plugin: None,
            origin: None,
            usable: true,
            cause: None,
            abilities: Vec::new(),
            faults: 0,
        }
    }
}

#[async_trait]
impl Prober for Switch {
    async fn probe(&self, _: &ReadyCheck, addresses: &[Address]) -> Result<(), String> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        assert!(!addresses.is_empty(), "nothing to probe");
        self.on.load(Ordering::SeqCst).then_some(()).ok_or_else(|| "503".into())
    }
}

// === impl World ===

impl World {
    fn new() -> Self {
        let (events, receiver) = mpsc::channel(8);
        let platform = Arc::new(Platform {
            name: ProviderName::parse("fake").expect("name"),
            running: AtomicBool::new(false),
            starts: AtomicUsize::new(0),
            stops: AtomicUsize::new(0),
            fail_start: AtomicBool::new(false),
            fail_stop: AtomicBool::new(false),
            stop_permits: Semaphore::new(100),
            stop_begun: Notify::new(),
            events: Mutex::new(Some(receiver)),
        });
        let switch = Arc::new(Switch { on: AtomicBool::new(true), looks: AtomicUsize::new(0) });
        let engine = Engine::new(Handle::current(), switch.clone());
        engine.add_provider(platform.clone());
        let workload = engine
            .add_workload(WorkloadSpec {
                name: WorkloadName::parse("blog").expect("name"),
                provider: platform.name.clone(),
                target: Target { handle: "blog".into(), settings: "{}".into() },
                idle: Some(IDLE),
                sleep: SleepPlan::default(),
                ready: ReadyCheck::Tcp { port: 80 },
                wake: WakePlan { timeout: Duration::from_secs(30), ..WakePlan::default() },
            })
            .expect("a free name");
        Self { engine, platform, switch, workload, events }
    }

    async fn phase(&self, phase: Phase) {
        let mut snapshots = self.workload.watch();
        tokio::time::timeout(Duration::from_secs(3600), snapshots.wait_for(|s| s.phase == phase))
            .await
            .unwrap_or_else(|_| panic!("never {phase}: {:?}", self.workload.snapshot()))
            .expect("watching");
    }

    async fn visit(&self) -> Result<Visit, Turned> {
        self.workload.admit(Instant::now() + Duration::from_secs(60)).await
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_visitors_are_admitted_by_one_start() {
    let world = World::new();
    let visitors: Vec<_> = (0..10_000)
        .map(|_| {
            let workload = world.workload.clone();
            tokio::spawn(async move {
                let visit = workload.admit(Instant::now() + Duration::from_secs(60)).await;
                visit.expect("admitted").upstream(8080).map(|(host, port)| (host.to_owned(), port))
            })
        })
        .collect();
    for visitor in visitors {
        assert_eq!(visitor.await.expect("visitor"), Some(("192.0.2.1".to_owned(), 8080)));
    }
    assert_eq!(world.platform.starts.load(Ordering::SeqCst), 1);
    assert_eq!(world.workload.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_sleeps_an_idle_time_after_the_last_visit_and_not_before() {
    let world = World::new();
    let visit = world.visit().await.expect("admitted");
    tokio::time::sleep(IDLE * 5).await;
    assert_eq!(world.workload.snapshot().phase, Phase::Ready, "somebody is inside");
    let left = Instant::now();
    drop(visit);
    world.phase(Phase::Asleep).await;
    let quiet = left.elapsed();
    assert!(quiet >= IDLE && quiet < IDLE + Duration::from_millis(50), "{quiet:?}");
    assert_eq!(world.platform.stops.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_during_stopping_waits_for_the_next_life() {
    let world = World::new();
    drop(world.visit().await.expect("admitted"));
    world.platform.stop_permits.forget_permits(100);
    world.platform.stop_begun.notified().await;
    assert!(world.workload.enter().is_none(), "sent to a stopping backend");
    let visitor = tokio::spawn({
        let workload = world.workload.clone();
        async move { workload.admit(Instant::now() + Duration::from_secs(60)).await }
    });
    tokio::task::yield_now().await;
    world.platform.stop_permits.add_permits(1);
    let visit = visitor.await.expect("visitor").expect("admitted");
    assert_eq!(visit.generation(), Generation(2));
    assert_eq!(world.platform.starts.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wake_goes_on_when_its_only_visitor_leaves() {
    let world = World::new();
    world.switch.on.store(false, Ordering::SeqCst);
    let visitor = world.workload.admit(Instant::now() + Duration::from_millis(300)).await;
    assert!(matches!(visitor, Err(Turned::TimedOut(Phase::Waking))), "{visitor:?}");
    world.switch.on.store(true, Ordering::SeqCst);
    world.phase(Phase::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_told_to_visitors_at_once_and_tried_again_later() {
    let world = World::new();
    world.platform.fail_start.store(true, Ordering::SeqCst);
    let Err(Turned::Failed(failure, Some(retry))) = world.visit().await else {
        panic!("admitted to nothing")
    };
    assert_eq!(failure.message, "the engine is down");
    assert!(retry <= Duration::from_secs(5), "{retry:?}");
    assert!(world.visit().await.is_err());
    assert_eq!(world.platform.starts.load(Ordering::SeqCst), 1, "resting");
    world.platform.fail_start.store(false, Ordering::SeqCst);
    tokio::time::sleep(retry).await;
    world.visit().await.expect("admitted");
}

#[tokio::test(start_paused = true)]
async fn a_failed_stop_is_repeated_until_it_sleeps() {
    let world = World::new();
    world.platform.fail_stop.store(true, Ordering::SeqCst);
    drop(world.visit().await.expect("admitted"));
    world.phase(Phase::Failed).await;
    world.phase(Phase::Asleep).await;
    assert_eq!(world.platform.stops.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_dies_is_noticed_by_its_event_and_woken_by_the_next_visitor() {
    let world = World::new();
    drop(world.visit().await.expect("admitted"));
    world.platform.running.store(false, Ordering::SeqCst);
    let event = ProviderEvent::Changed(world.platform.seen());
    world.events.send(event).await.expect("watching");
    world.phase(Phase::Asleep).await;
    assert_eq!(world.visit().await.expect("admitted").generation(), Generation(2));
    assert_eq!(world.platform.stops.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_died_unnoticed_is_found_out_by_the_visitor_that_cannot_connect() {
    let world = World::new();
    let visit = world.visit().await.expect("admitted");
    world.platform.running.store(false, Ordering::SeqCst);
    let generation = visit.generation();
    drop(visit);
    world.workload.suspect(generation).await;
    assert_eq!(world.visit().await.expect("admitted").generation(), generation.next());
}

#[tokio::test(start_paused = true)]
async fn an_event_ends_the_wait_between_two_probes_at_once() {
    let world = World::new();
    world.switch.on.store(false, Ordering::SeqCst);
    world.workload.wake();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let looks = world.switch.looks.load(Ordering::SeqCst);
    world.switch.on.store(true, Ordering::SeqCst);
    let before = Instant::now();
    let event = ProviderEvent::Changed(world.platform.seen());
    world.events.send(event).await.expect("watching");
    world.phase(Phase::Ready).await;
    assert!(before.elapsed() < Duration::from_millis(2), "{:?}", before.elapsed());
    assert_eq!(world.switch.looks.load(Ordering::SeqCst), looks + 1);
}

#[tokio::test(start_paused = true)]
async fn what_runs_already_is_adopted_without_a_start() {
    let world = World::new();
    world.platform.running.store(true, Ordering::SeqCst);
    world.events.send(ProviderEvent::Synced).await.expect("watching");
    world.phase(Phase::Ready).await;
    assert_eq!(world.platform.starts.load(Ordering::SeqCst), 0);
    world.phase(Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_puts_it_to_sleep_when_the_last_visit_has_left() {
    let world = World::new();
    let visit = world.visit().await.expect("admitted");
    world.engine.sleep("blog").expect("known");
    world.phase(Phase::Draining).await;
    assert!(world.workload.enter().is_none());
    drop(visit);
    world.phase(Phase::Asleep).await;
    assert!(world.engine.sleep("nobody").is_err());
}
