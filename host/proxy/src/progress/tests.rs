use std::time::{Duration, Instant};

use super::*;

fn snapshot(phase: Phase, stage: Option<Stage>) -> Snapshot {
    Snapshot {
        phase,
        generation: Generation(1),
        stage,
        expected: Some(Duration::from_millis(12_340)),
        failure: None,
        since: Instant::now() - Duration::from_secs(7),
        wake_wanted: true,
        rest_until: None,
        completed: None,
    }
}

fn name(name: &str) -> WorkloadName {
    WorkloadName::parse(name).unwrap()
}

fn progress(snapshot: &Snapshot) -> Progress {
    Progress::new(&name("blog"), snapshot, false, Vec::new(), Arc::default())
}

fn steps_of(progress: &Progress) -> String {
    let sign = |step: &Step| match step.state {
        StepState::Done => '+',
        StepState::Now => '>',
        StepState::Todo => '.',
    };
    progress.steps.iter().map(sign).collect()
}

#[test]
fn every_phase_has_a_title_a_message_and_a_state() {
    for (phase, state, title) in [
        (Phase::Asleep, PageState::Asleep, "blog is asleep"),
        (Phase::Waking, PageState::Working, "blog is waking up"),
        (Phase::Ready, PageState::Ready, "blog is ready"),
        (Phase::Draining, PageState::Working, "blog will be back in a moment"),
        (Phase::Stopping, PageState::Working, "blog will be back in a moment"),
        (Phase::Failed, PageState::Failed, "blog could not be woken"),
        (Phase::Missing, PageState::Failed, "blog could not be woken"),
    ] {
        let progress = progress(&snapshot(phase, None));
        assert_eq!((progress.state, progress.title.as_str()), (state, title));
        assert!(!progress.message.is_empty());
        assert_eq!(progress.elapsed.is_some(), phase == Phase::Waking, "{phase}");
        assert_eq!(progress.failure.is_some(), state == PageState::Failed, "{phase}");
    }
}

#[test]
fn a_stopping_workload_without_a_wanted_wake_is_going_to_sleep() {
    for phase in [Phase::Draining, Phase::Stopping] {
        let wanted = snapshot(phase, None);
        let snapshot = Snapshot { wake_wanted: false, ..wanted.clone() };
        let logs = Arc::default();
        let progress = Progress::new(&name("blog"), &snapshot, false, Vec::new(), logs);
        assert_eq!(
            (progress.state, progress.title.as_str()),
            (PageState::Asleep, "blog is going to sleep")
        );
        assert!(
            progress.steps.is_empty() && progress.message.contains("Try again"),
            "{progress:?}"
        );
        assert_eq!(unmet(&snapshot), (PageState::Asleep, "stopping"));
        let back = (PageState::Working, "stopping, woken right after");
        assert_eq!(unmet(&wanted), back);
    }
}

#[test]
fn every_stage_of_a_wake_has_a_message_and_steps() {
    let needs: Arc<[_]> = Arc::from([name("db"), name("cache")]);
    for (stage, name, message, steps) in [
        (Stage::Queued { position: 1, length: 3 }, "queued", "It is next in line.", ">.."),
        (Stage::Queued { position: 2, length: 3 }, "queued", "number 2 of 3", ">.."),
        (Stage::Needs(needs), "needs", "needs db and cache, which are woken first", ".."),
        (Stage::Starting, "starting", "is being started", ">."),
        (Stage::Absent, "starting", "is being recreated", ">."),
        (Stage::Probing(None), "probing", "is getting ready", "+>"),
    ] {
        let progress = progress(&snapshot(Phase::Waking, Some(stage)));
        assert_eq!(progress.stage, Some(name));
        assert!(progress.message.contains(message), "{}", progress.message);
        assert_eq!(steps_of(&progress), steps, "{name}");
        assert!((7.0..9.0).contains(&progress.elapsed.unwrap()));
        assert_eq!(progress.expected, Some(12.3));
    }
    let queued = progress(&snapshot(Phase::Waking, Some(Stage::Queued { position: 2, length: 3 })));
    assert_eq!(queued.queue, Some(QueuePosition { position: 2, length: 3 }));
    assert_eq!(steps_of(&progress(&snapshot(Phase::Ready, None))), "++");
    assert_eq!(steps_of(&progress(&snapshot(Phase::Stopping, None))), ">..");
    assert_eq!(steps_of(&progress(&snapshot(Phase::Failed, None))), "");
}

