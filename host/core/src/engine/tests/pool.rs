//! Pools: slots, the queue, and eviction.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{provider::Usage, step::Stage};

/// Workloads `w0`, `w1`, … in a pool with `awake` slots.
fn crowd(awake: usize, workloads: usize) -> World {
    let specs = (0..workloads).map(|n| pooled(spec(&format!("w{n}"))));
    World::with_pools(vec![pool(awake)], specs.collect())
}

fn awake(world: &World) -> Vec<String> {
    let all = world.engine.workloads();
    let awake = all.iter().filter(|one| one.snapshot().phase == Phase::Ready);
    awake.map(|one| one.name().to_string()).collect()
}

fn queue(world: &World) -> Vec<String> {
    let status = world.engine.pools().remove(0);
    status.queue.iter().map(ToString::to_string).collect()
}

/// Wakes it; it is idle from now on, and would sleep by itself much later.
async fn used(world: &World, name: &str) {
    world.call(name).await;
    pass(Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn the_ceiling_holds_for_any_number_of_visitors() {
    let world = crowd(3, 12);
    let most = Arc::new(AtomicUsize::new(0));
    let watch = tokio::spawn({
        let (platform, most) = (world.platform.clone(), most.clone());
        async move {
            loop {
                let runs = (0..12).filter(|n| platform.runs(&format!("w{n}"))).count();
                most.fetch_max(runs, Ordering::SeqCst);
                moment().await;
            }
        }
    });
    let visitors: Vec<_> = (0..12).map(|n| world.visitor(&format!("w{n}"))).collect();
    for visitor in visitors {
        drop(visitor.await.expect("visitor").expect("admitted in the end"));
    }
    watch.abort();
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_member_is_evicted_first() {
    let world = crowd(3, 4);
    for name in ["w1", "w0", "w2"] {
        used(&world, name).await;
    }
    world.call("w3").await;
    assert_eq!(awake(&world), ["w0", "w2", "w3"]);
    world.call("w1").await;
    assert_eq!(awake(&world), ["w1", "w2", "w3"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_with_a_visitor_inside_is_never_evicted() {
    let world = crowd(2, 3);
    let visit = world.visit("w0").await.expect("admitted");
    used(&world, "w1").await;
    world.call("w2").await;
    assert_eq!(awake(&world), ["w0", "w2"]);
    let _second = world.visit("w2").await.expect("admitted");
    let waits = world.visitor("w1");
    pass(Duration::from_secs(300)).await;
    assert!(!waits.is_finished(), "both are in use");
    let left = Instant::now();
    drop(visit);
    waits.await.expect("visitor").expect("admitted");
    assert!(left.elapsed() < Duration::from_secs(1), "the slot is free: {:?}", left.elapsed());
    assert_eq!(awake(&world), ["w1", "w2"]);
}

#[tokio::test(start_paused = true)]
async fn a_visit_after_the_choice_of_a_victim_keeps_it_awake() {
    let world = crowd(1, 1);
    let visit = world.visit("w0").await.expect("admitted");
    let evict = || Input::Evict(Arc::new(Cause::new(Trigger::Pool)));
    world.workload("w0").apply(evict());
    assert_eq!(world.phase_of("w0"), Phase::Ready);
    drop(visit);
    world.workload("w0").apply(evict());
    assert_eq!(world.phase_of("w0"), Phase::Stopping);
}

#[tokio::test(start_paused = true)]
async fn the_visitor_that_woke_it_gets_in_before_an_eviction() {
    let world = crowd(1, 2);
    let (first, second) = (world.visitor("w0"), world.visitor("w1"));
    let visit = first.await.expect("visitor").expect("admitted");
    assert!(!second.is_finished());
    let entered = Instant::now();
    drop(visit);
    second.await.expect("visitor").expect("admitted");
    assert!(entered.elapsed() >= Duration::from_secs(2), "w0 had no time: {:?}", entered.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_needed_member_is_not_evicted_before_its_dependent() {
    let specs = vec![pooled(spec("db")), pooled(spec_needing("web", &["db"])), pooled(spec("x"))];
    let world = World::with_pools(vec![pool(2)], specs);
    used(&world, "web").await;
    world.call("x").await;
    let stops = |entry: &String| entry.starts_with("stop ");
    let stopped: Vec<_> = world.platform.log().into_iter().filter(stops).collect();
    assert_eq!(stopped, ["stop web"], "one slot was enough");
    assert_eq!(awake(&world), ["db", "x"]);
}

#[tokio::test(start_paused = true)]
async fn a_pinned_member_is_never_evicted_and_the_highest_priority_last() {
    let mut pinned = pooled(spec("pinned"));
    membership(&mut pinned).pinned = true;
    let mut important = pooled(spec("important"));
    membership(&mut important).priority = 5;
    let specs = vec![pinned, important, pooled(spec("a")), pooled(spec("b"))];
    let world = World::with_pools(vec![pool(3)], specs);
    for name in ["pinned", "important", "a"] {
        used(&world, name).await;
    }
    used(&world, "b").await;
    assert_eq!(awake(&world), ["b", "important", "pinned"]);
    let _b = world.visit("b").await.expect("admitted");
    world.call("a").await;
    assert_eq!(awake(&world), ["a", "b", "pinned"]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_served_by_priority_then_in_order_of_arrival() {
    let mut important = pooled(spec("important"));
    membership(&mut important).priority = 1;
    let mut specs: Vec<_> = (0..5).map(|n| pooled(spec(&format!("w{n}")))).collect();
    specs.push(important);
    let world = World::with_pools(vec![pool(1)], specs);
    let visit = world.visit("w0").await.expect("admitted");
    let mut visitors = Vec::new();
    for name in ["w3", "w1", "w4", "w2", "important"] {
        visitors.push(world.caller(name));
        moment().await;
    }
    assert_eq!(queue(&world), ["important", "w3", "w1", "w4", "w2"]);
    drop(visit);
    for visitor in visitors {
        visitor.await.expect("served");
    }
    let starts = |entry: &String| entry.starts_with("start ");
    let started: Vec<_> = world.platform.log().into_iter().filter(starts).collect();
    let order = ["start w0", "start important", "start w3", "start w1", "start w4", "start w2"];
    assert_eq!(started, order);
}

#[tokio::test(start_paused = true)]
async fn every_queued_wake_gets_its_position_whenever_it_changes() {
    let mut important = pooled(spec("important"));
    membership(&mut important).priority = 1;
    let mut impatient = pooled(spec("impatient"));
    membership(&mut impatient).priority = 1;
    let specs = vec![pooled(spec("w0")), pooled(spec("w1")), important, impatient];
    let world = World::with_pools(vec![pool(1)], specs);
    let visit = world.visit("w0").await.expect("admitted");
    let position = |name: &str| match world.snapshot(name).stage {
        Some(Stage::Queued { position, length }) => (position, length),
        stage => panic!("{name}: {stage:?}"),
    };
    let last = world.caller("w1");
    moment().await;
    assert_eq!(position("w1"), (1, 1));
    let first = world.caller("important");
    moment().await;
    world.workload("impatient").wake(request());
    moment().await;
    assert_eq!(
        (position("important"), position("impatient"), position("w1")),
        ((1, 3), (2, 3), (3, 3))
    );
    world.engine.sleep("impatient", operator(), Force::AtOnce).expect("not needed");
    moment().await;
    assert_eq!((position("important"), position("w1")), ((1, 2), (2, 2)));
    drop(visit);
    first.await.expect("served");
    assert_eq!(position("w1"), (1, 1));
    last.await.expect("served");
}

#[tokio::test(start_paused = true)]
async fn a_wake_beyond_the_queue_limit_is_refused_at_once() {
    let small = PoolSpec { max_queued: 2, ..pool(1) };
    let specs = (0..4).map(|n| pooled(spec(&format!("w{n}"))));
    let world = World::with_pools(vec![small], specs.collect());
    let _visit = world.visit("w0").await.expect("admitted");
    let _waiting = [world.visitor("w1"), world.visitor("w2")];
    moment().await;
    let asked = Instant::now();
    let (why, retry) = world.refused("w3").await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!(why, "pool \"small\" is full, and 2 wakes wait for a slot already");
    assert_eq!(retry, Some(COOLDOWN));
}

#[tokio::test(start_paused = true)]
async fn a_wake_fails_after_the_queue_timeout_of_its_pool() {
    let small = PoolSpec { queue_timeout: Duration::from_secs(20), ..pool(1) };
    let specs = vec![pooled(spec("w0")), pooled(spec("w1"))];
    let world = World::with_pools(vec![small], specs);
    let _visit = world.visit("w0").await.expect("admitted");
    let asked = Instant::now();
    let (why, _) = world.refused("w1").await;
    assert_eq!(asked.elapsed(), Duration::from_secs(20));
    assert!(why.contains("no slot in its pool was free"), "{why}");
    assert_eq!(queue(&world), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn two_apps_with_a_database_each_do_not_deadlock_over_slots() {
    let specs = vec![
        pooled(spec("db1")),
        pooled(spec("db2")),
        pooled(spec_needing("app1", &["db1"])),
        pooled(spec_needing("app2", &["db2"])),
    ];
    let world = World::with_pools(vec![pool(2)], specs);
    let asked = Instant::now();
    let visitors = [world.visitor("app1"), world.visitor("app2")];
    for visitor in visitors {
        drop(visitor.await.expect("visitor").expect("admitted"));
    }
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert!(world.entries(None).iter().all(|entry| entry.failure.is_none()));
}

#[tokio::test(start_paused = true)]
async fn workloads_that_exceed_the_ceiling_together_are_refused_at_once() {
    let specs = vec![
        pooled(spec("a")),
        pooled(spec_needing("b", &["a"])),
        pooled(spec_needing("c", &["b"])),
    ];
    let world = World::with_pools(vec![pool(2)], specs);
    let (why, _) = world.refused("c").await;
    assert!(why.starts_with("c, b, a cannot be awake together in pool \"small\""), "{why}");
    world.call("b").await;
}

#[tokio::test(start_paused = true)]
async fn running_targets_above_the_ceiling_are_evicted_when_idle() {
    let specs = (0..4).map(|n| WorkloadSpec { idle: None, ..pooled(spec(&format!("w{n}"))) });
    let world = World::with_pools(vec![pool(2)], specs.collect());
    for n in 0..4 {
        world.platform.becomes(&format!("w{n}"), crate::provider::Status::Running);
    }
    world.engine.reconcile();
    moment().await;
    assert_eq!(awake(&world).len(), 4, "they are served at first");
    let visits: Vec<_> = ["w0", "w1", "w2", "w3"]
        .map(|name| world.workload(name).enter().expect("the gate is open"))
        .into_iter()
        .collect();
    pass(Duration::from_secs(60)).await;
    assert_eq!(awake(&world).len(), 4, "a visitor is inside each of them");
    drop(visits);
    pass(Duration::from_secs(5)).await;
    assert_eq!(awake(&world), ["w2", "w3"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_started_on_its_platform_is_not_evicted_before_its_idle_time() {
    let world = crowd(1, 2);
    world.platform.becomes("w0", crate::provider::Status::Running);
    world.engine.reconcile();
    moment().await;
    let asked = Instant::now();
    world.call("w1").await;
    assert!(asked.elapsed() >= IDLE, "a fresh deploy was stopped after {:?}", asked.elapsed());
}

fn gibibytes(count: u64) -> u64 {
    count << 30
}

/// Three workloads that declare 2 GiB each, in a pool with `memory` bytes.
fn heavy(memory: u64) -> World {
    let spec = |name: &str| {
        let mut spec = pooled(spec(name));
        membership(&mut spec).memory = Some(gibibytes(2));
        spec
    };
    let pools = vec![PoolSpec { max_awake: None, max_memory: Some(memory), ..pool(0) }];
    World::with_pools(pools, vec![spec("a"), spec("b"), spec("c")])
}

fn measured(world: &World, name: &str, memory: u64) {
    let usage = Usage { memory: Some(memory), cpu_percent: None };
    world.platform.with(name, |guest| guest.usage = Ok(usage));
}

#[tokio::test(start_paused = true)]
async fn declared_memory_counts_until_the_provider_has_measured_it() {
    let world = heavy(gibibytes(5));
    used(&world, "a").await;
    used(&world, "b").await;
    used(&world, "c").await;
    assert_eq!(awake(&world), ["b", "c"], "three times 2 GiB are too much");
    // It uses less than declared.
    for name in ["a", "b", "c"] {
        measured(&world, name, gibibytes(1));
    }
    let _keeps = [world.visit("b").await, world.visit("c").await];
    pass(Duration::from_secs(31)).await;
    assert_eq!(world.engine.pools()[0].memory, gibibytes(2));
    used(&world, "a").await;
    assert_eq!(awake(&world), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_grows_beyond_the_memory_ceiling_evicts_an_idle_one() {
    let world = heavy(gibibytes(6));
    used(&world, "a").await;
    let visit = world.visit("b").await.expect("admitted");
    measured(&world, "b", gibibytes(5));
    pass(Duration::from_secs(35)).await;
    assert_eq!(awake(&world), ["b"]);
    drop(visit);
}

#[tokio::test(start_paused = true)]
async fn a_workload_measured_above_the_memory_ceiling_can_be_woken_alone() {
    let world = heavy(gibibytes(3));
    measured(&world, "a", gibibytes(4));
    used(&world, "a").await;
    pass(Duration::from_secs(35)).await;
    assert_eq!(awake(&world), ["a"], "no other member would profit");
    world.phase("a", Phase::Asleep).await;
    world.call("a").await;
    used(&world, "b").await;
    assert_eq!(awake(&world), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_declares_more_memory_than_the_ceiling_is_refused() {
    let world = heavy(gibibytes(1));
    let (why, _) = world.refused("a").await;
    assert!(why.contains("cannot be awake together in pool"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_workload_of_an_unknown_pool_is_refused_by_name() {
    let world = World::new(Vec::new());
    let failure = world.engine.add_workload(pooled(spec("w"))).err().expect("no such pool");
    assert_eq!(failure.code, ErrorCode::NotFound);
    assert!(failure.message.contains("[pool.small]"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn an_ended_job_frees_its_slot_and_those_of_its_own_dependencies() {
    let migrate = WorkloadSpec { needs: vec![until("tool", Until::Healthy)], ..job("migrate") };
    let needs = vec![until("db", Until::Healthy), until("migrate", Until::Completed)];
    let web = WorkloadSpec { needs, ..spec("web") };
    let specs = [spec("db"), spec("tool"), migrate, web];
    let world = World::with_pools(vec![pool(4)], specs.map(pooled).to_vec());
    world.platform.with("migrate", |guest| guest.ends = Some((Duration::from_secs(1), 0)));
    let _visit = world.visit("web").await.expect("admitted");
    pass(IDLE + Duration::from_secs(5)).await;
    assert_eq!(awake(&world), ["db", "web"]);
    assert_eq!(world.engine.pools().remove(0).awake, 2);
}

#[tokio::test(start_paused = true)]
async fn a_huge_memory_measurement_does_not_overflow() {
    let pools = vec![PoolSpec { max_memory: Some(10), ..pool(3) }];
    let heavy = |name: &str| {
        let mut spec = pooled(spec(name));
        membership(&mut spec).memory = Some(4);
        spec
    };
    let world = World::with_pools(pools, vec![heavy("a"), heavy("b")]);
    let usage = Usage { cpu_percent: None, memory: Some(u64::MAX) };
    world.platform.with("a", |guest| guest.usage = Ok(usage));
    used(&world, "a").await;
    world.call("b").await;
    assert_eq!(awake(&world), ["b"]);
}
