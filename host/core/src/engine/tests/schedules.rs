//! Windows in which a workload is awake, and alarms that wake it. Every test begins on a Friday at
//! 06:00.

use super::*;
use crate::step::Stage;

fn windowed(window: &str) -> WorkloadSpec {
    WorkloadSpec { awake: vec![window.parse().expect("a window")], ..spec("blog") }
}

fn alarmed(alarm: &str) -> WorkloadSpec {
    WorkloadSpec { alarms: vec![alarm.parse().expect("an alarm")], ..spec("blog") }
}

async fn at(world: &World, time: Duration) {
    tokio::time::sleep_until(world.began + time).await;
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn it_is_awake_in_its_window_without_visits_and_sleeps_an_idle_time_later() {
    let world = World::new(vec![windowed("fri 08:00-18:00 UTC")]);
    at(&world, HOUR * 2 - Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    at(&world, HOUR * 2 + Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    at(&world, HOUR * 12 - Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    assert_eq!(world.workload("blog").status().held, 1);
    at(&world, HOUR * 12 + IDLE - Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "its idle time has begun at six");
    at(&world, HOUR * 12 + IDLE + Duration::from_secs(2)).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    at(&world, HOUR * 24 * 7 + HOUR * 3).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "a week later again");
    let wake =
        world.entries(Some("blog")).into_iter().find(|entry| entry.kind == OperationKind::Wake);
    let wake = wake.expect("it was woken");
    assert_eq!(wake.trigger, Trigger::Schedule);
    assert_eq!(wake.reference.as_deref(), Some("fri 08:00-18:00 UTC"));
}

#[tokio::test(start_paused = true)]
async fn a_workload_added_within_its_window_is_woken_at_once() {
    let world = World::new(vec![windowed("fri 05:00-07:00 UTC")]);
    pass(Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_dies_in_its_window_is_woken_again() {
    let world = World::new(vec![windowed("fri 05:00-18:00 UTC")]);
    pass(HOUR).await;
    world.platform.becomes("blog", crate::provider::Status::Stopped);
    world.platform.report("blog").await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(
        (world.phase_of("blog"), world.snapshot("blog").generation),
        (Phase::Ready, Generation(2))
    );
    let entries = world.entries(Some("blog"));
    let wakes: Vec<_> = entries.iter().filter(|entry| entry.kind == OperationKind::Wake).collect();
    assert!(wakes.iter().all(|wake| wake.trigger == Trigger::Schedule), "{wakes:?}");
    assert_eq!(wakes[1].reference.as_deref(), Some("fri 05:00-18:00 UTC"));
}

#[tokio::test(start_paused = true)]
async fn an_operator_s_sleep_in_a_window_is_refused_with_the_reason() {
    let world = World::new(vec![windowed("fri 05:00-18:00 UTC")]);
    pass(Duration::from_secs(1)).await;
    let failure = world.engine.sleep("blog", operator(), Force::Drain).expect_err("kept awake");
    assert_eq!(failure.code, ErrorCode::Conflict);
    assert!(failure.message.contains("by its schedule"), "{}", failure.message);
    assert!(failure.message.contains("--force"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn force_puts_it_to_sleep_within_its_window_until_a_visitor_comes() {
    let world = World::new(vec![windowed("fri 05:00-18:00 UTC")]);
    pass(Duration::from_secs(1)).await;
    world.engine.sleep("blog", operator(), Force::AtOnce).expect("force overrules its schedule");
    pass(HOUR).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    world.call("blog").await;
    pass(IDLE * 5).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "its schedule counts again");
}

#[tokio::test(start_paused = true)]
async fn an_alarm_wakes_it_and_it_sleeps_after_its_idle_time_without_visits() {
    let world = World::new(vec![alarmed("30 7 * * fri UTC")]);
    at(&world, HOUR + HOUR / 2 - Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    at(&world, HOUR + HOUR / 2 + Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    at(&world, HOUR + HOUR / 2 + IDLE + Duration::from_secs(2)).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    let wake =
        world.entries(Some("blog")).into_iter().find(|entry| entry.kind == OperationKind::Wake);
    assert_eq!(wake.expect("it was woken").trigger, Trigger::Schedule);
    at(&world, HOUR * 24 * 7).await;
    assert_eq!(world.platform.asked("start blog"), 1, "once a week");
}

#[tokio::test(start_paused = true)]
async fn an_alarm_for_a_workload_that_cannot_start_is_tried_once() {
    let world = World::new(vec![alarmed("30 7 * * fri UTC")]);
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Denied));
    pass(HOUR * 5).await;
    assert_eq!(world.platform.asked("start blog"), 1);
    assert_eq!(world.phase_of("blog"), Phase::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_window_waits_for_a_slot_in_a_full_pool_and_evicts_no_used_member() {
    let mut scheduled = pooled(windowed("fri 06:05-18:00 UTC"));
    scheduled.name = named("scheduled");
    scheduled.target.handle = "scheduled".into();
    let world = World::with_pools(vec![pool(1)], vec![pooled(spec("used")), scheduled]);
    let visit = world.visit("used").await.expect("admitted");
    pass(Duration::from_secs(400)).await;
    assert_eq!(world.phase_of("used"), Phase::Ready);
    assert!(matches!(
        world.snapshot("scheduled").stage,
        Some(Stage::Queued { position: 1, length: 1 })
    ));
    drop(visit);
    world.phase("scheduled", Phase::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn an_alarm_shortly_before_the_sleep_restarts_the_idle_time() {
    let world = World::new(vec![alarmed("30 7 * * fri UTC")]);
    at(&world, HOUR + HOUR / 2 - IDLE + Duration::from_secs(5)).await;
    world.call("blog").await;
    at(&world, HOUR + HOUR / 2 + IDLE - Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_in_a_cool_down_goes_off_after_it() {
    let world = World::new(vec![alarmed("30 7 * * fri UTC")]);
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Denied));
    at(&world, HOUR + HOUR / 2 - Duration::from_secs(2)).await;
    world.refused("blog").await;
    world.platform.with("blog", |guest| guest.start_fails = None);
    at(&world, HOUR + HOUR / 2 + COOLDOWN).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_is_not_late_after_the_clock_was_set_back() {
    let world = World::new(vec![alarmed("30 7 * * fri UTC")]);
    // The time of day of the alarm has passed, and is ahead again after the clock is set back.
    at(&world, HOUR * 2).await;
    world.platform.with("blog", |guest| guest.start_fails = None);
    let started = world.platform.asked("start blog");
    world.set_back(HOUR * 2);
    pass(HOUR + HOUR / 2 + Duration::from_secs(60)).await;
    assert_eq!(world.platform.asked("start blog"), started + 1);
}

#[tokio::test(start_paused = true)]
async fn a_window_does_nothing_before_the_providers_are_there() {
    let world = World::unconnected(Vec::new(), vec![windowed("fri 05:00-18:00 UTC")]);
    world.engine.connect().expect("no cycle");
    pass(Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    world.engine.start_clock();
    pass(Duration::from_secs(1)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
}
