//! Guests of the high availability manager: a task only sets the requested state.

use std::time::Duration;

use drowse_provider_sdk::{ErrorCode, Status, StopOptions};

use super::*;

fn managed(status: &str, state: &str) -> Reply {
    data(json!({ "status": status, "ha": { "managed": 1, "state": state } }))
}

#[test]
fn a_start_waits_for_the_guest_after_the_task() {
    let test = proxmox();
    expect_status(&test, managed("stopped", "stopped"));
    expect_action(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    expect_status(&test, managed("stopped", "started"));
    expect_status(&test, managed("stopped", "started"));
    expect_status(&test, managed("running", "started"));
    expect_addresses(&test, "10.0.0.5/24");
    assert_eq!(test.start("100").unwrap().status, Status::Running);
}

#[test]
fn a_guest_that_its_manager_starts_late_is_starting() {
    let test = set_up(json!({ "patience": "1s", "poll": "500ms" }));
    expect_status(&test, managed("stopped", "stopped"));
    expect_action(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    for _ in 0..7 {
        expect_status(&test, managed("stopped", "started"));
    }
    let seen = test.start("100").unwrap();
    assert_eq!(seen.status, Status::Starting);
    assert_eq!(seen.detail.as_deref(), Some("its high availability has not started it yet"));
}

#[test]
fn a_guest_in_ha_state_error_is_reported() {
    let test = proxmox();
    expect_status(&test, managed("stopped", "error"));
    expect_action(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    expect_status(&test, managed("stopped", "error"));
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("state is error"), "{error}");
}

#[test]
fn a_start_on_another_node_is_followed() {
    let test = proxmox();
    expect_status(&test, managed("stopped", "stopped"));
    expect_action(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    let words = "Configuration file 'nodes/pve1/lxc/100.conf' does not exist";
    expect_status(&test, old_error(500, words));
    test.expect("api", LIST, data(json!([guest("lxc", 100, "pve2")])));
    let there = "GET /api2/json/nodes/pve2/lxc/100";
    test.expect("api", &format!("{there}/status/current"), managed("running", "started"));
    test.expect("api", &format!("{there}/config?current=1"), config());
    test.expect("api", &format!("{there}/interfaces"), interfaces("10.0.0.5/24"));
    let seen = test.start("100").unwrap();
    assert_eq!(seen.attribute("node"), Some("pve2"));
}

#[test]
fn a_stop_waits_for_the_guest_and_force_omits_the_unsupported_parameter() {
    let test = set_up(json!({ "poll": "30s" }));
    expect_status(&test, managed("running", "started"));
    expect_action(&test, &format!("POST {LXC}/status/shutdown"), "hastop", "OK");
    for _ in 0..15 {
        expect_status(&test, managed("running", "stopped"));
    }
    expect_action(&test, &format!("POST {LXC}/status/stop"), "hastop", "OK");
    expect_status(&test, managed("running", "stopped"));
    expect_status(&test, managed("stopped", "stopped"));
    let seen = test.stop("100", StopOptions::new(Duration::from_secs(1))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(forms(&test), ["timeout=1&forceStop=1", ""]);
}
