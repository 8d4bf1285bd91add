//! What the journal and the snapshots tell of what was done.

use super::*;

fn kinds(entries: &[Entry]) -> Vec<(OperationKind, Trigger)> {
    entries.iter().map(|entry| (entry.kind, entry.trigger)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wake_and_a_sleep_are_told_with_the_calls_made_for_them() {
    let world = World::new(vec![spec("blog")]);
    let cause = request().with_reference("GET /");
    let deadline = Instant::now() + PATIENCE;
    drop(world.workload("blog").admit(deadline, cause).await.expect("admitted"));
    world.phase("blog", Phase::Asleep).await;
    let told = world.told(Some("blog"));
    let expected = [
        (OperationKind::Start, Trigger::Request),
        (OperationKind::Wake, Trigger::Request),
        (OperationKind::Stop, Trigger::Idle),
        (OperationKind::Sleep, Trigger::Idle),
    ];
    assert_eq!(kinds(&told), expected);
    assert_eq!(told[0].correlation, told[1].correlation);
    assert_eq!(told[2].correlation, told[3].correlation);
    assert_ne!(told[0].correlation, told[2].correlation);
    assert!(told.iter().all(|entry| entry.generation == Generation(1)));
    assert!(told.iter().all(|entry| entry.failure.is_none()));
    assert_eq!(told[1].reference.as_deref(), Some("GET /"));
    assert_eq!(told[0].native_after.as_deref(), Some("blog-0"));
    let took = told[0].ended.duration_since(told[0].began).expect("in order");
    assert_eq!(took, Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn the_wake_of_what_is_needed_belongs_to_the_story_of_its_dependent() {
    let specs = vec![spec("db"), spec_needing("api", &["db"]), spec_needing("web", &["api"])];
    let world = World::new(specs);
    world.call("web").await;
    let told = world.told(None);
    assert_eq!(told.len(), 6);
    assert!(told.iter().all(|entry| entry.correlation == told[0].correlation));
    let wake = |name: &str| {
        let entry =
            told.iter().find(|one| one.workload == named(name) && one.kind == OperationKind::Wake);
        let entry = entry.expect("woken");
        (entry.trigger, entry.reference.clone())
    };
    assert_eq!(wake("db"), (Trigger::Dependency, Some("api".to_owned())));
    assert_eq!(wake("api"), (Trigger::Dependency, Some("web".to_owned())));
    assert_eq!(wake("web"), (Trigger::Request, None));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_where_it_happened_and_what_is_cleaned_up_belongs_to_it() {
    let world = World::new(vec![spec("blog")]);
    world.looks.hide("blog");
    world.turned("blog").await;
    world.platform.is_asked("ended blog").await;
    moment().await;
    let told = world.told(Some("blog"));
    let expected = [
        (OperationKind::Start, Trigger::Request),
        (OperationKind::Wake, Trigger::Request),
        (OperationKind::Stop, Trigger::Request),
    ];
    assert_eq!(kinds(&told), expected);
    assert!(told.iter().all(|entry| entry.correlation == told[0].correlation));
    assert!(told[0].failure.is_none());
    let failure = told[1].failure.as_ref().expect("it was not ready");
    assert_eq!(failure.code, ErrorCode::Timeout);
    assert!(failure.message.contains("503"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn every_try_to_put_it_to_sleep_is_told_with_who_wanted_it() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.stop_fails = 1);
    world.call("blog").await;
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    world.phase("blog", Phase::Asleep).await;
    let told = world.told(Some("blog")).split_off(2);
    let expected =
        [OperationKind::Stop, OperationKind::Sleep, OperationKind::Stop, OperationKind::Sleep];
    assert_eq!(kinds(&told), expected.map(|kind| (kind, Trigger::Cli)));
    let failed: Vec<_> = told.iter().map(|entry| entry.failure.is_some()).collect();
    assert_eq!(failed, [true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_sleep_that_a_visitor_turns_into_a_wake_keeps_the_number_of_its_life() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(5));
    world.call("blog").await;
    world.phase("blog", Phase::Stopping).await;
    world.call("blog").await;
    let told = world.told(Some("blog"));
    let lives: Vec<_> = told.iter().map(|entry| (entry.kind, entry.generation.0)).collect();
    let expected = [
        (OperationKind::Start, 1),
        (OperationKind::Wake, 1),
        (OperationKind::Stop, 1),
        (OperationKind::Sleep, 1),
        (OperationKind::Start, 2),
        (OperationKind::Wake, 2),
    ];
    assert_eq!(lives, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_running_and_what_makes_room_is_told_so() {
    let specs = vec![pooled(spec("a")), pooled(spec("b"))];
    let world = World::with_pools(vec![pool(1)], specs);
    world.platform.becomes("a", crate::provider::Status::Running);
    world.platform.sync().await;
    world.call("a").await;
    world.call("b").await;
    let told = world.told(Some("a"));
    let expected = [
        (OperationKind::Adopt, Trigger::Reconciler),
        (OperationKind::Stop, Trigger::Pool),
        (OperationKind::Sleep, Trigger::Pool),
    ];
    assert_eq!(kinds(&told), expected);
    assert_eq!(told[2].reference.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn how_long_a_wake_takes_is_expected_by_the_median_of_those_before() {
    let world = World::new(vec![WorkloadSpec { idle: None, ..spec("blog") }]);
    assert_eq!(world.snapshot("blog").expected, None);
    for seconds in [3, 9, 4] {
        world.platform.with("blog", |guest| guest.start_takes = Duration::from_secs(seconds));
        world.call("blog").await;
        world.engine.sleep("blog", operator(), Force::Drain).expect("known");
        world.phase("blog", Phase::Asleep).await;
    }
    let expected = world.snapshot("blog").expected.expect("three wakes");
    assert!(expected.abs_diff(Duration::from_secs(4)) < Duration::from_millis(10), "{expected:?}");
    assert_eq!(world.workload("blog").status().expected_seconds, Some(expected.as_secs_f64()));
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_of_every_phase_in_order() {
    let world = World::new(vec![spec("blog")]);
    let mut changes = world.engine.changes();
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    let mut phases = Vec::new();
    while let Ok(change) = changes.try_recv() {
        phases.push((change.from, change.to));
    }
    let expected = [
        (Phase::Asleep, Phase::Waking),
        (Phase::Waking, Phase::Ready),
        (Phase::Ready, Phase::Stopping),
        (Phase::Stopping, Phase::Asleep),
    ];
    assert_eq!(phases, expected);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_which_target_was_replaced_by_which() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    world.platform.with("blog", |guest| guest.id += 1);
    world.call("blog").await;
    let told = world.told(Some("blog"));
    for entry in &told[told.len() - 2..] {
        let ids = (entry.native_before.as_deref(), entry.native_after.as_deref());
        assert_eq!(ids, (Some("blog-0"), Some("blog-1")), "{}", entry.kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_is_tried_again_is_told_with_who_wanted_the_wake() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    world.phase("blog", Phase::Asleep).await;
    world.looks.hide("blog");
    world.platform.with("blog", |guest| guest.stop_fails = 1);
    world.turned("blog").await;
    world.phase("blog", Phase::Asleep).await;
    let last = world.told(Some("blog")).pop().expect("it was put to sleep");
    assert_eq!((last.kind, last.trigger), (OperationKind::Sleep, Trigger::Request));
}
