//! Tests of the journal in memory.

use super::*;

fn entry(workload: &str, at: u64) -> Entry {
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
    Entry {
        correlation: Correlation::random(),
        workload: WorkloadName::parse(workload).expect("a name"),
        generation: Generation(at),
        provider: ProviderName::parse("docker").expect("a name"),
        kind: OperationKind::Wake,
        trigger: Trigger::Request,
        reference: None,
        native_before: None,
        native_after: None,
        image: None,
        failure: None,
        began: time,
        ended: time,
    }
}

#[test]
fn the_oldest_entries_are_dropped_first() {
    let journal = MemoryJournal::new(3);
    for at in 1..=5 {
        journal.record(entry("blog", at));
    }
    let generations: Vec<_> =
        journal.recent(None, 10).iter().map(|entry| entry.generation.0).collect();
    assert_eq!(generations, [5, 4, 3]);
}

#[test]
fn entries_of_one_workload_are_found_among_others() {
    let journal = MemoryJournal::new(10);
    for at in 1..=3 {
        journal.record(entry("blog", at));
        journal.record(entry("wiki", at));
    }
    let found = journal.recent(Some("blog"), 2);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|entry| entry.workload.as_str() == "blog"));
}

#[test]
fn a_correlation_survives_serialization() {
    let correlation = Correlation::random();
    let text = serde_json::to_string(&correlation).expect("text");
    assert_eq!(serde_json::from_str::<Correlation>(&text).expect("read"), correlation);
    assert_ne!(correlation, Correlation::random());
}

#[test]
fn a_journal_without_room_keeps_nothing() {
    let journal = MemoryJournal::new(0);
    for at in 1..=3 {
        journal.record(entry("blog", at));
    }
    assert!(journal.recent(None, 10).is_empty());
}

#[test]
fn times_are_serialized_as_rfc_3339() {
    let mut entry_with_milliseconds = entry("blog", 90);
    entry_with_milliseconds.ended += std::time::Duration::from_millis(5);
    let text = serde_json::to_string(&entry_with_milliseconds).expect("text");
    assert!(text.contains(r#""began":"1970-01-01T00:01:30Z","ended":"1970-01-01T00:01:30.005Z""#));
    assert_eq!(serde_json::from_str::<Entry>(&text).expect("read"), entry_with_milliseconds);
}
