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
fn every_phase_has_words_and_an_outlook() {
    for (phase, outlook, words) in [
        (Phase::Asleep, Outlook::Asleep, "blog is asleep"),
        (Phase::Waking, Outlook::Working, "blog is waking up"),
        (Phase::Ready, Outlook::Ready, "blog is ready"),
        (Phase::Draining, Outlook::Working, "blog will be back in a moment"),
        (Phase::Stopping, Outlook::Working, "blog will be back in a moment"),
        (Phase::Failed, Outlook::Failed, "blog could not be woken"),
        (Phase::Missing, Outlook::Failed, "blog could not be woken"),
    ] {
        let progress = progress(&snapshot(phase, None));
        assert_eq!((progress.state, progress.title.as_str()), (outlook, words));
        assert!(!progress.says.is_empty());
        assert_eq!(progress.elapsed.is_some(), phase == Phase::Waking, "{phase}");
        assert_eq!(progress.failure.is_some(), outlook == Outlook::Failed, "{phase}");
    }
}

#[test]
fn one_that_nobody_wants_is_told_to_go_to_sleep() {
    for phase in [Phase::Draining, Phase::Stopping] {
        let wanted = snapshot(phase, None);
        let snapshot = Snapshot { wake_wanted: false, ..wanted.clone() };
        let logs = Arc::default();
        let told = Progress::new(&name("blog"), &snapshot, false, Vec::new(), logs);
        assert_eq!((told.state, told.title.as_str()), (Outlook::Asleep, "blog is going to sleep"));
        assert!(told.steps.is_empty() && told.says.contains("Try again"), "{told:?}");
        assert_eq!(of_need(&snapshot), (Outlook::Asleep, "stopping"));
        let back = (Outlook::Working, "stopping, woken right after");
        assert_eq!(of_need(&wanted), back);
    }
}

#[test]
fn a_wake_is_told_stage_by_stage() {
    let needs: Arc<[_]> = Arc::from([name("db"), name("cache")]);
    for (stage, word, words, steps) in [
        (Stage::Queued { position: 1, length: 3 }, "queued", "It is the next one.", ">.."),
        (Stage::Queued { position: 2, length: 3 }, "queued", "number 2 of 3", ">.."),
        (Stage::Needs(needs), "needs", "needs db and cache, which are woken first", ".."),
        (Stage::Starting, "starting", "is being started", ">."),
        (Stage::Absent, "starting", "a new one is waited for", ">."),
        (Stage::Probing(None), "probing", "getting ready to answer", "+>"),
    ] {
        let progress = progress(&snapshot(Phase::Waking, Some(stage)));
        assert_eq!(progress.stage, Some(word));
        assert!(progress.says.contains(words), "{}", progress.says);
        assert_eq!(steps_of(&progress), steps, "{word}");
        assert!((7.0..9.0).contains(&progress.elapsed.unwrap()));
        assert_eq!(progress.expected, Some(12.3));
    }
    let queued = progress(&snapshot(Phase::Waking, Some(Stage::Queued { position: 2, length: 3 })));
    assert_eq!(queued.queue, Some(Queue { place: 2, of: 3 }));
    assert_eq!(steps_of(&progress(&snapshot(Phase::Ready, None))), "++");
    assert_eq!(steps_of(&progress(&snapshot(Phase::Stopping, None))), ">..");
    assert_eq!(steps_of(&progress(&snapshot(Phase::Failed, None))), "");
}

#[test]
fn what_a_probe_saw_and_what_failed_stay_with_the_operator() {
    let secret = "connect 172.17.0.2:80: connection refused";
    let probing = snapshot(Phase::Waking, Some(Stage::Probing(Some(secret.into()))));
    let failed = Snapshot {
        failure: Some(Arc::new(Failure::new(ErrorCode::Timeout, secret))),
        rest_until: Some(Instant::now() + Duration::from_secs(9)),
        ..snapshot(Phase::Failed, None)
    };
    for snapshot in [&probing, &failed] {
        let told = serde_json::to_string(&progress(snapshot)).unwrap();
        assert!(!told.contains("172.17"), "{told}");
    }
    let failure = progress(&failed).failure.unwrap();
    assert_eq!(failure.reason, "It did not become ready in time.");
    assert!((8.0..=9.0).contains(&failure.retry_in.unwrap()));
}

#[test]
fn time_that_passes_is_no_news() {
    let waking = snapshot(Phase::Waking, Some(Stage::Starting));
    let before = progress(&waking);
    let since = waking.since - Duration::from_secs(3);
    let later = progress(&Snapshot { since, ..waking.clone() });
    assert_ne!(before.elapsed, later.elapsed);
    assert!(!later.is_news_after(&before));
    let next = progress(&snapshot(Phase::Waking, Some(Stage::Probing(None))));
    assert!(next.is_news_after(&before));
    let other = progress(&Snapshot { generation: Generation(2), ..waking });
    assert!(other.is_news_after(&before), "another life");
}

#[test]
fn a_need_is_met_when_its_dependent_waits_for_it_no_more() {
    let missing: Arc<[_]> = Arc::from([name("db")]);
    let waits = snapshot(Phase::Waking, Some(Stage::Needs(missing)));
    assert!(!met(&waits, &name("db")) && met(&waits, &name("cache")));
    assert!(met(&snapshot(Phase::Waking, Some(Stage::Starting)), &name("db")));
    let queued = snapshot(Phase::Waking, Some(Stage::Queued { position: 1, length: 1 }));
    assert!(!met(&queued, &name("db")));
    assert!(!met(&snapshot(Phase::Failed, None), &name("db")));
}

#[test]
fn a_need_that_failed_is_the_reason_that_is_told() {
    let need = |state| Needed { name: name("db"), state, says: "", needs: Vec::new() };
    let failed = Snapshot {
        failure: Some(Arc::new(Failure::new(ErrorCode::Timeout, "it needs db"))),
        ..snapshot(Phase::Failed, None)
    };
    let of = |needs| Progress::new(&name("blog"), &failed, false, needs, Arc::default());
    assert_eq!(of(vec![need(Outlook::Failed)]).says, "Something that it needs could not be woken.");
    assert_eq!(of(vec![need(Outlook::Ready)]).says, "It did not become ready in time.");
}

#[test]
fn each_cause_of_a_failed_wake_has_words_and_a_name_of_its_own() {
    let unavailable = |message: &str| Failure::new(ErrorCode::Unavailable, message);
    let mut told = Vec::new();
    for (failure, name) in [
        (unavailable("the engine is down"), "unavailable"),
        (unavailable("it is exited again").because(Reason::Exited), "exited"),
        (unavailable("it is exited again").because(Reason::JobFailed), "job_failed"),
        (unavailable("pool \"small\" is full").because(Reason::PoolFull), "pool_full"),
        (unavailable("it needs db").because(Reason::NeedFailed), "need_failed"),
        (unavailable("it was removed").because(Reason::Removed), "removed"),
        (unavailable("the router is ending").because(Reason::RouterEnding), "router_ending"),
        (Failure::new(ErrorCode::Timeout, "too late"), "timeout"),
    ] {
        let failed = Snapshot { failure: Some(Arc::new(failure)), ..snapshot(Phase::Failed, None) };
        let setback = progress(&failed).failure.unwrap();
        assert_eq!(setback.cause.as_deref(), Some(name));
        assert!(!told.contains(&setback.reason), "{name}: {}", setback.reason);
        told.push(setback.reason);
    }
}
