//! Restarts and recreations by an operator.

use super::*;
use crate::{provider::Ability, step::Renewal};

const RECREATE: Renewal = Renewal::Recreate { refresh: false };
const REFRESH: Renewal = Renewal::Recreate { refresh: true };

impl World {
    fn renew(&self, name: &str, renewal: Renewal) -> Result<(), Failure> {
        self.engine.renew(name, operator(), Force::Drain, renewal)
    }
}

fn kinds(entries: &[Entry]) -> Vec<OperationKind> {
    entries.iter().map(|entry| entry.kind).collect()
}

/// The entries of a recreation and of the wake that follows it.
const RENEWED: [OperationKind; 4] =
    [OperationKind::Recreate, OperationKind::Restart, OperationKind::Start, OperationKind::Wake];

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_visits_inside_and_wakes_without_visitors() {
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
    let entries = world.entries(Some("blog")).split_off(2);
    assert_eq!(
        kinds(&entries),
        [OperationKind::Stop, OperationKind::Restart, OperationKind::Start, OperationKind::Wake]
    );
    assert!(entries.iter().all(|entry| entry.trigger == Trigger::Cli && entry.failure.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_during_a_restart_is_served_by_the_new_instance() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(5));
    world.call("blog").await;
    world.renew("blog", Renewal::Restart).expect("known");
    assert_eq!(world.phase_of("blog"), Phase::Stopping);
    world.call("blog").await;
    assert_eq!(world.snapshot("blog").generation, Generation(2));
}

#[tokio::test(start_paused = true)]
async fn an_awake_workload_is_awake_after_recreation_with_another_native_id() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    world
        .until("blog", "awake again", |seen| {
            seen.phase == Phase::Ready && seen.generation == Generation(2)
        })
        .await;
    assert_eq!(world.platform.asked("refresh blog"), 1);
    let entries = world.entries(Some("blog")).split_off(2);
    assert_eq!(kinds(&entries), RENEWED);
    assert_eq!(entries[0].native_before.as_deref(), Some("blog-0"));
    assert_eq!(entries[0].native_after.as_deref(), Some("blog-1"));
    let correlation = entries[0].correlation;
    assert!(entries[..2].iter().all(|entry| entry.correlation == correlation));
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_workload_is_recreated_without_being_woken() {
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
        let failure = world.renew("blog", renewal).expect_err("it is being recreated");
        assert_eq!(failure.code, ErrorCode::Conflict);
        assert!(failure.message.contains("already"), "{failure}");
    }
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("recreate blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_cannot_be_recreated_serves_on_and_the_failure_is_recorded() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.recreate_fails = Some(ErrorCode::Unavailable));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    world.call("blog").await;
    let entries = world.entries(Some("blog")).split_off(2);
    assert_eq!(kinds(&entries), RENEWED);
    let failure = entries[1].failure.as_ref().expect("it failed");
    assert!(failure.message.contains("cannot be fetched"), "{failure}");
    assert_eq!(world.platform.asked("refresh blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_needed_workload_can_be_restarted() {
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

/// A world in which a fetch takes this long.
fn fetching(takes: Duration) -> World {
    let world = World::new(vec![spec("blog")]);
    world.platform.learns(Ability::Fetch);
    world.platform.with("blog", |guest| guest.fetch_takes = takes);
    world
}

#[tokio::test(start_paused = true)]
async fn visitors_are_served_during_a_fetch() {
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
    let entries = world.entries(Some("blog")).split_off(2);
    assert_eq!(
        kinds(&entries),
        [
            OperationKind::Fetch,
            OperationKind::Recreate,
            OperationKind::Restart,
            OperationKind::Start,
            OperationKind::Wake
        ]
    );
    assert!(entries[..3].iter().all(|entry| entry.correlation == entries[0].correlation));
}

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_changes_nothing() {
    let world = fetching(Duration::from_secs(3));
    world.platform.with("blog", |guest| guest.fetch_fails = Some(ErrorCode::Unavailable));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    pass(Duration::from_secs(4)).await;
    assert_eq!(world.snapshot("blog").generation, Generation(1));
    assert_eq!(world.platform.asked("refresh blog"), 0);
    let entries = world.entries(Some("blog")).split_off(2);
    assert_eq!(kinds(&entries), [OperationKind::Fetch]);
    let failure = entries[0].failure.as_ref().expect("it failed");
    assert!(failure.message.contains("the registry is down"), "{failure}");
    world.platform.with("blog", |guest| guest.fetch_fails = None);
    world.renew("blog", REFRESH).expect("the one before has ended");
}

#[tokio::test(start_paused = true)]
async fn a_second_order_during_a_fetch_is_a_conflict_at_once() {
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
async fn a_workload_that_falls_asleep_during_a_fetch_is_recreated_asleep() {
    let world = fetching(Duration::from_secs(5));
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(10));
    world.call("blog").await;
    world.renew("blog", REFRESH).expect("known");
    world.engine.sleep("blog", operator(), Force::AtOnce).expect("it is not needed");
    // The stop takes longer than the fetch.
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
async fn a_watcher_of_a_sleeping_workload_sees_its_recreation_after_the_fetch() {
    let world = fetching(Duration::from_secs(5));
    let workload = world.engine.workload("blog").expect("known");
    let mut watch = workload.watch();
    world.renew("blog", REFRESH).expect("known");
    assert!(workload.is_fetching());
    while workload.is_fetching() {
        watch.changed().await.expect("it is notified of the end");
    }
    // It sleeps or is being recreated; the end follows.
    while workload.snapshot().phase != Phase::Asleep {
        watch.changed().await.expect("it is notified of the end");
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
