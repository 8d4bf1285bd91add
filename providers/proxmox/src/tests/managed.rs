//! Guests that the manager for high availability decides over: the task only tells it.

use std::time::Duration;

use drowse_provider_sdk::{ErrorCode, Status, StopOptions};

use super::*;

fn managed(status: &str, state: &str) -> Reply {
    data(json!({ "status": status, "ha": { "managed": 1, "state": state } }))
}

#[test]
fn a_start_is_over_when_the_guest_runs_and_not_when_the_task_has_ended() {
    let test = proxmox();
    look(&test, managed("stopped", "stopped"));
    acts(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    look(&test, managed("stopped", "started"));
    look(&test, managed("stopped", "started"));
    look(&test, managed("running", "started"));
    tells(&test, "10.0.0.5/24");
    assert_eq!(test.start("100").unwrap().status, Status::Running);
}

#[test]
fn one_that_its_manager_does_not_start_in_time_is_on_its_way() {
    let test = set_up(json!({ "patience": "1s", "poll": "500ms" }));
    look(&test, managed("stopped", "stopped"));
    acts(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    for _ in 0..7 {
        look(&test, managed("stopped", "started"));
    }
    let seen = test.start("100").unwrap();
    assert_eq!(seen.status, Status::Starting);
    assert_eq!(seen.detail.as_deref(), Some("its high availability has not started it yet"));
}

#[test]
fn one_that_its_manager_has_given_up_says_so() {
    let test = proxmox();
    look(&test, managed("stopped", "error"));
    acts(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    look(&test, managed("stopped", "error"));
    let error = test.start("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("in state error"), "{error}");
}

#[test]
fn a_start_elsewhere_is_followed_to_the_other_node() {
    let test = proxmox();
    look(&test, managed("stopped", "stopped"));
    acts(&test, &format!("POST {LXC}/status/start"), "hastart", "OK");
    let words = "Configuration file 'nodes/pve1/lxc/100.conf' does not exist";
    look(&test, old_error(500, words));
    test.expect("api", LIST, data(json!([guest("lxc", 100, "pve2")])));
    let there = "GET /api2/json/nodes/pve2/lxc/100";
    test.expect("api", &format!("{there}/status/current"), managed("running", "started"));
    test.expect("api", &format!("{there}/config?current=1"), config());
    test.expect("api", &format!("{there}/interfaces"), interfaces("10.0.0.5/24"));
    let seen = test.start("100").unwrap();
    assert_eq!(seen.attribute("node"), Some("pve2"));
}

#[test]
fn a_stop_waits_for_the_guest_and_force_is_asked_for_without_a_word_its_manager_refuses() {
    let test = set_up(json!({ "poll": "30s" }));
    look(&test, managed("running", "started"));
    acts(&test, &format!("POST {LXC}/status/shutdown"), "hastop", "OK");
    for _ in 0..15 {
        look(&test, managed("running", "stopped"));
    }
    acts(&test, &format!("POST {LXC}/status/stop"), "hastop", "OK");
    look(&test, managed("running", "stopped"));
    look(&test, managed("stopped", "stopped"));
    let seen = test.stop("100", StopOptions::new(Duration::from_secs(1))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(forms(&test), ["timeout=1&forceStop=1", ""]);
}
