//! Containers that are started.

use std::time::Duration;

use drowse_provider_sdk::{ErrorCode, Status};

use super::*;

const START: &str = "POST /api2/json/nodes/pve1/lxc/100/status/start";

#[test]
fn a_container_is_started_and_waited_for_until_it_has_an_address() {
    let test = proxmox();
    look(&test, current("stopped"));
    acts(&test, START, "vzstart", "OK");
    look(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    test.expect("api", &format!("GET {LXC}/interfaces"), data(json!(null)));
    look(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/interfaces"), interfaces("10.0.0.5/24"));
    let seen = test.start("100").unwrap();
    assert_eq!((seen.status, seen.addresses[0].host.as_str()), (Status::Running, "10.0.0.5"));
    assert_eq!((seen.addresses.len(), seen.addresses[0].port), (1, None));
    assert_eq!(forms(&test), [""], "nothing that a server may not know");
}

#[test]
fn what_runs_is_not_asked_to_start() {
    let test = proxmox();
    look(&test, current("running"));
    look(&test, current("running"));
    tells(&test, "10.0.0.5/24");
    assert_eq!(test.start("100").unwrap().status, Status::Running);
}

#[test]
fn somebody_who_was_faster_is_no_failure() {
    for refused in
        [old_error(500, "CT 100 already running"), new_error(500, "CT 100 already running")]
    {
        let test = proxmox();
        look(&test, current("stopped"));
        test.expect("api", START, refused);
        look(&test, current("running"));
        look(&test, current("running"));
        tells(&test, "10.0.0.5/24");
        assert_eq!(test.start("100").unwrap().status, Status::Running);
    }
}

#[test]
fn a_template_is_refused() {
    let test = proxmox();
    look(&test, data(json!({ "status": "stopped", "template": 1 })));
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().contains("it is a template"), "{error}");
}

#[test]
fn a_locked_container_is_a_conflict_that_names_the_lock() {
    let test = proxmox();
    look(&test, data(json!({ "status": "stopped", "lock": "backup" })));
    acts(&test, START, "vzstart", "CT is locked (backup)");
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert_eq!(error.attribute("lock"), Some("backup"));
    assert_eq!(
        error.message(),
        "start lxc/100 on pve1: task vzstart failed: CT is locked (backup); it is left alone until \
         that is over; a lock that was left behind is taken away by `pct unlock`"
    );
}

#[test]
fn one_that_another_task_works_on_is_a_conflict() {
    let test = proxmox();
    look(&test, current("stopped"));
    let text = "can't lock file '/run/lock/lxc/pve-config-100.lock' - got timeout";
    acts(&test, START, "vzstart", text);
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().ends_with("another task works on it"), "{error}");
}

#[test]
fn a_start_that_fails_says_so_in_the_tasks_words() {
    let test = proxmox();
    look(&test, current("stopped"));
    acts(&test, START, "vzstart", "startup for container '100' failed");
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert_eq!(
        error.message(),
        "start lxc/100 on pve1: task vzstart failed: startup for container '100' failed"
    );
}

#[test]
fn one_that_ends_at_once_is_reported_as_it_is() {
    let test = proxmox();
    look(&test, current("stopped"));
    acts(&test, START, "vzstart", "OK");
    look(&test, current("stopped"));
    assert_eq!(test.start("100").unwrap().status, Status::Stopped);
}

#[test]
fn one_without_an_address_is_left_to_the_watch_when_patience_is_over() {
    let test = set_up(json!({ "patience": "2s", "poll": "1s" }));
    look(&test, current("running"));
    look(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    test.expect("api", &format!("GET {LXC}/interfaces"), data(json!(null)));
    for _ in 0..8 {
        look(&test, current("running"));
        test.expect("api", &format!("GET {LXC}/interfaces"), data(json!(null)));
    }
    let seen = test.start("100").unwrap();
    assert_eq!(seen.status, Status::Running);
    assert!(seen.addresses.is_empty());
    let detail = seen.detail.unwrap();
    assert!(detail.starts_with("it runs, and nobody knows its address: it tells no"), "{detail}");
    assert_eq!(test.elapsed(), Duration::from_secs(2));
    assert!(test.memo("awaited").is_some());
}

#[test]
fn an_address_of_the_operator_is_not_asked_for() {
    let test = proxmox();
    look(&test, current("running"));
    look(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    let seen = test.start(("100", json!({ "address": "10.9.9.9:8080" }))).unwrap();
    let address = &seen.addresses[0];
    assert_eq!((address.host.as_str(), address.port), ("10.9.9.9", Some(8080)));
    assert_eq!(address.target_port, Some(0), "whatever a route calls it");
}

#[test]
fn a_container_cannot_be_resumed_that_does_not_run() {
    let test = proxmox();
    look(&test, current("stopped"));
    let error = test.resume("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().ends_with("it is stopped; start it instead"), "{error}");
}
