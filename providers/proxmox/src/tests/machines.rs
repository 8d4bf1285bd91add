//! What virtual machines can that containers cannot.

use drowse_provider_sdk::{Error, ErrorCode, Status, StopOptions};

use super::*;

const AGENT: &str = "GET /api2/json/nodes/pve1/qemu/101/agent/network-get-interfaces";

fn post(action: &str) -> String {
    format!("POST {QEMU}/status/{action}")
}

fn agent(address: &str) -> Reply {
    data(json!({ "result": [
        { "name": "lo", "ip-addresses": [{ "ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8 }] },
        { "name": "ens18", "hardware-address": MAC.to_lowercase(), "ip-addresses": [
            { "ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64 },
            { "ip-address": address, "ip-address-type": "ipv4", "prefix": 24 },
        ] },
    ] }))
}

fn tells(test: &Harness<Proxmox>) {
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    test.expect("api", AGENT, agent("10.0.0.6"));
}

#[test]
fn a_machine_is_started_and_its_agent_is_waited_for() {
    let test = proxmox();
    look_at_machine(&test, current("stopped"));
    acts(&test, &post("start"), "qmstart", "OK");
    look_at_machine(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    test.expect("api", AGENT, old_error(500, "QEMU guest agent is not running"));
    look_at_machine(&test, monitor("running"));
    let failed = json!({ "result": { "error": { "class": "GenericError", "desc": "booting" } } });
    test.expect("api", AGENT, data(failed));
    look_at_machine(&test, monitor("running"));
    test.expect("api", AGENT, agent("10.0.0.6"));
    let seen = test.start("101").unwrap();
    assert_eq!(seen.addresses.len(), 1);
    assert_eq!(seen.addresses[0].host, "10.0.0.6");
}

#[test]
fn a_machine_without_an_agent_or_a_written_address_says_what_to_set_up() {
    let test = proxmox();
    look_at_machine(&test, monitor("running"));
    look_at_machine(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), data(json!({ "agent": "0" })));
    let error = test.start("101").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("`qm set 101 --agent 1`"), "{error}");
}

#[test]
fn a_request_that_the_router_was_not_granted_is_named() {
    let test = proxmox();
    look_at_machine(&test, monitor("running"));
    look_at_machine(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    let refusal = Error::new(ErrorCode::Denied, "add to the rules of it: \"GET /x\",");
    test.expect("api", AGENT, Reply::error(refusal));
    let error = test.start("101").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert!(error.message().contains("add to the rules of it: \"GET /x\","), "{error}");
}

#[test]
fn a_missing_privilege_for_the_agent_is_named() {
    let test = proxmox();
    look_at_machine(&test, monitor("running"));
    look_at_machine(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    let words =
        "Permission check failed (/vms/101, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)";
    test.expect("api", AGENT, new_error(403, words));
    let error = test.start("101").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert!(error.message().contains("VM.GuestAgent.Audit"), "{error}");
    assert!(error.message().ends_with("or write the workload's `address`"), "{error}");
}

#[test]
fn a_machine_is_held_and_goes_on() {
    let test = proxmox();
    look_at_machine(&test, monitor("running"));
    acts(&test, &post("suspend"), "qmpause", "OK");
    look_at_machine(&test, monitor("paused"));
    assert_eq!(test.pause("101").unwrap().status, Status::Paused);
    look_at_machine(&test, monitor("paused"));
    assert_eq!(test.pause("101").unwrap().status, Status::Paused, "it is already");
    look_at_machine(&test, monitor("paused"));
    look_at_machine(&test, monitor("paused"));
    acts(&test, &post("resume"), "qmresume", "OK");
    look_at_machine(&test, monitor("running"));
    tells(&test);
    assert_eq!(test.resume("101").unwrap().status, Status::Running);
    assert_eq!(forms(&test), ["", ""]);
}

#[test]
fn a_start_continues_what_is_paused() {
    let test = proxmox();
    look_at_machine(&test, monitor("paused"));
    acts(&test, &post("resume"), "qmresume", "OK");
    look_at_machine(&test, monitor("running"));
    tells(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
}

#[test]
fn one_that_is_stopped_while_it_is_to_go_on_is_started() {
    let test = proxmox();
    look_at_machine(&test, monitor("paused"));
    test.expect("api", &post("resume"), old_error(500, "VM 101 not running"));
    look_at_machine(&test, current("stopped"));
    acts(&test, &post("start"), "qmstart", "OK");
    look_at_machine(&test, monitor("running"));
    tells(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
}

#[test]
fn one_that_another_has_started_counts_though_its_task_failed() {
    let test = proxmox();
    look_at_machine(&test, current("stopped"));
    acts(&test, &post("start"), "qmstart", "VM 101 already running");
    look_at_machine(&test, monitor("running"));
    look_at_machine(&test, monitor("running"));
    tells(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
}

#[test]
fn what_does_not_run_cannot_be_held_and_containers_never() {
    let test = proxmox();
    look_at_machine(&test, current("stopped"));
    assert_eq!(*test.pause("101").unwrap_err().code(), ErrorCode::Conflict);
    let error = test.pause("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
    assert!(error.message().contains("what it calls suspend ends it"), "{error}");
}

#[test]
fn a_machine_under_backup_is_started_by_a_start() {
    let test = proxmox();
    let prelaunch = json!({ "status": "running", "qmpstatus": "prelaunch", "lock": "backup" });
    look_at_machine(&test, data(prelaunch.clone()));
    acts(&test, &post("start"), "qmstart", "OK");
    look_at_machine(&test, monitor("running"));
    tells(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
    look_at_machine(&test, data(prelaunch));
    assert_eq!(test.kill("101", None).unwrap().status, Status::Stopped, "it does not run");
}

#[test]
fn a_paused_machine_goes_on_so_that_it_can_shut_down() {
    let test = proxmox();
    look_at_machine(&test, monitor("paused"));
    acts(&test, &post("resume"), "qmresume", "OK");
    acts(&test, &post("shutdown"), "qmshutdown", "OK");
    look_at_machine(&test, current("stopped"));
    let seen = test.stop("101", StopOptions::new(std::time::Duration::from_millis(1500))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(forms(&test), ["", "timeout=2&forceStop=1"]);
}

#[test]
fn a_machine_is_suspended_to_disk_if_the_operator_says_so() {
    let test = set_up(json!({ "stop": "suspend-to-disk" }));
    look_at_machine(&test, monitor("running"));
    acts(&test, &post("suspend"), "qmsuspend", "OK");
    look_at_machine(&test, data(json!({ "status": "stopped", "lock": "suspended" })));
    let seen = test.stop("101", StopOptions::new(std::time::Duration::from_secs(10))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(seen.detail.as_deref(), Some("suspended to disk"));
    assert_eq!(forms(&test), ["todisk=1"]);
    look(&test, current("running"));
    acts(&test, &format!("POST {LXC}/status/shutdown"), "vzshutdown", "OK");
    look(&test, current("stopped"));
    test.stop("100", StopOptions::new(std::time::Duration::from_secs(10))).unwrap();
}

#[test]
fn a_machine_that_hangs_is_failed_and_one_in_between_a_conflict() {
    let test = proxmox();
    look_at_machine(&test, monitor("io-error"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    let seen = test.status("101").unwrap();
    assert_eq!((seen.status, seen.native_status.as_str()), (Status::Failed, "io-error"));
    look_at_machine(&test, monitor("save-vm"));
    assert_eq!(*test.start("101").unwrap_err().code(), ErrorCode::Conflict);
}
