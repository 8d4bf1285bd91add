//! Backends that die, and platforms that fail or report late.

use super::*;
use crate::{dial::DialPolicy as _, provider::Status, spec::Adopt};

fn blog() -> World {
    World::new(vec![spec("blog")])
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_dies_is_noticed_by_its_event_and_woken_by_the_next_visitor() {
    let world = blog();
    world.call("blog").await;
    world.platform.becomes("blog", Status::Stopped);
    world.platform.report("blog").await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    let visit = world.visit("blog").await.expect("admitted");
    assert_eq!(visit.generation(), Generation(2));
    assert_eq!(world.platform.asked("stop blog"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_died_unnoticed_is_found_by_a_visitor_that_cannot_connect() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    world.platform.becomes("blog", Status::Stopped);
    let instance = visit.instance().clone();
    drop(visit);
    assert_eq!(world.workload("blog").confirm(&instance).await, Confirmation::Closed);
    let visit = world.visit("blog").await.expect("admitted");
    assert_eq!(visit.generation(), instance.generation().next());
}

#[tokio::test(start_paused = true)]
async fn confirming_a_closed_instance_takes_no_time() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    world.platform.with("blog", |guest| guest.stop_takes = Duration::from_secs(20));
    world.engine.sleep("blog", operator(), Force::AtOnce).expect("known");
    world.phase("blog", Phase::Stopping).await;
    let asked = Instant::now();
    assert_eq!(world.workload("blog").confirm(visit.instance()).await, Confirmation::Closed);
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_late_event_of_an_earlier_generation_changes_nothing() {
    let world = blog();
    world.call("blog").await;
    world.platform.becomes("blog", Status::Stopped);
    let late = ProviderEvent::Changed(
        world
            .engine
            .provider("fake")
            .expect("known")
            .status(&world.workload("blog").spec().target)
            .await
            .expect("an answer"),
    );
    world.platform.becomes("blog", Status::Running);
    world.engine.shared.provider_event(&world.workload("blog").spec().provider, &late);
    moment().await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    assert_eq!(world.snapshot("blog").generation, Generation(1));
}

#[tokio::test(start_paused = true)]
async fn a_death_without_an_event_is_noticed_by_polling() {
    let world = World::new(vec![WorkloadSpec { idle: None, ..spec("blog") }]);
    world.call("blog").await;
    pass(Duration::from_secs(400)).await;
    world.platform.becomes("blog", Status::Stopped);
    let died = Instant::now();
    world.phase("blog", Phase::Asleep).await;
    assert!(died.elapsed() <= Duration::from_secs(330), "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_death_during_a_start_leads_to_a_second_start() {
    let world = blog();
    world.looks.hide("blog");
    world.platform.with("blog", |guest| guest.answer_takes = Duration::from_secs(2));
    let asked = Instant::now();
    let visitor = world.visitor("blog");
    world.platform.is_asked("started blog").await;
    // An answer that reports it as running is in flight.
    world.platform.becomes("blog", Status::Stopped);
    world.platform.report("blog").await;
    pass(Duration::from_secs(3)).await;
    assert_eq!(world.platform.asked("start blog"), 2, "it is started once more");
    world.looks.show("blog");
    visitor.await.expect("visitor").expect("admitted");
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_dies_at_every_start_fails_with_its_exit_status() {
    let world = blog();
    world.platform.with("blog", |guest| guest.ends = Some((Duration::ZERO, 137)));
    let (why, _) = world.refused("blog").await;
    assert!(why.contains("stopped again with exit status 137"), "{why}");
    assert_eq!(world.platform.asked("start blog"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_status_query_counts_despite_frequent_events() {
    let world = blog();
    world.call("blog").await;
    world.platform.with("blog", |guest| guest.status_takes = Duration::from_secs(2));
    world.platform.becomes("blog", Status::Stopped);
    let died = Instant::now();
    while world.phase_of("blog") == Phase::Ready && died.elapsed() < Duration::from_secs(30) {
        world.platform.report("blog").await;
        pass(Duration::from_millis(500)).await;
    }
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    assert!(died.elapsed() < Duration::from_secs(4), "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_that_worked_nevertheless_is_served_and_sleeps_when_idle() {
    let world = blog();
    world.platform.with("blog", |guest| {
        guest.start_fails = Some(ErrorCode::Timeout);
        guest.starts_unsaid = true;
    });
    world.call("blog").await;
    assert_eq!(world.platform.asked("start blog"), 1);
    let ready = Instant::now();
    world.phase("blog", Phase::Asleep).await;
    assert!(ready.elapsed() < IDLE * 2, "this router has started it");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_fails_the_call_at_once() {
    let world = blog();
    world.platform.with("blog", |guest| guest.panics = true);
    let asked = Instant::now();
    let (why, _) = world.refused("blog").await;
    assert!(why.contains("panicked"), "{why}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_cancelled_and_its_target_is_stopped() {
    let world = blog();
    world.platform.with("blog", |guest| guest.start_takes = Duration::from_secs(100_000));
    let (why, _) = world.refused("blog").await;
    assert!(why.contains("the provider has not answered the start"), "{why}");
    world.platform.is_asked("ended blog").await;
    let start =
        world.entries(Some("blog")).into_iter().find(|entry| entry.kind == OperationKind::Start);
    let failure = start.expect("it is in the journal").failure.expect("it failed");
    assert_eq!(failure.code, ErrorCode::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_target_recreated_under_its_name_is_probed_again() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    world.looks.hide("blog");
    world.platform.with("blog", |guest| guest.id += 1);
    world.platform.report("blog").await;
    assert_eq!(world.phase_of("blog"), Phase::Waking);
    assert!(world.workload("blog").enter().is_none(), "sent to one that is not ready");
    world.looks.show("blog");
    assert_eq!(world.visit("blog").await.expect("admitted").generation(), Generation(2));
    assert_eq!(world.platform.asked("start blog"), 1, "it runs already");
    drop(visit);
}

#[tokio::test(start_paused = true)]
async fn a_target_stopped_on_its_platform_admits_no_visit_and_is_woken_by_the_next_one() {
    let world = blog();
    world.call("blog").await;
    world.platform.becomes("blog", Status::Stopping);
    world.platform.report("blog").await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    assert!(world.snapshot("blog").failure.is_none(), "nothing has failed");
    world.platform.becomes("blog", Status::Stopped);
    world.platform.report("blog").await;
    world.call("blog").await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_status_does_not_restart_probing() {
    let world = World::new(vec![WorkloadSpec { idle: None, ..spec("blog") }]);
    world.call("blog").await;
    world.platform.becomes("blog", Status::Other("dreaming".into()));
    world.platform.with("blog", |guest| guest.start_takes = Duration::ZERO);
    world.engine.reconcile();
    moment().await;
    let lives = world.snapshot("blog").generation;
    for _ in 0..5 {
        world.engine.reconcile();
        moment().await;
    }
    assert_eq!(world.snapshot("blog").generation, lives);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_exist_is_missing_and_served_when_it_is_back() {
    let world = World::new(vec![spec("blog")]);
    world.platform.becomes("blog", Status::Missing);
    world.engine.reconcile();
    moment().await;
    assert_eq!(world.phase_of("blog"), Phase::Missing);
    world.platform.becomes("blog", Status::Stopped);
    world.platform.report("blog").await;
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
    world.call("blog").await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_status_query_is_repeated_until_it_succeeds() {
    let world = World::new(vec![spec("db"), spec_needing("web", &["db"])]);
    world.platform.becomes("web", Status::Running);
    world.platform.with("web", |guest| guest.status_fails = 3);
    world.platform.sync().await;
    assert_eq!(world.phase_of("web"), Phase::Asleep, "its status is unknown");
    pass(Duration::from_secs(8)).await;
    assert_eq!(world.phase_of("web"), Phase::Ready);
    assert_eq!(world.workload("db").status().held, 1, "its dependency is kept awake");
}

#[tokio::test(start_paused = true)]
async fn a_start_on_the_platform_without_an_event_is_noticed_by_polling() {
    let names: Vec<_> = (0..100).map(|number| format!("w{number}")).collect();
    let world = World::new(names.iter().map(|name| spec(name)).collect());
    pass(Duration::from_secs(400)).await;
    for name in &names {
        world.platform.becomes(name, Status::Running);
    }
    pass(Duration::from_secs(330)).await;
    for name in &names {
        assert_eq!(world.phase_of(name), Phase::Ready, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_restarted_by_its_platform_still_sleeps_when_idle() {
    for adopt in [Adopt::Keep, Adopt::Ignore] {
        let world = World::new(vec![WorkloadSpec { adopt, ..spec("blog") }]);
        world.call("blog").await;
        world.platform.becomes("blog", Status::Starting);
        world.platform.report("blog").await;
        assert_eq!(world.phase_of("blog"), Phase::Waking, "it must show that it is ready");
        world.platform.becomes("blog", Status::Running);
        world.platform.report("blog").await;
        assert_eq!(world.snapshot("blog").generation, Generation(2));
        world.phase("blog", Phase::Asleep).await;
        assert_eq!(world.platform.asked("stop blog"), 1, "it sleeps when it is idle");

        world.call("blog").await;
        world.platform.becomes("blog", Status::Starting);
        world.platform.report("blog").await;
        world.phase("blog", Phase::Failed).await;
        world.platform.is_asked("ended blog").await;
        assert_eq!(world.platform.asked("stop blog"), 2, "it does not restart for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unrequested_instance_is_still_kept_after_a_restart_by_its_platform() {
    let world = World::new(vec![spec("blog")]);
    world.platform.becomes("blog", Status::Running);
    world.platform.sync().await;
    world.platform.becomes("blog", Status::Starting);
    world.platform.report("blog").await;
    world.platform.becomes("blog", Status::Running);
    world.platform.report("blog").await;
    pass(IDLE * 10).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_target_started_on_its_platform_after_a_failed_wake_is_kept() {
    let world = blog();
    world.platform.with("blog", |guest| guest.ends = Some((Duration::ZERO, 1)));
    world.refused("blog").await;
    world.platform.with("blog", |guest| {
        guest.ends = None;
        guest.status = Status::Running;
    });
    world.platform.report("blog").await;
    pass(IDLE * 10).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "it is unrequested");
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_waits_for_a_status_query_that_was_sent_after_it() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    let instance = visit.instance().clone();
    drop(visit);
    world.platform.with("blog", |guest| guest.status_takes = Duration::from_secs(1));
    world.engine.reconcile();
    moment().await;
    world.platform.becomes("blog", Status::Stopped);
    assert_eq!(world.workload("blog").confirm(&instance).await, Confirmation::Closed);
    assert_eq!(world.phase_of("blog"), Phase::Asleep);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_is_held_while_a_provider_is_still_being_loaded() {
    let mut other = spec("other");
    other.provider = ProviderName::parse("late").expect("a name");
    let world = World::new(vec![other]);
    let (why, _) = world.refused("other").await;
    assert!(why.contains("is not configured"), "{why}");
    world.engine.expect_provider(ProviderName::parse("late").expect("a name"));
    pass(COOLDOWN).await;
    let caller = world.caller("other");
    pass(Duration::from_secs(20)).await;
    assert_eq!(world.phase_of("other"), Phase::Waking);
    let late = Platform::new("late", true);
    late.add("other");
    world.engine.add_provider(late.clone());
    caller.await.expect("served");
    assert_eq!(late.asked("start other"), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_are_refused_while_the_provider_is_not_loaded() {
    let mut other = spec("other");
    other.provider = ProviderName::parse("late").expect("a name");
    let world = World::new(vec![spec("blog"), other]);
    let address = ([10, 0, 0, 1], 80).into();
    let judged = async |name: &str| world.workload(name).check("10.0.0.1", address).await;
    assert_eq!(judged("blog").await, Ok(()));
    let refusal = judged("other").await.expect_err("the addresses of its targets are unknown");
    assert!(refusal.contains("provider \"late\" is not configured"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_resync_queries_a_few_workloads_at_a_time() {
    let names: Vec<_> = (0..40).map(|number| format!("w{number}")).collect();
    let world = World::new(names.iter().map(|name| spec(name)).collect());
    for name in &names {
        world.platform.with(name, |guest| {
            guest.status = Status::Running;
            guest.status_takes = Duration::from_secs(1);
        });
    }
    let known = || names.iter().filter(|name| world.phase_of(name) == Phase::Ready).count();
    world.engine.reconcile();
    let asked = Instant::now();
    world.engine.resynced(Duration::from_millis(1500)).await;
    assert_eq!(known(), 16);
    assert_eq!(asked.elapsed(), Duration::from_millis(1500), "that was all the time it had");
    world.engine.resynced(Duration::from_secs(60)).await;
    assert_eq!((known(), asked.elapsed().as_secs()), (40, 3));
}
