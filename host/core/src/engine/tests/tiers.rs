//! A light sleep first, a deep one later.

use super::*;
use crate::spec::{Deeper, SleepMethod, SleepPlan};

const DEEPER: Duration = Duration::from_secs(600);

fn tiered(spec: WorkloadSpec) -> WorkloadSpec {
    let plan = |method| SleepPlan { method, ..SleepPlan::default() };
    let deeper = Deeper { after: DEEPER, plan: plan(SleepMethod::Stop) };
    WorkloadSpec { sleep: plan(SleepMethod::Pause), deeper: Some(deeper), ..spec }
}

fn blog() -> World {
    World::new(vec![tiered(spec("blog"))])
}

#[tokio::test(start_paused = true)]
async fn it_is_paused_first_and_stopped_when_nobody_has_come_for_long() {
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
    assert_eq!((world.count("blog", Kind::Pause), world.count("blog", Kind::Stop)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_wakes_it_from_either_sleep() {
    let world = blog();
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    world.call("blog").await;
    assert_eq!(world.count("blog", Kind::Stop), 0);
    pass(DEEPER * 2).await;
    assert_eq!(world.count("blog", Kind::Stop), 1);
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
async fn one_that_could_not_be_woken_from_the_light_sleep_still_becomes_deep() {
    let db = spec("db");
    let web = tiered(spec_needing("web", &["db"]));
    let world = World::new(vec![db, web]);
    world.call("web").await;
    world.phase("web", Phase::Asleep).await;
    world.phase("db", Phase::Asleep).await;
    world.platform.with("db", |guest| guest.start_fails = Some(ErrorCode::Denied));
    world.turned("web").await;
    assert_eq!(world.platform.asked("start web"), 1, "it was not touched");
    world.platform.is_asked("stop web").await;
    world.phase("web", Phase::Asleep).await;
    assert!(!world.workload("web").status().light);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_wake_leaves_paused_becomes_deep() {
    let world = blog();
    world.looks.hide("blog");
    world.turned("blog").await;
    assert_eq!(world.platform.asked("pause blog"), 1);
    world.platform.is_asked("stop blog").await;
    world.phase("blog", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn a_light_sleeper_gives_its_place_back_and_is_deepened_for_its_memory() {
    let heavy = |name: &str| {
        let mut spec = tiered(pooled(spec(name)));
        membership(&mut spec).memory = Some(2);
        spec
    };
    let pools = vec![PoolSpec { memory: Some(4), ..pool(1) }];
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
    let told = world.told(Some("blog"));
    let last = told.last().expect("two sleeps");
    assert_eq!((last.kind, last.source), (Kind::Sleep, Source::Cli));
}
