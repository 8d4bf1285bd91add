//! Stopping guests.

use std::time::Duration;

use drowse_provider_sdk::{ErrorCode, Status, StopOptions};

use super::*;

fn post(action: &str) -> String {
    format!("POST {LXC}/status/{action}")
}

fn grace(seconds: u64) -> StopOptions {
    StopOptions::new(Duration::from_secs(seconds))
}

#[test]
fn a_container_is_shut_down_with_its_grace_time_and_then_by_force() {
    let test = proxmox();
    expect_status(&test, current("running"));
    expect_action(&test, &post("shutdown"), "vzshutdown", "OK");
    expect_status(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(30)).unwrap().status, Status::Stopped);
    assert_eq!(forms(&test), ["timeout=30&forceStop=1"]);
    let types = test.requests().into_iter().find(|it| it.method == "POST").unwrap().headers;
    assert_eq!(types[0].value, "application/x-www-form-urlencoded");
}

#[test]
fn a_stopped_guest_is_not_stopped_again() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(30)).unwrap().status, Status::Stopped);
    expect_status(&test, current("running"));
    test.expect("api", &post("shutdown"), old_error(500, "CT 100 not running"));
    expect_status(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(30)).unwrap().status, Status::Stopped, "meanwhile");
    expect_status(&test, current("stopped"));
    assert_eq!(test.kill("100", None).unwrap().status, Status::Stopped);
}

#[test]
fn no_grace_time_stops_by_force() {
    let test = proxmox();
    expect_status(&test, current("running"));
    expect_action(&test, &post("stop"), "vzstop", "OK");
    expect_status(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(0)).unwrap().status, Status::Stopped);
}

#[test]
fn an_ineffective_shutdown_is_followed_by_force() {
    let test = set_up(json!({ "poll": "30s" }));
    expect_status(&test, current("running"));
    expect_action(&test, &post("shutdown"), "vzshutdown", "container did not stop");
    for _ in 0..14 {
        expect_status(&test, current("running"));
    }
    expect_action(&test, &post("stop"), "vzstop", "OK");
    expect_status(&test, current("stopped"));
    let outcome = test.stop("100", grace(1));
    assert_eq!(outcome.unwrap().status, Status::Stopped);
}

#[test]
fn a_kill_overrules_a_running_shutdown_where_supported() {
    let test = proxmox();
    expect_status(&test, current("running"));
    expect_action(&test, &post("stop"), "vzstop", "OK");
    expect_status(&test, current("stopped"));
    assert_eq!(test.kill("100", Some("SIGKILL")).unwrap().status, Status::Stopped);
    assert_eq!(forms(&test), ["overrule-shutdown=1"]);

    let old = proxmox();
    expect_status(&old, current("running"));
    let errors = json!({ "data": null, "errors": {
        "overrule-shutdown": "property is not defined in schema and the schema does not allow \
                              additional properties",
    } });
    let refused =
        Reply::status(400).reason("Parameter verification failed.").body(errors.to_string());
    old.expect("api", &post("stop"), refused);
    expect_action(&old, &post("stop"), "vzstop", "OK");
    expect_status(&old, current("stopped"));
    assert_eq!(old.kill("100", None).unwrap().status, Status::Stopped);
    assert_eq!(forms(&old), ["overrule-shutdown=1", ""]);
}

#[test]
fn a_guest_that_cannot_be_stopped_is_a_timeout() {
    let test = set_up(json!({ "poll": "30s" }));
    expect_status(&test, current("running"));
    expect_action(&test, &post("stop"), "vzstop", "OK");
    for _ in 0..13 {
        expect_status(&test, current("running"));
    }
    let error = test.kill("100", None).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert!(error.message().ends_with("but the guest is still running"), "{error}");
}

#[test]
fn a_locked_container_is_not_stopped() {
    let test = proxmox();
    expect_status(&test, data(json!({ "status": "running", "lock": "snapshot" })));
    expect_action(&test, &post("shutdown"), "vzshutdown", "CT is locked (snapshot)");
    expect_status(&test, current("running"));
    let error = test.stop("100", grace(5)).unwrap_err();
    assert_eq!(error.attribute("lock"), Some("snapshot"));
}

#[test]
fn suspending_a_container_to_disk_is_refused() {
    let test = proxmox();
    expect_status(&test, current("running"));
    let error = test.stop(("100", json!({ "stop": "suspend-to-disk" })), grace(5)).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
}

#[test]
fn a_missing_guest_counts_as_stopped() {
    let test = proxmox();
    let words = "Configuration file 'nodes/pve1/lxc/100.conf' does not exist";
    expect_status(&test, old_error(500, words));
    test.expect("api", LIST, data(json!([guest("qemu", 101, "pve1")])));
    assert_eq!(test.stop("100", grace(5)).unwrap().status, Status::Missing);
}
