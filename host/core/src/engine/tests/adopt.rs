//! Adoption of running targets, and records of an earlier router.

use super::*;
use crate::{provider::Status, spec::Adopt};

/// A target that runs when the engine starts.
async fn found(adopt: Adopt) -> World {
    let world = World::new(vec![WorkloadSpec { adopt, ..spec("blog") }]);
    world.platform.becomes("blog", Status::Running);
    world.platform.sync().await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_running_target_is_adopted_without_a_start_and_kept_until_the_first_visit() {
    let world = found(Adopt::Keep).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    assert_eq!(world.platform.log(), [""; 0]);
    pass(IDLE * 10).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "it is unrequested");
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn a_running_target_sleeps_after_its_idle_time_with_adopt_sleep() {
    let world = found(Adopt::Sleep).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    let found = Instant::now();
    world.phase("blog", Phase::Stopping).await;
    assert!(found.elapsed() >= IDLE - Duration::from_millis(5), "{:?}", found.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_running_target_is_ignored_until_a_wake_with_adopt_ignore() {
    let world = found(Adopt::Ignore).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    pass(IDLE * 10).await;
    assert_eq!(world.platform.log(), [""; 0]);
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("stop blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_target_that_is_never_ready_is_not_stopped() {
    let world = World::new(vec![spec("blog")]);
    world.platform.becomes("blog", Status::Running);
    world.looks.hide("blog");
    world.platform.sync().await;
    world.phase("blog", Phase::Failed).await;
    pass(IDLE * 10).await;
    assert_eq!(world.platform.asked("stop blog"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_target_that_ends_before_it_is_ready_has_not_failed() {
    let world = World::new(vec![spec("blog")]);
    world.platform.becomes("blog", Status::Running);
    world.looks.hide("blog");
    world.platform.sync().await;
    assert_eq!(world.phase_of("blog"), Phase::Waking);
    let visitor = world.visitor("blog");
    moment().await;
    world.platform.becomes("blog", Status::Stopped);
    world.platform.report("blog").await;
    world.looks.show("blog");
    visitor.await.expect("visitor").expect("it was woken for the visitor");
    assert_eq!(world.platform.asked("start blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn adoption_holds_dependencies_awake_and_runs_no_job() {
    let needs = vec![until("db", Until::Healthy), until("migrate", Until::Completed)];
    let web = WorkloadSpec { needs, ..spec("web") };
    let world = World::new(vec![spec("db"), job("migrate"), web]);
    world.platform.becomes("web", Status::Running);
    world.platform.sync().await;
    world.phase("db", Phase::Ready).await;
    assert_eq!(world.workload("db").status().held, 1);
    assert_eq!(world.platform.asked("start migrate"), 0);
}

/// Two routers, one after the other, on the same platform, with a time `away` between them.
async fn restarted(first: &World, away: Duration, change: impl FnOnce(&World)) -> World {
    let notes = first.engine.instance_records();
    let spec = first.workload("blog").spec().clone();
    let guest = first.platform.with("blog", |guest| guest.clone());
    pass(away).await;
    let second = World::new(vec![spec]);
    second.platform.with("blog", |other| *other = guest);
    change(&second);
    second.engine.restore(
        notes
            .into_iter()
            .map(|note| InstanceRecord {
                // The clock of the second engine starts again.
                used: note.used - first.began.elapsed(),
                ..note
            })
            .collect(),
    );
    second.engine.reconcile();
    moment().await;
    second
}

async fn used_for(time: Duration, adopt: Adopt) -> World {
    let world = World::new(vec![WorkloadSpec { adopt, ..spec("blog") }]);
    world.call("blog").await;
    pass(time).await;
    world
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_goes_on_where_it_was_when_the_router_ended() {
    for adopt in [Adopt::Keep, Adopt::Sleep, Adopt::Ignore] {
        let first = used_for(Duration::from_secs(20), adopt).await;
        let second = restarted(&first, Duration::from_secs(10), |_| {}).await;
        assert_eq!(second.phase_of("blog"), Phase::Ready);
        let found = Instant::now();
        second.phase("blog", Phase::Stopping).await;
        let left = found.elapsed();
        let expected = Duration::from_secs(30);
        assert!(left.abs_diff(expected) < Duration::from_millis(500), "{adopt:?}: {left:?}");
        assert_eq!(second.platform.asked("start blog"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_instance_past_its_idle_time_stays_for_a_grace_time() {
    let first = used_for(Duration::from_secs(50), Adopt::Keep).await;
    let second = restarted(&first, IDLE * 10, |_| {}).await;
    let found = Instant::now();
    second.phase("blog", Phase::Stopping).await;
    let left = found.elapsed();
    assert!(left.abs_diff(Duration::from_secs(10)) < Duration::from_millis(500), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn another_instance_under_the_same_name_is_not_the_recorded_one() {
    let first = used_for(Duration::from_secs(20), Adopt::Keep).await;
    let change = |world: &World| world.platform.with("blog", |guest| guest.id += 1);
    let second = restarted(&first, Duration::ZERO, change).await;
    pass(IDLE * 10).await;
    assert_eq!(second.phase_of("blog"), Phase::Ready, "this instance is unrequested");
}

#[tokio::test(start_paused = true)]
async fn an_unrequested_instance_is_not_recorded() {
    let world = found(Adopt::Keep).await;
    assert_eq!(world.engine.instance_records(), []);
    world.call("blog").await;
    assert_eq!(world.engine.instance_records().len(), 1);
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.engine.instance_records(), []);
}

#[tokio::test(start_paused = true)]
async fn an_instance_started_while_no_router_ran_is_not_the_recorded_one() {
    let first = used_for(Duration::from_secs(20), Adopt::Keep).await;
    let restart = |world: &World| {
        world.platform.with("blog", |guest| guest.began = Some(Instant::now()));
    };
    let second = restarted(&first, Duration::from_secs(60), restart).await;
    pass(IDLE * 10).await;
    assert_eq!(second.phase_of("blog"), Phase::Ready, "this instance is unrequested");
}

#[tokio::test(start_paused = true)]
async fn an_instance_woken_while_the_router_ends_is_recorded() {
    let first = World::new(vec![spec("blog")]);
    first.looks.hide("blog");
    let visitor = first.visitor("blog");
    first.platform.is_asked("start blog").await;
    assert_eq!(first.engine.instance_records().len(), 1, "it may run at any moment");
    first.platform.is_asked("started blog").await;
    let second = restarted(&first, Duration::from_secs(10), |_| {}).await;
    assert_eq!(second.phase_of("blog"), Phase::Ready);
    second.phase("blog", Phase::Asleep).await;
    visitor.abort();
}

#[tokio::test(start_paused = true)]
async fn an_instance_stopping_while_the_router_ends_is_recorded() {
    for fails in [0, 1] {
        let first = World::new(vec![spec("blog")]);
        first.platform.with("blog", |guest| {
            guest.stop_takes = Duration::from_secs(5);
            guest.stop_fails = fails;
        });
        first.call("blog").await;
        let phase = if fails == 0 { Phase::Stopping } else { Phase::Failed };
        first.phase("blog", phase).await;
        let second = restarted(&first, Duration::ZERO, |_| {}).await;
        second.phase("blog", Phase::Asleep).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_instance_that_was_not_found_yet_stays_recorded() {
    let first = used_for(Duration::from_secs(20), Adopt::Keep).await;
    let unseen = |world: &World| world.platform.with("blog", |guest| guest.status_fails = 1);
    let second = restarted(&first, Duration::ZERO, unseen).await;
    assert_eq!(second.phase_of("blog"), Phase::Asleep, "its provider does not answer");
    assert_eq!(second.engine.instance_records().len(), 1);
    second.platform.becomes("blog", Status::Stopped);
    pass(Duration::from_secs(5)).await;
    assert_eq!(second.engine.instance_records(), [], "it does not run any more");
}

#[tokio::test(start_paused = true)]
async fn a_needed_instance_is_recorded_as_used() {
    let world = World::new(vec![spec("db"), spec_needing("web", &["db"])]);
    let _visit = world.visit("web").await.expect("admitted");
    pass(IDLE * 5).await;
    let db =
        world.engine.instance_records().into_iter().find(|note| note.workload.as_str() == "db");
    assert_eq!(db.expect("it is awake").used, morning() + world.began.elapsed());
}
