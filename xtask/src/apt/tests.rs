#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_policy_that_an_earlier_run_left_behind_goes_with_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy-rc.d");
    std::mem::forget(NoServices::declare(&policy).unwrap());
    assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o777, 0o755);
    drop(NoServices::declare(&policy).unwrap());
    assert!(!policy.exists());
}

#[test]
fn a_policy_of_somebody_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
    drop(NoServices::declare(&policy).unwrap());
    assert_eq!(fs::read_to_string(&policy).unwrap(), "#!/bin/sh\nexit 101\n");
}
