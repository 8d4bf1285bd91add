//! Tests of the file of instances.

use std::{os::unix::fs::MetadataExt as _, path::Path, time::SystemTime};

use drowse_core::WorkloadName;

use super::*;

fn note(workload: &str, used: SystemTime) -> InstanceRecord {
    InstanceRecord {
        workload: WorkloadName::parse(workload).expect("a name"),
        native_id: Some("abc".into()),
        started: Some("1".into()),
        used,
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn the_next_router_reads_what_was_written_and_no_other_user_does() {
    let home = directory();
    let state = home.path().join("state");
    let notes = vec![note("blog", SystemTime::now()), note("wiki", SystemTime::UNIX_EPOCH)];
    write(&StateDir::open(&state).expect("free"), &notes).expect("written");
    assert_eq!(read(&StateDir::open(&state).expect("free")).expect("read"), notes);
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
}

#[test]
fn a_missing_file_is_empty_and_a_broken_one_is_an_error() {
    let home = directory();
    let state_dir = StateDir::open(home.path()).expect("free");
    assert!(read(&state_dir).expect("none").is_empty());
    fs::write(home.path().join(FILE), b"{").expect("written");
    assert!(read(&state_dir).is_err());
}

#[test]
fn the_file_is_written_at_once_for_an_instance_and_periodically_for_its_visits() {
    let now = SystemTime::now();
    let at = Instant::now();
    let written = |at| Written { notes: vec![note("blog", now)], at };
    let later = |seconds: u64| [note("blog", now + Duration::from_millis(seconds * 1000 + 10))];
    let old = at.checked_sub(VISIT_INTERVAL).expect("not at the beginning of time");
    assert!(written(at).is_old(&[], false));
    assert!(written(at).is_old(&[InstanceRecord { started: None, ..note("blog", now) }], false));
    assert!(!written(at).is_old(&later(9), false), "not yet");
    assert!(written(at).is_old(&later(9), true), "it is the last time");
    assert!(written(old).is_old(&later(9), false));
    assert!(!written(old).is_old(&later(0), true), "for nothing");
}
