//! A light sleep first, a deep one later.

use super::*;
use crate::{
    provider::Status,
    spec::{DeepSleep, SleepMethod, SleepPlan},
    step::Stage,
};

const DEEPER: Duration = Duration::from_secs(600);

fn tiered(spec: WorkloadSpec) -> WorkloadSpec {
    let plan = |method| SleepPlan { method, ..SleepPlan::default() };
    let deep_sleep = DeepSleep { after: DEEPER, plan: plan(SleepMethod::Stop) };
    WorkloadSpec { sleep: plan(SleepMethod::Pause), deep_sleep: Some(deep_sleep), ..spec }
}

fn blog() -> World {
    World::new(vec![tiered(spec("blog"))])
}

#[tokio::test(start_paused = true)]
async fn it_is_paused_first_and_stopped_after_a_long_time_without_visits() {
    let world = blog();
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    let asleep = Instant::now();
    assert!(world.workload("blog").status().light);
    assert_eq!(world.platform.log().last().map(String::as_str), Some("ended blog"));
    world.platform.is_asked("stop blog").await;
    assert_eq!(asleep.elapsed(), DEEPER);
    world.phase("blog", Phase::Asleep).await;
    assert!(!world.workload("blog").status().light);
    assert_eq!(
        (world.count("blog", OperationKind::Pause), world.count("blog", OperationKind::Stop)),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_visitor_wakes_it_from_either_sleep() {
    let world = blog();
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    world.call("blog").await;
    assert_eq!(world.count("blog", OperationKind::Stop), 0);
    pass(DEEPER * 2).await;
    assert_eq!(world.count("blog", OperationKind::Stop), 1);
    world.call("blog").await;
    assert_eq!(world.snapshot("blog").generation, Generation(3));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_during_the_deepening_is_served_by_the_next_wake() {
    let world = blog();
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(5));
    world.call("blog").await;
    world.platform.is_asked("stop blog").await;
    world.call("blog").await;
    let log = world.platform.log();
    assert_eq!(log[log.len() - 3..], ["ended blog", "start blog", "started blog"]);
}

#[tokio::test(start_paused = true)]
async fn a_light_sleeper_that_could_not_be_woken_is_still_deepened() {
    let db = spec("db");
    let web = tiered(spec_needing("web", &["db"]));
    let world = World::new(vec![db, web]);
    world.call("web").await;
    world.phase("web", Phase::Asleep).await;
    world.phase("db", Phase::Asleep).await;
    world.platform.with("db", |guest| guest.start_fails = Some(ErrorCode::Denied));
    world.refused("web").await;
    assert_eq!(world.platform.asked("start web"), 1, "it was not touched");
    world.platform.is_asked("stop web").await;
    world.phase("web", Phase::Asleep).await;
    assert!(!world.workload("web").status().light);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_in_a_wake_is_stopped_and_not_paused() {
    let only_paused = WorkloadSpec { deep_sleep: None, ..tiered(spec("blog")) };
    for spec in [tiered(spec("blog")), only_paused] {
        let world = World::new(vec![spec]);
        world.looks.hide("blog");
        world.refused("blog").await;
        world.platform.is_asked("ended blog").await;
        assert_eq!(world.platform.asked("pause blog"), 0);
        assert_eq!(world.platform.asked("stop blog"), 1);
        world.looks.show("blog");
        pass(COOLDOWN).await;
        world.call("blog").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_a_target_that_has_ended_succeeds() {
    let db = spec("db");
    let web = WorkloadSpec { deep_sleep: None, ..tiered(pooled(spec_needing("web", &["db"]))) };
    let world = World::with_pools(vec![pool(1)], vec![db, web]);
    world.call("web").await;
    // It ends without an event, after the last poll.
    pass(Duration::from_secs(50)).await;
    world.platform.becomes("web", Status::Stopped);
    world.platform.is_asked("pause web").await;
    world.phase("web", Phase::Asleep).await;
    assert!(world.snapshot("web").failure.is_none());
    assert_eq!(world.engine.pools().remove(0).awake, 0);
    world.phase("db", Phase::Asleep).await;
    pass(IDLE * 20).await;
    assert_eq!(world.platform.asked("pause web"), 1, "there is nothing left to pause");
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_start_hangs_is_stopped_instead_of_paused() {
    let web = WorkloadSpec { deep_sleep: None, ..tiered(spec_needing("web", &["db"])) };
    let world = World::new(vec![spec("db"), web]);
    world.platform.with("web", |guest| guest.start_takes = Duration::from_secs(100_000));
    world.refused("web").await;
    world.phase("db", Phase::Asleep).await;
    world.platform.with("web", |guest| guest.start_takes = Duration::from_secs(20));
    world.workload("web").wake(request());
    world.until("web", "is being started", |seen| seen.stage == Some(Stage::Starting)).await;
    world.engine.sleep("web", operator(), Force::Drain).expect("known");
    world.phase("db", Phase::Asleep).await;
    assert_eq!(world.platform.asked("pause web"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_target_found_paused_uses_memory_and_is_put_into_the_deep_sleep() {
    let mut heavy = tiered(pooled(spec("blog")));
    membership(&mut heavy).memory = Some(2);
    let world = World::with_pools(vec![PoolSpec { max_memory: Some(4), ..pool(1) }], vec![heavy]);
    world.platform.becomes("blog", Status::Paused);
    let found = Instant::now();
    world.platform.sync().await;
    assert!(world.workload("blog").status().light);
    assert_eq!(world.engine.pools().remove(0).memory, 2);
    world.platform.is_asked("stop blog").await;
    assert_eq!(found.elapsed().as_secs(), DEEPER.as_secs());
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.engine.pools().remove(0).memory, 0);
}

#[tokio::test(start_paused = true)]
async fn a_light_sleeper_whose_start_failed_sleeps_lightly_again() {
    let world = blog();
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Unavailable));
    world.refused("blog").await;
    moment().await;
    assert!(world.workload("blog").status().light);
    world.platform.is_asked("stop blog").await;
}

#[tokio::test(start_paused = true)]
async fn a_pinned_light_sleeper_is_not_put_into_the_deep_sleep_for_another_one() {
    let heavy = |name: &str, pinned| {
        let mut spec = tiered(pooled(spec(name)));
        (membership(&mut spec).memory, membership(&mut spec).pinned) = (Some(2), pinned);
        spec
    };
    let pools = vec![PoolSpec { max_memory: Some(5), ..pool(3) }];
    let world =
        World::with_pools(pools, vec![heavy("pinned", true), heavy("a", false), heavy("b", false)]);
    for name in ["pinned", "a"] {
        world.call(name).await;
        world.phase(name, Phase::Asleep).await;
    }
    world.call("b").await;
    assert_eq!((world.platform.asked("stop pinned"), world.platform.asked("stop a")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_light_sleeper_frees_its_slot_and_is_stopped_for_its_memory() {
    let heavy = |name: &str| {
        let mut spec = tiered(pooled(spec(name)));
        membership(&mut spec).memory = Some(2);
        spec
    };
    let pools = vec![PoolSpec { max_memory: Some(4), ..pool(1) }];
    let world = World::with_pools(pools, vec![heavy("a"), heavy("b"), heavy("c")]);
    world.call("a").await;
    world.phase("a", Phase::Asleep).await;
    let status = world.engine.pools().remove(0);
    assert_eq!((status.awake, status.memory), (0, 2));
    world.call("b").await;
    assert_eq!(world.platform.asked("stop a"), 0, "there is memory for two");
    world.phase("b", Phase::Asleep).await;
    world.call("c").await;
    assert_eq!(world.platform.asked("stop a"), 1, "the longest idle makes room");
    assert_eq!(world.platform.asked("stop b"), 0);
    let status = world.engine.pools().remove(0);
    assert_eq!((status.awake, status.memory), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn an_operator_puts_a_light_sleeper_to_the_deep_sleep_at_once() {
    let world = blog();
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    world.platform.is_asked("stop blog").await;
    world.phase("blog", Phase::Asleep).await;
    let entries = world.entries(Some("blog"));
    let last = entries.last().expect("two sleeps");
    assert_eq!((last.kind, last.trigger), (OperationKind::Sleep, Trigger::Cli));
}
