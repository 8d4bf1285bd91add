//! Targets that are removed and recreated under their name while visitors arrive.

use super::*;
use crate::provider::{Reason, Status};

async fn removed(world: &World) {
    world.platform.becomes("blog", Status::Missing);
    world.platform.report("blog").await;
    assert_eq!(world.phase_of("blog"), Phase::Missing);
}

#[tokio::test(start_paused = true)]
async fn visitors_between_removal_and_recreation_are_held_and_served_by_the_new_target() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    removed(&world).await;
    let visitors: Vec<_> = (0..100).map(|_| world.visitor("blog")).collect();
    pass(Duration::from_secs(1)).await;
    assert!(visitors.iter().all(|visitor| !visitor.is_finished()), "one was turned away");
    world.platform.is_created("blog");
    world.platform.report("blog").await;
    let created = Instant::now();
    for visitor in visitors {
        visitor.await.expect("visitor").expect("admitted");
    }
    assert!(created.elapsed() < Duration::from_millis(200), "{:?}", created.elapsed());
    assert_eq!(world.platform.asked("start blog"), 3, "once for the crowd, once when it was gone");
}

#[tokio::test(start_paused = true)]
async fn a_new_target_that_no_event_reports_is_found_by_polling() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    removed(&world).await;
    let visitor = world.visitor("blog");
    pass(Duration::from_secs(1)).await;
    world.platform.is_created("blog");
    let created = Instant::now();
    visitor.await.expect("visitor").expect("admitted");
    assert!(created.elapsed() < Duration::from_millis(500), "{:?}", created.elapsed());
}

#[tokio::test(start_paused = true)]
async fn visitors_of_a_target_that_stays_removed_get_the_failure_after_three_seconds() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    removed(&world).await;
    let came = Instant::now();
    let Err(AdmitError::Failed(failure, _)) = world.visit("blog").await else { panic!("admitted") };
    assert_eq!(failure.reason, Some(Reason::Removed));
    assert!(came.elapsed() <= Duration::from_secs(3), "{:?}", came.elapsed());
    let came = Instant::now();
    world.refused("blog").await;
    assert_eq!(came.elapsed(), Duration::ZERO, "no visitor waits in the cool-down");
    world.platform.is_created("blog");
    world.platform.report("blog").await;
    world.call("blog").await;
    assert!(came.elapsed() < COOLDOWN, "the new target lifts the cool-down");
}

#[tokio::test(start_paused = true)]
async fn a_recreated_target_lifts_the_cool_down_of_the_one_that_could_not_start() {
    let world = World::new(vec![spec("blog")]);
    world.platform.sync().await;
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Conflict));
    world.refused("blog").await;
    world.platform.is_created("blog");
    world.platform.with("blog", |guest| guest.start_fails = None);
    world.platform.report("blog").await;
    let created = Instant::now();
    world.call("blog").await;
    assert!(created.elapsed() < Duration::from_millis(200), "{:?}", created.elapsed());
}

async fn restarted(world: &World) {
    world.platform.becomes("blog", Status::Stopped);
    world.platform.report("blog").await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    pass(Duration::from_secs(2)).await;
    world.platform.becomes("blog", Status::Running);
    world.platform.report("blog").await;
    world.phase("blog", Phase::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_woken_workload_still_sleeps_after_a_restart_on_its_platform() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    restarted(&world).await;
    let ready = Instant::now();
    world.phase("blog", Phase::Asleep).await;
    assert!(ready.elapsed() < IDLE * 2, "{:?}", ready.elapsed());
    assert_eq!(world.platform.asked("stop blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unvisited_deploy_is_kept_awake_through_a_restart_on_its_platform() {
    let world = World::new(vec![spec("blog")]);
    world.platform.becomes("blog", Status::Running);
    world.platform.sync().await;
    restarted(&world).await;
    pass(IDLE * 10).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    world.call("blog").await;
    restarted(&world).await;
    world.phase("blog", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_from_before_a_gap_puts_off_no_wake_after_it() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Unavailable));
    world.refused("blog").await;
    world.platform.with("blog", |guest| guest.start_fails = None);
    world.refused("blog").await;
    world.platform.sync().await;
    let came = Instant::now();
    world.call("blog").await;
    assert!(came.elapsed() < COOLDOWN, "{:?}", came.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_waking_target_that_has_moved_unnoticed_is_found_at_its_new_address() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.hosts = Some(vec!["old".to_owned()]));
    world.looks.hide("old");
    let visitor = world.visitor("blog");
    pass(Duration::from_millis(500)).await;
    world.platform.with("blog", |guest| guest.hosts = Some(vec!["new".to_owned()]));
    let moved = Instant::now();
    visitor.await.expect("visitor").expect("admitted");
    assert!(moved.elapsed() < Duration::from_secs(2), "{:?}", moved.elapsed());
}
