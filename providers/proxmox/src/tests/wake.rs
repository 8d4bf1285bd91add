//! Starting containers.

use std::time::Duration;

use drowse_provider_sdk::{ErrorCode, Status};

use super::*;

const START: &str = "POST /api2/json/nodes/pve1/lxc/100/status/start";

#[test]
fn a_start_waits_until_the_container_has_an_address() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    expect_action(&test, START, "vzstart", "OK");
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    test.expect("api", &format!("GET {LXC}/interfaces"), data(json!(null)));
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/interfaces"), interfaces("10.0.0.5/24"));
    let seen = test.start("100").unwrap();
    assert_eq!((seen.status, seen.addresses[0].host.as_str()), (Status::Running, "10.0.0.5"));
    assert_eq!((seen.addresses.len(), seen.addresses[0].port), (1, None));
    assert_eq!(forms(&test), [""], "nothing that a server may not know");
}

#[test]
fn a_running_container_is_not_started_again() {
    let test = proxmox();
    expect_status(&test, current("running"));
    expect_status(&test, current("running"));
    expect_addresses(&test, "10.0.0.5/24");
    assert_eq!(test.start("100").unwrap().status, Status::Running);
}

#[test]
fn a_concurrent_start_by_another_client_succeeds() {
    for refused in
        [old_error(500, "CT 100 already running"), new_error(500, "CT 100 already running")]
    {
        let test = proxmox();
        expect_status(&test, current("stopped"));
        test.expect("api", START, refused);
        expect_status(&test, current("running"));
        expect_status(&test, current("running"));
        expect_addresses(&test, "10.0.0.5/24");
        assert_eq!(test.start("100").unwrap().status, Status::Running);
    }
}

#[test]
fn a_template_is_refused() {
    let test = proxmox();
    expect_status(&test, data(json!({ "status": "stopped", "template": 1 })));
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().contains("it is a template"), "{error}");
}

#[test]
fn a_locked_container_is_a_conflict_that_names_the_lock() {
    let test = proxmox();
    expect_status(&test, data(json!({ "status": "stopped", "lock": "backup" })));
    expect_action(&test, START, "vzstart", "CT is locked (backup)");
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert_eq!(error.attribute("lock"), Some("backup"));
    assert_eq!(
        error.message(),
        "start lxc/100 on pve1: task vzstart failed: CT is locked (backup); retry when that task is \
         done; `pct unlock` removes a stale lock"
    );
}

#[test]
fn a_guest_with_another_running_task_is_a_conflict() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    let text = "can't lock file '/run/lock/lxc/pve-config-100.lock' - got timeout";
    expect_action(&test, START, "vzstart", text);
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().ends_with("another task is running"), "{error}");
}

#[test]
fn a_failed_start_has_the_tasks_message() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    expect_action(&test, START, "vzstart", "startup for container '100' failed");
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert_eq!(
        error.message(),
        "start lxc/100 on pve1: task vzstart failed: startup for container '100' failed"
    );
}

#[test]
fn a_guest_that_stops_at_once_is_reported_stopped() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    expect_action(&test, START, "vzstart", "OK");
    expect_status(&test, current("stopped"));
    assert_eq!(test.start("100").unwrap().status, Status::Stopped);
}

#[test]
fn a_guest_without_an_address_is_polled_by_the_watch_after_the_timeout() {
    let test = set_up(json!({ "patience": "2s", "poll": "1s" }));
    expect_status(&test, current("running"));
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    test.expect("api", &format!("GET {LXC}/interfaces"), data(json!(null)));
    for _ in 0..8 {
        expect_status(&test, current("running"));
        test.expect("api", &format!("GET {LXC}/interfaces"), data(json!(null)));
    }
    let seen = test.start("100").unwrap();
    assert_eq!(seen.status, Status::Running);
    assert!(seen.addresses.is_empty());
    let detail = seen.detail.unwrap();
    assert!(detail.starts_with("running, but its address is unknown: it reports no"), "{detail}");
    assert_eq!(test.elapsed(), Duration::from_secs(2));
    assert!(test.memo("awaited").is_some());
}

#[test]
fn a_configured_address_is_not_queried() {
    let test = proxmox();
    expect_status(&test, current("running"));
    expect_status(&test, current("running"));
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    let seen = test.start(("100", json!({ "address": "10.9.9.9:8080" }))).unwrap();
    let address = &seen.addresses[0];
    assert_eq!((address.host.as_str(), address.port), ("10.9.9.9", Some(8080)));
    assert_eq!(address.target_port, Some(0), "overrides the route's port");
}

#[test]
fn a_stopped_container_cannot_be_resumed() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    let error = test.resume("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().ends_with("the guest is stopped; start it instead"), "{error}");
}
