use super::*;

const MS: Nanos = 1_000_000;

/// A fault of workload 0 from 1 s to 2 s whose address is known to be gone at 1.1 s.
fn timeline(effect: Effect) -> Timeline {
    let timeline = Timeline::default();
    timeline.faults().push(Fault {
        scope: Scope::Workload(0),
        effect,
        begin: 1_000 * MS,
        gone: Some(1_100 * MS),
        recovered: Some(2_000 * MS),
        steps: Vec::new(),
        own_time: 0,
    });
    timeline
}

fn record(kind: Kind, sent: Nanos, done: Nanos, outcome: Outcome) -> Record {
    Record { id: 0, workload: 0, kind, sent: sent * MS, done: done * MS, outcome }
}

fn refused() -> Outcome {
    Outcome::Refused("503".to_owned())
}

fn lost() -> Outcome {
    Outcome::Lost("reset".to_owned())
}

#[test]
fn a_refusal_is_explained_until_half_a_second_after_the_recovery() {
    let timeline = timeline(Effect::Breaks);
    for (sent, done, explained) in
        [(900, 990, false), (900, 1_010, true), (2_300, 2_490, true), (1_900, 2_510, false)]
    {
        let record = record(Kind::Get, sent, done, refused());
        assert_eq!(timeline.explains(&record), explained, "{record:?}");
    }
}

#[test]
fn a_loss_is_explained_if_the_request_was_active_during_the_fault() {
    let timeline = timeline(Effect::Breaks);
    for (sent, done, explained) in
        [(900, 1_010, true), (1_900, 3_900, true), (1_900, 4_100, false), (2_010, 2_020, false)]
    {
        let record = record(Kind::Post, sent, done, lost());
        assert_eq!(timeline.explains(&record), explained, "{record:?}");
    }
}

#[test]
fn faults_of_other_workloads_and_wrong_responses_are_not_explained() {
    let timeline = timeline(Effect::Breaks);
    let other = Record { workload: 1, ..record(Kind::Get, 1_200, 1_300, refused()) };
    assert!(!timeline.explains(&other));
    let wrong = record(Kind::Get, 1_200, 1_300, Outcome::Wrong("w1".to_owned()));
    assert!(!timeline.explains(&wrong));
}

#[test]
fn a_delay_does_not_explain_a_loss() {
    let timeline = timeline(Effect::Delays);
    assert!(!timeline.explains(&record(Kind::Get, 1_200, 1_300, lost())));
    let held = record(Kind::Get, 1_200, 3_900, Outcome::Answered);
    assert_eq!(timeline.beyond(&held), 1_900 * MS);
    assert!(timeline.explains(&held));
}

#[test]
fn a_request_is_late_two_seconds_after_it_was_sent_or_the_fault_was_over() {
    let timeline = timeline(Effect::Breaks);
    for (sent, done, explained) in
        [(0, 900, true), (0, 2_100, true), (1_500, 4_100, false), (5_000, 7_100, false)]
    {
        let record = record(Kind::Get, sent, done, Outcome::Answered);
        assert_eq!(timeline.explains(&record), explained, "{record:?}");
    }
}

#[test]
fn a_stream_ends_when_its_address_is_known_to_be_gone() {
    let timeline = timeline(Effect::Breaks);
    for (done, explained) in [(1_200, true), (3_000, true), (3_200, false)] {
        let record = record(Kind::Stream, 1_050, done, lost());
        assert_eq!(timeline.explains(&record), explained, "{record:?}");
    }
}

#[test]
fn a_renamed_container_may_answer_with_its_old_name_for_a_moment() {
    let timeline = timeline(Effect::Renames);
    for (sent, explained) in [(1_200, true), (2_400, true), (2_600, false)] {
        let record = record(Kind::Get, sent, sent + 500, Outcome::Wrong("w1".to_owned()));
        assert_eq!(timeline.explains(&record), explained, "{record:?}");
    }
}

#[test]
fn stalls_of_the_machine_are_not_attributed_to_the_router() {
    let timeline = timeline(Effect::Breaks);
    let record = record(Kind::Get, 5_000, 7_100, Outcome::Answered);
    assert!(!timeline.explains(&record));
    timeline.stalled(6_000 * MS, 6_200 * MS);
    assert!(timeline.explains(&record));
}

#[test]
fn container_starts_by_the_engine_are_not_attributed_to_the_router() {
    let timeline = timeline(Effect::Breaks);
    let record = record(Kind::Get, 5_000, 7_500, Outcome::Answered);
    timeline.started(1, 5_000 * MS, 7_000 * MS);
    assert_eq!(timeline.beyond(&record), 2_500 * MS, "the start of another workload counts");
    timeline.started(0, 4_900 * MS, 6_000 * MS);
    assert_eq!(timeline.beyond(&record), 1_500 * MS);
}
