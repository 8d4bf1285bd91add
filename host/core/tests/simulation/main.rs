//! A thousand workloads over simulated weeks, on a clock that jumps.
//!
//! Workloads of three providers have needs, pools and schedules, and are visited at random. The
//! providers delay, fail, trap, hang, report wrong statuses and lose events; targets exit, are
//! replaced and removed. An address that becomes free is assigned to the next target at once, and
//! the receiver of every byte is checked. Once a day the router is killed, and another one takes
//! over what it finds. The invariants that can be observed from outside are checked every minute.
//! The last hour of each day is calm: after it everything must have converged.
//!
//! The seed is printed; `DROWSE_SEED` repeats a run. `DROWSE_WORKLOADS` and `DROWSE_DAYS` make it
//! larger or smaller.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use drowse_core::{Engine, EngineDeps, InstanceRecord};
use tokio::{
    runtime::{Builder, Handle},
    task::JoinSet,
    time::{sleep, sleep_until},
};

mod checks;
mod network;
mod plan;
mod platform;
mod random;
mod visitors;
mod world;

use plan::{PROVIDERS, Plan, WATCHING};
use platform::{Platform, SimProber};
use random::Random;
use visitors::{CALM, DAY};
use world::{Counts, World};

const MINUTE: Duration = Duration::from_secs(60);

/// Runs the simulation. Returns a hash of the journal, and the counts.
fn simulate(seed: u64, workloads: usize, days: u32) -> (u64, Counts) {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = World::new(seed, Plan::draw(seed, workloads));
        let platform =
            |(number, name): (usize, &&str)| Platform::new(world.clone(), name, number < WATCHING);
        let platforms: Vec<_> = PROVIDERS.iter().enumerate().map(platform).collect();
        let mut router = Router::start(&world, &platforms, 0, Vec::new()).await;
        for day in 0..days {
            router = one_day(&world, &platforms, router, day).await;
        }
        router.kill().await;
        (world.hash(), world.record().counts.clone())
    })
}

/// One run of the router, with its visitors and disturbances.
struct Router {
    engine: Arc<Engine>,
    tasks: JoinSet<()>,
}

// === impl Router ===

impl Router {
    /// Starts a router. The records of an earlier one are restored before there are providers.
    async fn start(
        world: &Arc<World>,
        platforms: &[Arc<Platform>],
        number: u64,
        notes: Vec<InstanceRecord>,
    ) -> Self {
        let clock = world.clone();
        let engine = Engine::new(EngineDeps {
            runtime: Handle::current(),
            prober: Arc::new(SimProber(world.clone())),
            journal: world.clone(),
            clock: Arc::new(move || clock.wall()),
        });
        world.begins(&engine);
        for pool in &world.plan.pools {
            engine.add_pool(pool.clone());
        }
        for spec in &world.plan.specs {
            engine.add_workload(spec.clone()).expect("a free name");
        }
        engine.connect().expect("no circle");
        engine.restore(notes);
        for platform in platforms {
            engine.add_provider(platform.clone());
        }
        engine.reconcile();
        engine.resynced(Duration::from_secs(1)).await;
        engine.start_clock();
        let mut tasks = JoinSet::new();
        for workload in engine.workloads() {
            let mut random = Random::of(world.seed, workload.name().as_str(), 0);
            for visitor in 0..=random.below(3) {
                tasks.spawn(visitors::visit_repeatedly(
                    world.clone(),
                    workload.clone(),
                    number * 10 + visitor,
                ));
            }
        }
        tasks.spawn(visitors::disturb(world.clone(), platforms.to_vec(), number));
        Self { engine, tasks }
    }

    /// Ends the router without a shutdown. Returns its last records.
    async fn kill(mut self) -> Vec<InstanceRecord> {
        let notes = self.engine.instance_records();
        // The engine must not act on its visitors' end.
        drop(self.engine);
        self.tasks.shutdown().await;
        // Its tasks end.
        sleep(Duration::from_millis(1)).await;
        notes
    }
}

/// One day: a router until it is killed, and the next one.
async fn one_day(
    world: &Arc<World>,
    platforms: &[Arc<Platform>],
    mut router: Router,
    day: u32,
) -> Router {
    let midnight = world.began + DAY * day;
    let calm = u32::try_from(CALM.as_secs() / 60).expect("less than a day");
    let mut random = Random::of(world.seed, "kill", day.into());
    let killed = u32::try_from(random.below(1200)).expect("less than a day") + 60;
    world.calm.store(false, Ordering::Relaxed);
    for minute in 1..=1440 {
        // The clock is read just before the next day begins.
        sleep_until(midnight + MINUTE * minute - Duration::from_millis(1)).await;
        checks::every_minute(world);
        if minute == killed {
            let notes = router.kill().await;
            sleep(random.between(Duration::ZERO, MINUTE / 2)).await;
            router = Router::start(world, platforms, u64::from(day) + 1, notes).await;
        }
        if minute == calm {
            world.calm.store(true, Ordering::Relaxed);
            for name in world.names() {
                world.target(&name, |target| {
                    target.ready = target.ready.or(Some(tokio::time::Instant::now()))
                });
            }
        }
        if minute == calm + 1 {
            // Broken watches are repaired. Other lost events are found by polling.
            for platform in platforms.iter().filter(|platform| platform.is_watch_broken()) {
                platform.repair_watch().await;
            }
        }
        while let Some(ended) = router.tasks.try_join_next() {
            ended.expect("a task panicked");
        }
    }
    checks::after_a_calm_hour(world, &router.engine);
    router
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn seed() -> u64 {
    setting("DROWSE_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Random::of(now.as_nanos() as u64, "seed", 0).next() >> 32
    })
}

#[test]
fn a_thousand_workloads_lose_no_visitor_for_weeks() {
    // Unoptimised builds are ten times slower.
    let (workloads, days) = if cfg!(debug_assertions) { (150, 3) } else { (1000, 14) };
    let workloads = setting("DROWSE_WORKLOADS").map_or(workloads, |count| count as usize);
    let days = setting("DROWSE_DAYS").map_or(days, |days| days as u32);
    let seed = seed();
    println!("DROWSE_SEED={seed} DROWSE_WORKLOADS={workloads} DROWSE_DAYS={days}");
    let began = std::time::Instant::now();
    let (hash, counts) = simulate(seed, workloads, days);
    println!("{counts:#?}\njournal {hash:016x}, {:.1} s", began.elapsed().as_secs_f64());
    assert!(counts.cut > 0 && counts.disputed > 0, "no stream was ended, or no address reassigned");
    assert!(counts.wakes > u64::from(days) * workloads as u64 / 2, "too few wakes");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let seed = seed();
    println!("DROWSE_SEED={seed}");
    let (first, second) = (simulate(seed, 60, 3), simulate(seed, 60, 3));
    assert_eq!(first, second, "DROWSE_SEED={seed} gave two histories");
    assert_ne!(first.0, simulate(seed ^ 1, 60, 3).0, "two seeds gave one history");
}