#[test]
fn the_operators_messages_are_not_shown_to_visitors() {
    let secret = "connect 172.17.0.2:80: connection refused";
    let probing = snapshot(Phase::Waking, Some(Stage::Probing(Some(secret.into()))));
    let failed = Snapshot {
        failure: Some(Arc::new(Failure::new(ErrorCode::Timeout, secret))),
        rest_until: Some(Instant::now() + Duration::from_secs(9)),
        ..snapshot(Phase::Failed, None)
    };
    for snapshot in [&probing, &failed] {
        let json = serde_json::to_string(&progress(snapshot)).unwrap();
        assert!(!json.contains("172.17"), "{json}");
    }
    let failure = progress(&failed).failure.unwrap();
    assert_eq!(failure.reason, "It did not become ready in time.");
    assert!((8.0..=9.0).contains(&failure.retry_in.unwrap()));
}

#[test]
fn elapsed_time_alone_makes_no_difference() {
    let waking = snapshot(Phase::Waking, Some(Stage::Starting));
    let before = progress(&waking);
    let since = waking.since - Duration::from_secs(3);
    let later = progress(&Snapshot { since, ..waking.clone() });
    assert_ne!(before.elapsed, later.elapsed);
    assert!(!later.differs_from(&before));
    let next = progress(&snapshot(Phase::Waking, Some(Stage::Probing(None))));
    assert!(next.differs_from(&before));
    let other_instance = progress(&Snapshot { generation: Generation(2), ..waking });
    assert!(other_instance.differs_from(&before), "another instance");
}

#[test]
fn a_need_is_met_when_its_dependent_no_longer_waits_for_it() {
    let missing: Arc<[_]> = Arc::from([name("db")]);
    let waits = snapshot(Phase::Waking, Some(Stage::Needs(missing)));
    assert!(!is_met(&waits, &name("db")) && is_met(&waits, &name("cache")));
    assert!(is_met(&snapshot(Phase::Waking, Some(Stage::Starting)), &name("db")));
    let queued = snapshot(Phase::Waking, Some(Stage::Queued { position: 1, length: 1 }));
    assert!(!is_met(&queued, &name("db")));
    assert!(!is_met(&snapshot(Phase::Failed, None), &name("db")));
}

#[test]
fn a_failed_need_is_the_reason_shown() {
    let need = |state| Dependency { name: name("db"), state, message: "", needs: Vec::new() };
    let failed = Snapshot {
        failure: Some(Arc::new(Failure::new(ErrorCode::Timeout, "it needs db"))),
        ..snapshot(Phase::Failed, None)
    };
    let of = |needs| Progress::new(&name("blog"), &failed, false, needs, Arc::default());
    assert_eq!(
        of(vec![need(PageState::Failed)]).message,
        "An app that it needs could not be woken."
    );
    assert_eq!(of(vec![need(PageState::Ready)]).message, "It did not become ready in time.");
}

#[test]
fn each_cause_of_a_failed_wake_has_its_own_name_and_reason() {
    let unavailable = |message: &str| Failure::new(ErrorCode::Unavailable, message);
    let mut reasons = Vec::new();
    for (failure, name) in [
        (unavailable("the engine is down"), "unavailable"),
        (unavailable("it is exited again").with_reason(Reason::Exited), "exited"),
        (unavailable("it is exited again").with_reason(Reason::JobFailed), "job_failed"),
        (unavailable("pool \"small\" is full").with_reason(Reason::PoolFull), "pool_full"),
        (unavailable("it needs db").with_reason(Reason::NeedFailed), "need_failed"),
        (unavailable("it was removed").with_reason(Reason::Removed), "removed"),
        (unavailable("the router is ending").with_reason(Reason::RouterEnding), "router_ending"),
        (Failure::new(ErrorCode::Timeout, "too late"), "timeout"),
    ] {
        let failed = Snapshot { failure: Some(Arc::new(failure)), ..snapshot(Phase::Failed, None) };
        let failure = progress(&failed).failure.unwrap();
        assert_eq!(failure.cause.as_deref(), Some(name));
        assert!(!reasons.contains(&failure.reason), "{name}: {}", failure.reason);
        reasons.push(failure.reason);
    }
}
