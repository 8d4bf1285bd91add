//! Journal entries and snapshots of operations.

use super::*;

fn kinds(entries: &[Entry]) -> Vec<(OperationKind, Trigger)> {
    entries.iter().map(|entry| (entry.kind, entry.trigger)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wake_and_a_sleep_are_recorded_with_their_calls() {
    let world = World::new(vec![spec("blog")]);
    let cause = request().with_reference("GET /");
    let deadline = Instant::now() + PATIENCE;
    drop(world.workload("blog").admit(deadline, cause).await.expect("admitted"));
    world.phase("blog", Phase::Asleep).await;
    let entries = world.entries(Some("blog"));
    let expected = [
        (OperationKind::Start, Trigger::Request),
        (OperationKind::Wake, Trigger::Request),
        (OperationKind::Stop, Trigger::Idle),
        (OperationKind::Sleep, Trigger::Idle),
    ];
    assert_eq!(kinds(&entries), expected);
    assert_eq!(entries[0].correlation, entries[1].correlation);
    assert_eq!(entries[2].correlation, entries[3].correlation);
    assert_ne!(entries[0].correlation, entries[2].correlation);
    assert!(entries.iter().all(|entry| entry.generation == Generation(1)));
    assert!(entries.iter().all(|entry| entry.failure.is_none()));
    assert_eq!(entries[1].reference.as_deref(), Some("GET /"));
    assert_eq!(entries[0].native_after.as_deref(), Some("blog-0"));
    let took = entries[0].ended.duration_since(entries[0].began).expect("in order");
    assert_eq!(took, Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn the_wake_of_a_dependency_has_the_correlation_of_its_dependent() {
    let specs = vec![spec("db"), spec_needing("api", &["db"]), spec_needing("web", &["api"])];
    let world = World::new(specs);
    world.call("web").await;
    let entries = world.entries(None);
    assert_eq!(entries.len(), 6);
    assert!(entries.iter().all(|entry| entry.correlation == entries[0].correlation));
    let wake = |name: &str| {
        let entry = entries
            .iter()
            .find(|one| one.workload == named(name) && one.kind == OperationKind::Wake);
        let entry = entry.expect("woken");
        (entry.trigger, entry.reference.clone())
    };
    assert_eq!(wake("db"), (Trigger::Dependency, Some("api".to_owned())));
    assert_eq!(wake("api"), (Trigger::Dependency, Some("web".to_owned())));
    assert_eq!(wake("web"), (Trigger::Request, None));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_recorded_with_its_clean_up() {
    let world = World::new(vec![spec("blog")]);
    world.looks.hide("blog");
    world.refused("blog").await;
    world.platform.is_asked("ended blog").await;
    moment().await;
    let entries = world.entries(Some("blog"));
    let expected = [
        (OperationKind::Start, Trigger::Request),
        (OperationKind::Wake, Trigger::Request),
        (OperationKind::Stop, Trigger::Request),
    ];
    assert_eq!(kinds(&entries), expected);
    assert!(entries.iter().all(|entry| entry.correlation == entries[0].correlation));
    assert!(entries[0].failure.is_none());
    let failure = entries[1].failure.as_ref().expect("it was not ready");
    assert_eq!(failure.code, ErrorCode::Timeout);
    assert!(failure.message.contains("503"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn every_attempt_to_sleep_is_recorded_with_its_trigger() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.stop_fails = 1);
    world.call("blog").await;
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    world.phase("blog", Phase::Asleep).await;
    let entries = world.entries(Some("blog")).split_off(2);
    let expected =
        [OperationKind::Stop, OperationKind::Sleep, OperationKind::Stop, OperationKind::Sleep];
    assert_eq!(kinds(&entries), expected.map(|kind| (kind, Trigger::Cli)));
    let failed: Vec<_> = entries.iter().map(|entry| entry.failure.is_some()).collect();
    assert_eq!(failed, [true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_sleep_followed_by_a_wake_keeps_its_generation() {
    let world = World::new(vec![spec("blog")]);
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(5));
    world.call("blog").await;
    world.phase("blog", Phase::Stopping).await;
    world.call("blog").await;
    let entries = world.entries(Some("blog"));
    let generations: Vec<_> =
        entries.iter().map(|entry| (entry.kind, entry.generation.0)).collect();
    let expected = [
        (OperationKind::Start, 1),
        (OperationKind::Wake, 1),
        (OperationKind::Stop, 1),
        (OperationKind::Sleep, 1),
        (OperationKind::Start, 2),
        (OperationKind::Wake, 2),
    ];
    assert_eq!(generations, expected);
}

#[tokio::test(start_paused = true)]
async fn adoptions_and_evictions_are_recorded_with_their_triggers() {
    let specs = vec![pooled(spec("a")), pooled(spec("b"))];
    let world = World::with_pools(vec![pool(1)], specs);
    world.platform.becomes("a", crate::provider::Status::Running);
    world.platform.sync().await;
    world.call("a").await;
    world.call("b").await;
    let entries = world.entries(Some("a"));
    let expected = [
        (OperationKind::Adopt, Trigger::Reconciler),
        (OperationKind::Stop, Trigger::Pool),
        (OperationKind::Sleep, Trigger::Pool),
    ];
    assert_eq!(kinds(&entries), expected);
    assert_eq!(entries[2].reference.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn the_expected_duration_of_a_wake_is_the_median_of_earlier_ones() {
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
async fn a_subscriber_gets_every_phase_change_in_order() {
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
async fn the_native_ids_before_and_after_a_start_are_recorded() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    world.phase("blog", Phase::Asleep).await;
    world.platform.with("blog", |guest| guest.id += 1);
    world.call("blog").await;
    let entries = world.entries(Some("blog"));
    for entry in &entries[entries.len() - 2..] {
        let ids = (entry.native_before.as_deref(), entry.native_after.as_deref());
        assert_eq!(ids, (Some("blog-0"), Some("blog-1")), "{}", entry.kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_clean_up_is_recorded_with_the_trigger_of_the_wake() {
    let world = World::new(vec![spec("blog")]);
    world.call("blog").await;
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    world.phase("blog", Phase::Asleep).await;
    world.looks.hide("blog");
    world.platform.with("blog", |guest| guest.stop_fails = 1);
    world.refused("blog").await;
    world.phase("blog", Phase::Asleep).await;
    let last = world.entries(Some("blog")).pop().expect("it was put to sleep");
    assert_eq!((last.kind, last.trigger), (OperationKind::Sleep, Trigger::Request));
}
