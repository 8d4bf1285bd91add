//! Guests that are stopped.

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
    look(&test, current("running"));
    acts(&test, &post("shutdown"), "vzshutdown", "OK");
    look(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(30)).unwrap().status, Status::Stopped);
    assert_eq!(forms(&test), ["timeout=30&forceStop=1"]);
    let types = test.requests().into_iter().find(|it| it.method == "POST").unwrap().headers;
    assert_eq!(types[0].value, "application/x-www-form-urlencoded");
}

#[test]
fn what_does_not_run_is_stopped_already() {
    let test = proxmox();
    look(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(30)).unwrap().status, Status::Stopped);
    look(&test, current("running"));
    test.expect("api", &post("shutdown"), old_error(500, "CT 100 not running"));
    look(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(30)).unwrap().status, Status::Stopped, "meanwhile");
    look(&test, current("stopped"));
    assert_eq!(test.kill("100", None).unwrap().status, Status::Stopped);
}

#[test]
fn no_grace_is_no_question() {
    let test = proxmox();
    look(&test, current("running"));
    acts(&test, &post("stop"), "vzstop", "OK");
    look(&test, current("stopped"));
    assert_eq!(test.stop("100", grace(0)).unwrap().status, Status::Stopped);
}

#[test]
fn a_shutdown_that_leaves_it_running_is_followed_by_force() {
    let test = set_up(json!({ "poll": "30s" }));
    look(&test, current("running"));
    acts(&test, &post("shutdown"), "vzshutdown", "container did not stop");
    for _ in 0..14 {
        look(&test, current("running"));
    }
    acts(&test, &post("stop"), "vzstop", "OK");
    look(&test, current("stopped"));
    let outcome = test.stop("100", grace(1));
    assert_eq!(outcome.unwrap().status, Status::Stopped);
}

#[test]
fn a_kill_overrules_a_shutdown_under_way_where_the_server_knows_how() {
    let test = proxmox();
    look(&test, current("running"));
    acts(&test, &post("stop"), "vzstop", "OK");
    look(&test, current("stopped"));
    assert_eq!(test.kill("100", Some("SIGKILL")).unwrap().status, Status::Stopped);
    assert_eq!(forms(&test), ["overrule-shutdown=1"]);

    let old = proxmox();
    look(&old, current("running"));
    let errors = json!({ "data": null, "errors": {
        "overrule-shutdown": "property is not defined in schema and the schema does not allow \
                              additional properties",
    } });
    let refused =
        Reply::status(400).reason("Parameter verification failed.").body(errors.to_string());
    old.expect("api", &post("stop"), refused);
    acts(&old, &post("stop"), "vzstop", "OK");
    look(&old, current("stopped"));
    assert_eq!(old.kill("100", None).unwrap().status, Status::Stopped);
    assert_eq!(forms(&old), ["overrule-shutdown=1", ""]);
}

#[test]
fn one_that_cannot_be_ended_is_said_to_run() {
    let test = set_up(json!({ "poll": "30s" }));
    look(&test, current("running"));
    acts(&test, &post("stop"), "vzstop", "OK");
    for _ in 0..13 {
        look(&test, current("running"));
    }
    let error = test.kill("100", None).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert!(error.message().ends_with("and it is still running"), "{error}");
}

#[test]
fn a_locked_container_is_not_stopped() {
    let test = proxmox();
    look(&test, data(json!({ "status": "running", "lock": "snapshot" })));
    acts(&test, &post("shutdown"), "vzshutdown", "CT is locked (snapshot)");
    look(&test, current("running"));
    let error = test.stop("100", grace(5)).unwrap_err();
    assert_eq!(error.attribute("lock"), Some("snapshot"));
}

#[test]
fn a_container_that_is_to_be_suspended_to_disk_is_refused() {
    let test = proxmox();
    look(&test, current("running"));
    let error = test.stop(("100", json!({ "stop": "suspend-to-disk" })), grace(5)).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
}

#[test]
fn what_is_gone_is_stopped() {
    let test = proxmox();
    let words = "Configuration file 'nodes/pve1/lxc/100.conf' does not exist";
    look(&test, old_error(500, words));
    test.expect("api", LIST, data(json!([guest("qemu", 101, "pve1")])));
    assert_eq!(test.stop("100", grace(5)).unwrap().status, Status::Missing);
}
