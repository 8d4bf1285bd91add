//! The file of lives.

use std::time::SystemTime;

use drowse_core::WorkloadName;

use super::*;

fn note(workload: &str, used: SystemTime) -> LifeNote {
    LifeNote {
        workload: WorkloadName::parse(workload).expect("a name"),
        native_id: Some("abc".into()),
        started: None,
        used,
    }
}

#[test]
fn what_was_written_is_read_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("state").join(FILE);
    let notes = vec![note("blog", SystemTime::now()), note("wiki", SystemTime::UNIX_EPOCH)];
    write(&file, &notes).expect("written");
    assert_eq!(read(&file).expect("read"), notes);
}

#[test]
fn a_missing_file_is_an_empty_one_and_a_broken_one_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(FILE);
    assert!(read(&file).expect("none").is_empty());
    fs::write(&file, b"{").expect("written");
    assert!(read(&file).is_err());
}

#[test]
fn the_file_is_not_written_for_nothing() {
    let now = SystemTime::now();
    let later = now + Duration::from_millis(10);
    assert!(same(Some(&[note("blog", now)]), &[note("blog", later)]));
    assert!(!same(Some(&[note("blog", now)]), &[note("blog", now + Duration::from_secs(9))]));
    assert!(!same(Some(&[note("blog", now)]), &[]));
    assert!(!same(None, &[]));
}
