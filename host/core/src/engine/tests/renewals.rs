//! What an operator has restarted or made anew.

use super::*;
use crate::{provider::Ability, step::Renewal};

const RECREATE: Renewal = Renewal::Recreate { refresh: false };
const REFRESH: Renewal = Renewal::Recreate { refresh: true };

impl World {
    fn renew(&self, name: &str, renewal: Renewal) -> Result<(), Failure> {
        self.engine.renew(name, operator(), Force::Drain, renewal)
    }
}

fn kinds(told: &[Entry]) -> Vec<OperationKind> {
    told.iter().map(|entry| entry.kind).collect()
}

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_who_is_inside_and_wakes_it_for_nobody() {
    let world = World::new(vec![spec("blog")]);
    let inside = world.visit("blog").await.expect("admitted");
    world.renew("blog", Renewal::Restart).expect("known");
    pass(Duration::from_secs(5)).await;
    assert_eq!((world.phase_of("blog"), world.platform.asked("stop blog")), (Phase::Draining, 0));
    drop(inside);
    world
        .until("blog", "its second life", |seen| {
            seen.phase == Phase::Ready && seen.generation == Generation(2)
        })
        .await;
    let told = world.told(Some("blog")).split_off(2);
    assert_eq!(
        kinds(&told),
        [OperationKind::Stop, OperationKind::Restart, OperationKind::Start, OperationKind::Wake]
    );
    assert!(told.iter().all(|entry| entry.trigger == Trigger::Cli && entry.failure.is_none()));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_during_a_restart_is_served_by_the_new_life() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(5));
    world.call("blog").await;
    world.renew("blog", Renewal::Restart).expect("known");
    assert_eq!(world.phase_of("blog"), Phase::Stopping);
    world.call("blog").await;
    assert_eq!(world.snapshot("blog").generation, Generation(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_made_anew_is_awake_afterwards_if_it_was_and_has_another_identity() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    world
        .until("blog", "awake again", |seen| {
            seen.phase == Phase::Ready && seen.generation == Generation(2)
        })
        .await;
    assert_eq!(world.platform.asked("refresh blog"), 1);
    let told = world.told(Some("blog")).split_off(2);
    assert_eq!(
        kinds(&told),
        [
            OperationKind::Recreate,
            OperationKind::Restart,
            OperationKind::Start,
            OperationKind::Wake
        ]
    );
    assert_eq!(told[0].native_before.as_deref(), Some("blog-0"));
    assert_eq!(told[0].native_after.as_deref(), Some("blog-1"));
    let correlation = told[0].correlation;
    assert!(told[..2].iter().all(|entry| entry.correlation == correlation));
}

#[tokio::test(start_paused = true)]
async fn what_sleeps_is_made_anew_without_being_woken() {
    let world = World::new(vec![spec("blog")]);
    world.renew("blog", RECREATE).expect("known");
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.log(), ["recreate blog", "recreated blog"]);
    assert!(!world.platform.runs("blog"));
}

