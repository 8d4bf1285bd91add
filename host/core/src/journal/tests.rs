//! The journal in memory.

use super::*;

fn entry(workload: &str, at: u64) -> Entry {
    let moment = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
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
        began: moment,
        ended: moment,
    }
}

#[test]
fn the_oldest_entries_make_room() {
    let journal = MemoryJournal::new(3);
    for at in 1..=5 {
        journal.record(entry("blog", at));
    }
    let lives: Vec<_> = journal.recent(None, 10).iter().map(|entry| entry.generation.0).collect();
    assert_eq!(lives, [5, 4, 3]);
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
fn a_correlation_survives_being_written_and_read() {
    let story = Correlation::random();
    let text = serde_json::to_string(&story).expect("text");
    assert_eq!(serde_json::from_str::<Correlation>(&text).expect("read"), story);
    assert_ne!(story, Correlation::random());
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
fn moments_are_written_as_everybody_reads_them() {
    let mut told = entry("blog", 90);
    told.ended += std::time::Duration::from_millis(5);
    let text = serde_json::to_string(&told).expect("text");
    assert!(text.contains(r#""began":"1970-01-01T00:01:30Z","ended":"1970-01-01T00:01:30.005Z""#));
    assert_eq!(serde_json::from_str::<Entry>(&text).expect("read"), told);
}
