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
    expect_status(&test, current("stopped"));
    test.expect("api", START, data(json!(upid("pve1", "vzstart"))));
    test
}

fn runs(test: &Harness<Proxmox>) {
    expect_status(test, current("running"));
    expect_addresses(test, "10.0.0.5/24");
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
fn warnings_succeed_and_an_unreadable_end_is_decided_by_the_guest() {
    for exit in ["WARNINGS: 2", "unexpected status"] {
        let test = begin();
        task(&test, ended(exit));
        runs(&test);
    }
}

#[test]
fn a_temporarily_unreachable_task_is_followed() {
    let test = begin();
    task(&test, Reply::error(Error::unavailable("endpoint \"api\" cannot be reached")));
    task(&test, old_error(596, "Broken pipe"));
    task(&test, ended("OK"));
    runs(&test);
}

#[test]
fn a_task_runs_on_its_own_node() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    test.expect("api", START, data(json!(upid("pve3", "vzstart"))));
    test.expect("api", &task_path("pve3", "vzstart"), ended("OK"));
    runs(&test);
}

#[test]
fn a_task_running_at_the_deadline_is_a_start_in_progress() {
    let test = set_up(json!({ "patience": "100ms", "poll": "1s" }));
    expect_status(&test, current("stopped"));
    test.expect("api", START, data(json!(upid("pve1", "vzstart"))));
    for _ in 0..3 {
        task(&test, data(json!({ "status": "running" })));
    }
    expect_status(&test, current("stopped"));
    let seen = test.start("100").unwrap();
    assert_eq!(seen.status, Status::Starting);
    assert_eq!(seen.detail.as_deref(), Some("the start task is still running"));
}

#[test]
fn an_invalid_upid_is_an_internal_error() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    test.expect("api", START, data(json!("UPID:../x:1:2:3:vzstart:100:root@pam:")));
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert!(error.message().contains("is not a task"), "{error}");
}

proptest! {
    #[test]
    fn only_a_valid_upid_is_parsed(
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
