#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_policy_left_behind_by_an_earlier_run_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy-rc.d");
    std::mem::forget(NoServices::declare(&policy).unwrap());
    assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o777, 0o755);
    drop(NoServices::declare(&policy).unwrap());
    assert!(!policy.exists());
}

#[test]
fn a_foreign_policy_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
    drop(NoServices::declare(&policy).unwrap());
    assert_eq!(fs::read_to_string(&policy).unwrap(), "#!/bin/sh\nexit 101\n");
}
