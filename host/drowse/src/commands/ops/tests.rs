//! Tests of the list of operations.

use drowse_core::{
    Correlation, ErrorCode, Failure, Generation, OperationKind, ProviderName, Reason, Trigger,
    WorkloadName,
};

use super::*;

fn entry(kind: OperationKind, failure: Option<Failure>) -> Entry {
    let began = SystemTime::UNIX_EPOCH;
    Entry {
        correlation: Correlation::random(),
        workload: WorkloadName::parse("blog").expect("a name"),
        generation: Generation(1),
        provider: ProviderName::parse("docker").expect("a name"),
        kind,
        trigger: Trigger::Request,
        reference: Some("GET blog.example.org/".into()),
        native_before: None,
        native_after: None,
        image: None,
        failure,
        began,
        ended: began + Duration::from_millis(1234),
    }
}

#[test]
fn an_operation_shows_its_trigger_and_duration() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(61);
    let text = text(&[entry(OperationKind::Wake, None)], now, &Output::plain());
    let line = text.lines().nth(1).expect("a row");
    for part in ["59s ago", "blog", "wake", "request: GET blog.example.org/", "1234ms", "done"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn a_failed_operation_shows_its_code_and_below_its_error() {
    let failure = Failure::new(ErrorCode::Timeout, "it was not ready within 3m");
    let text = text(
        &[
            entry(OperationKind::Wake, Some(failure.clone())),
            entry(OperationKind::Start, Some(failure)),
        ],
        SystemTime::UNIX_EPOCH,
        &Output::plain(),
    );
    assert!(text.contains("timeout"), "{text}");
    assert_eq!(text.matches("it was not ready within 3m").count(), 1, "{text}");
}

#[test]
fn an_error_below_the_table_has_its_time_and_correlation() {
    let failure = Failure::new(ErrorCode::Unavailable, "it was started and is exited again")
        .with_reason(Reason::Exited);
    let entry = entry(OperationKind::Wake, Some(failure));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(61);
    let text = text(std::slice::from_ref(&entry), now, &Output::plain());
    let row = text.lines().nth(1).expect("a row");
    assert!(row.contains("exited") && !row.contains("unavailable"), "{row}");
    let line = text.lines().last().expect("the error");
    let start = format!("59s ago {} wake blog: it was started", entry.correlation);
    assert!(line.starts_with(&start), "{line}");
}

#[test]
fn an_empty_journal_says_so() {
    assert!(text(&[], SystemTime::now(), &Output::plain()).contains("no operations yet"));
}
