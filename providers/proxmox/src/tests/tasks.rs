//! Tasks and their UPIDs.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Status};
use proptest::prelude::*;

use super::*;
use crate::task::Task;

const START: &str = "POST /api2/json/nodes/pve1/lxc/100/status/start";

fn task(test: &Harness<Proxmox>, reply: Reply) {
    test.expect("api", &task_path("pve1", "vzstart"), reply);
}

fn begin() -> Harness<Proxmox> {
    let test = proxmox();
    look(&test, current("stopped"));
    test.expect("api", START, data(json!(upid("pve1", "vzstart"))));
    test
}

fn runs(test: &Harness<Proxmox>) {
    look(test, current("running"));
    tells(test, "10.0.0.5/24");
    assert_eq!(test.start("100").unwrap().status, Status::Running);
}

#[test]
fn a_task_is_followed_to_its_end() {
    let test = begin();
    for _ in 0..3 {
        task(&test, data(json!({ "status": "running" })));
    }
    task(&test, ended("OK"));
    runs(&test);
    assert!(test.elapsed() < Duration::from_secs(1), "{:?}", test.elapsed());
}

#[test]
fn warnings_are_a_success_and_an_unreadable_end_is_looked_up_at_the_guest() {
    for exit in ["WARNINGS: 2", "unexpected status"] {
        let test = begin();
        task(&test, ended(exit));
        runs(&test);
    }
}

#[test]
fn a_gap_on_the_way_to_a_task_is_bridged() {
    let test = begin();
    task(&test, Reply::error(Error::unavailable("endpoint \"api\" cannot be reached")));
    task(&test, old_error(596, "Broken pipe"));
    task(&test, ended("OK"));
    runs(&test);
}

#[test]
fn a_task_runs_on_its_own_node() {
    let test = proxmox();
    look(&test, current("stopped"));
    test.expect("api", START, data(json!(upid("pve3", "vzstart"))));
    test.expect("api", &task_path("pve3", "vzstart"), ended("OK"));
    runs(&test);
}

#[test]
fn a_task_that_goes_on_when_patience_is_over_is_a_start_under_way() {
    let test = set_up(json!({ "patience": "100ms", "poll": "1s" }));
    look(&test, current("stopped"));
    test.expect("api", START, data(json!(upid("pve1", "vzstart"))));
    for _ in 0..3 {
        task(&test, data(json!({ "status": "running" })));
    }
    look(&test, current("stopped"));
    let seen = test.start("100").unwrap();
    assert_eq!(seen.status, Status::Starting);
    assert_eq!(seen.detail.as_deref(), Some("the task that starts it goes on"));
}

#[test]
fn what_is_no_task_is_a_defect() {
    let test = proxmox();
    look(&test, current("stopped"));
    test.expect("api", START, data(json!("UPID:../x:1:2:3:vzstart:100:root@pam:")));
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert!(error.message().contains("is not a task"), "{error}");
}

proptest! {
    #[test]
    fn a_upid_is_read_and_nothing_else_is(
        node in "[a-z][a-z0-9-]{0,10}", pid in "[0-9A-F]{8}", kind in "[a-z]{2,10}", noise in "\\PC{0,60}"
    ) {
        let upid = format!("UPID:{node}:{pid}:{pid}:{pid}:{kind}:100:a@pve!t:");
        prop_assert!(Task::parse(&upid).is_some());
        prop_assert!(Task::parse(&upid[1..]).is_none());
        prop_assert!(Task::parse(&upid.replace(&node, "a.b")).is_none());
        if Task::parse(&noise).is_some() {
            prop_assert!(noise.starts_with("UPID:") && noise.ends_with(':'));
        }
    }
}