#[tokio::test(start_paused = true)]
async fn a_second_order_while_the_first_is_carried_out_is_a_conflict_at_once() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(5));
    world.renew("blog", RECREATE).expect("known");
    for renewal in [Renewal::Restart, RECREATE] {
        let failure = world.renew("blog", renewal).expect_err("it is being made anew");
        assert_eq!(failure.code, ErrorCode::Conflict);
        assert!(failure.message.contains("already"), "{failure}");
    }
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("recreate blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_anew_serves_on_and_the_journal_says_why() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.recreate_fails = Some(ErrorCode::Unavailable));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    world.call("blog").await;
    let told = world.told(Some("blog")).split_off(2);
    assert_eq!(
        kinds(&told),
        [
            OperationKind::Recreate,
            OperationKind::Restart,
            OperationKind::Start,
            OperationKind::Wake
        ]
    );
    let failure = told[1].failure.as_ref().expect("it failed");
    assert!(failure.message.contains("cannot be fetched"), "{failure}");
    assert_eq!(world.platform.asked("refresh blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_others_need_can_be_restarted_under_them() {
    let world = World::new(vec![spec("db"), spec_needing("web", &["db"])]);
    let inside = world.visit("web").await.expect("admitted");
    world.renew("db", Renewal::Restart).expect("known");
    world
        .until("db", "its second life", |seen| {
            seen.phase == Phase::Ready && seen.generation == Generation(2)
        })
        .await;
    assert_eq!(world.phase_of("web"), Phase::Ready);
    drop(inside);
}

/// A world that fetches in so long what is newer.
fn fetching(takes: Duration) -> World {
    let world = World::new(vec![spec("blog")]);
    world.platform.learns(Ability::Fetch);
    world.platform.with("blog", |guest| guest.fetch_takes = takes);
    world
}

#[tokio::test(start_paused = true)]
async fn visitors_are_served_while_what_is_newer_is_fetched() {
    let world = fetching(Duration::from_secs(300));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    for _ in 0..10 {
        pass(Duration::from_secs(29)).await;
        world.call("blog").await;
        assert_eq!(world.phase_of("blog"), Phase::Ready);
    }
    world
        .until("blog", "awake again", |seen| {
            seen.phase == Phase::Ready && seen.generation == Generation(2)
        })
        .await;
    assert_eq!(world.platform.log()[2..5], ["fetch blog", "fetched blog", "refresh blog"]);
    let told = world.told(Some("blog")).split_off(2);
    assert_eq!(
        kinds(&told),
        [
            OperationKind::Fetch,
            OperationKind::Recreate,
            OperationKind::Restart,
            OperationKind::Start,
            OperationKind::Wake
        ]
    );
    assert!(told[..3].iter().all(|entry| entry.correlation == told[0].correlation));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_fetched_is_not_touched() {
    let world = fetching(Duration::from_secs(3));
    world.platform.with("blog", |guest| guest.fetch_fails = Some(ErrorCode::Unavailable));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    pass(Duration::from_secs(4)).await;
    assert_eq!(world.snapshot("blog").generation, Generation(1));
    assert_eq!(world.platform.asked("refresh blog"), 0);
    let told = world.told(Some("blog")).split_off(2);
    assert_eq!(kinds(&told), [OperationKind::Fetch]);
    let failure = told[0].failure.as_ref().expect("it failed");
    assert!(failure.message.contains("the registry is down"), "{failure}");
    world.platform.with("blog", |guest| guest.fetch_fails = None);
    world.renew("blog", REFRESH).expect("the one before has ended");
}

#[tokio::test(start_paused = true)]
async fn a_second_order_while_something_is_fetched_is_a_conflict_at_once() {
    let world = fetching(Duration::from_secs(60));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    for renewal in [Renewal::Restart, RECREATE, REFRESH] {
        let failure = world.renew("blog", renewal).expect_err("it is being fetched for");
        assert_eq!(failure.code, ErrorCode::Conflict);
        assert!(failure.message.contains("already"), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_falls_asleep_while_something_is_fetched_is_made_anew_asleep() {
    let world = fetching(Duration::from_secs(5));
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(10));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    world.engine.sleep("blog", operator(), Force::AtOnce).expect("nobody needs it");
    // The stop takes longer than what is fetched.
    pass(Duration::from_secs(6)).await;
    assert_eq!(
        (world.phase_of("blog"), world.platform.asked("fetched blog")),
        (Phase::Stopping, 1)
    );
    pass(Duration::from_secs(20)).await;
    assert_eq!(
        (world.phase_of("blog"), world.platform.asked("recreated blog")),
        (Phase::Asleep, 1)
    );
    assert!(!world.platform.runs("blog"));
}

#[tokio::test(start_paused = true)]
async fn who_watches_what_sleeps_sees_it_being_made_anew_after_the_fetch() {
    let world = fetching(Duration::from_secs(5));
    let workload = world.engine.workload("blog").expect("known");
    let mut watch = workload.watch();
    world.renew("blog", REFRESH).expect("known");
    assert!(workload.is_fetching());
    while workload.is_fetching() {
        watch.changed().await.expect("it is told when that is over");
    }
    // It sleeps or is being made anew; in the end the one follows the other.
    while workload.snapshot().phase != Phase::Asleep {
        watch.changed().await.expect("it is told when that is over");
    }
    assert_eq!(world.platform.asked("recreated blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_recreation_that_its_provider_cannot_do_is_refused_before_visitors_are_cut_off() {
    let world = World::new(vec![spec("blog")]);
    world.platform.unlearns(Ability::Recreate);
    let inside = world.visit("blog").await.expect("admitted");
    for renewal in [RECREATE, REFRESH] {
        let failure = world.renew("blog", renewal).expect_err("refused");
        assert_eq!(failure.code, ErrorCode::Unsupported);
        assert!(failure.message.contains("cannot recreate blog"), "{}", failure.message);
    }
    pass(Duration::from_secs(60)).await;
    assert_eq!((world.phase_of("blog"), inside.generation()), (Phase::Ready, Generation(1)));
    world.renew("blog", Renewal::Restart).expect("a restart needs no ability");
}
