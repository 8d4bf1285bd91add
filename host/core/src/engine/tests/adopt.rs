//! What runs although nobody here has started it, and what an earlier router knew.

use super::*;
use crate::{provider::Status, spec::Adopt};

/// It runs when the engine finds it.
async fn found(adopt: Adopt) -> World {
    let world = World::new(vec![WorkloadSpec { adopt, ..spec("blog") }]);
    world.platform.becomes("blog", Status::Running);
    world.platform.sync().await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_runs_already_is_adopted_without_a_start_and_kept_until_somebody_has_come() {
    let world = found(Adopt::Keep).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    assert_eq!(world.platform.log(), [""; 0]);
    pass(IDLE * 10).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "nobody has asked for it");
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_already_sleeps_after_its_idle_time_when_told_so() {
    let world = found(Adopt::Sleep).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    let found = Instant::now();
    world.phase("blog", Phase::Stopping).await;
    assert!(found.elapsed() >= IDLE - Duration::from_millis(5), "{:?}", found.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_runs_already_is_left_alone_when_told_so_until_somebody_wants_it() {
    let world = found(Adopt::Ignore).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    pass(IDLE * 10).await;
    assert_eq!(world.platform.log(), [""; 0]);
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("stop blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_adopted_and_does_not_answer_is_not_stopped() {
    let world = World::new(vec![spec("blog")]);
    world.platform.becomes("blog", Status::Running);
    world.looks.hide("blog");
    world.platform.sync().await;
    world.phase("blog", Phase::Failed).await;
    pass(IDLE * 10).await;
    assert_eq!(world.platform.asked("stop blog"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_adopted_and_goes_before_it_is_ready_has_not_failed() {
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
async fn adopting_holds_what_is_needed_awake_and_runs_no_job() {
    let needs = vec![until("db", Until::Healthy), until("migrate", Until::Completed)];
    let web = WorkloadSpec { needs, ..spec("web") };
    let world = World::new(vec![spec("db"), job("migrate"), web]);
    world.platform.becomes("web", Status::Running);
    world.platform.sync().await;
    world.phase("db", Phase::Ready).await;
    assert_eq!(world.workload("db").status().held, 1);
    assert_eq!(world.platform.asked("start migrate"), 0);
}

/// Two routers, one after the other, on the same platform; and how long there was none.
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
                // The second engine's day begins anew.
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
async fn one_that_is_overdue_stays_long_enough_to_be_visited() {
    let first = used_for(Duration::from_secs(50), Adopt::Keep).await;
    let second = restarted(&first, IDLE * 10, |_| {}).await;
    let found = Instant::now();
    second.phase("blog", Phase::Stopping).await;
    let left = found.elapsed();
    assert!(left.abs_diff(Duration::from_secs(10)) < Duration::from_millis(500), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn another_one_under_the_same_name_is_not_the_one_that_was_noted() {
    let first = used_for(Duration::from_secs(20), Adopt::Keep).await;
    let change = |world: &World| world.platform.with("blog", |guest| guest.id += 1);
    let second = restarted(&first, Duration::ZERO, change).await;
    pass(IDLE * 10).await;
    assert_eq!(second.phase_of("blog"), Phase::Ready, "nobody has asked for this one");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_asked_for_is_not_noted() {
    let world = found(Adopt::Keep).await;
    assert_eq!(world.engine.instance_records(), []);
    world.call("blog").await;
    assert_eq!(world.engine.instance_records().len(), 1);
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.engine.instance_records(), []);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_started_again_while_there_was_no_router_is_not_the_one_that_was_noted() {
    let first = used_for(Duration::from_secs(20), Adopt::Keep).await;
    let restart = |world: &World| {
        world.platform.with("blog", |guest| guest.began = Some(Instant::now()));
    };
    let second = restarted(&first, Duration::from_secs(60), restart).await;
    pass(IDLE * 10).await;
    assert_eq!(second.phase_of("blog"), Phase::Ready, "nobody has asked for this one");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_ends_during_a_wake_knows_afterwards_that_it_asked_for_it() {
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
async fn a_router_that_ends_during_a_stop_knows_afterwards_that_it_wanted_it_to_sleep() {
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
async fn what_was_noted_and_not_found_again_yet_is_still_noted() {
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
async fn one_that_something_needs_counts_as_used_when_it_is_noted() {
    let world = World::new(vec![spec("db"), spec_needing("web", &["db"])]);
    let _visit = world.visit("web").await.expect("admitted");
    pass(IDLE * 5).await;
    let db =
        world.engine.instance_records().into_iter().find(|note| note.workload.as_str() == "db");
    assert_eq!(db.expect("it is awake").used, morning() + world.began.elapsed());
}
