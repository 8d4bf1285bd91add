//! Virtual machines: pause, resume and guest agent.

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

fn expect_addresses(test: &Harness<Proxmox>) {
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    test.expect("api", AGENT, agent("10.0.0.6"));
}

#[test]
fn a_start_of_a_machine_waits_for_its_agent() {
    let test = proxmox();
    expect_machine_status(&test, current("stopped"));
    expect_action(&test, &post("start"), "qmstart", "OK");
    expect_machine_status(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    test.expect("api", AGENT, old_error(500, "QEMU guest agent is not running"));
    expect_machine_status(&test, monitor("running"));
    let failed = json!({ "result": { "error": { "class": "GenericError", "desc": "booting" } } });
    test.expect("api", AGENT, data(failed));
    expect_machine_status(&test, monitor("running"));
    test.expect("api", AGENT, agent("10.0.0.6"));
    let seen = test.start("101").unwrap();
    assert_eq!(seen.addresses.len(), 1);
    assert_eq!(seen.addresses[0].host, "10.0.0.6");
}

#[test]
fn a_machine_without_agent_and_address_has_instructions() {
    let test = proxmox();
    expect_machine_status(&test, monitor("running"));
    expect_machine_status(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), data(json!({ "agent": "0" })));
    let error = test.start("101").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("`qm set 101 --agent 1`"), "{error}");
}

#[test]
fn a_request_without_a_grant_is_named() {
    let test = proxmox();
    expect_machine_status(&test, monitor("running"));
    expect_machine_status(&test, monitor("running"));
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
    expect_machine_status(&test, monitor("running"));
    expect_machine_status(&test, monitor("running"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    let words =
        "Permission check failed (/vms/101, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)";
    test.expect("api", AGENT, new_error(403, words));
    let error = test.start("101").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert!(error.message().contains("VM.GuestAgent.Audit"), "{error}");
    assert!(error.message().ends_with("or set the workload's `address`"), "{error}");
}

#[test]
fn a_machine_is_paused_and_resumed() {
    let test = proxmox();
    expect_machine_status(&test, monitor("running"));
    expect_action(&test, &post("suspend"), "qmpause", "OK");
    expect_machine_status(&test, monitor("paused"));
    assert_eq!(test.pause("101").unwrap().status, Status::Paused);
    expect_machine_status(&test, monitor("paused"));
    assert_eq!(test.pause("101").unwrap().status, Status::Paused, "it is already");
    expect_machine_status(&test, monitor("paused"));
    expect_machine_status(&test, monitor("paused"));
    expect_action(&test, &post("resume"), "qmresume", "OK");
    expect_machine_status(&test, monitor("running"));
    expect_addresses(&test);
    assert_eq!(test.resume("101").unwrap().status, Status::Running);
    assert_eq!(forms(&test), ["", ""]);
}

#[test]
fn a_start_resumes_a_paused_machine() {
    let test = proxmox();
    expect_machine_status(&test, monitor("paused"));
    expect_action(&test, &post("resume"), "qmresume", "OK");
    expect_machine_status(&test, monitor("running"));
    expect_addresses(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
}

#[test]
fn a_machine_stopped_during_a_resume_is_started() {
    let test = proxmox();
    expect_machine_status(&test, monitor("paused"));
    test.expect("api", &post("resume"), old_error(500, "VM 101 not running"));
    expect_machine_status(&test, current("stopped"));
    expect_action(&test, &post("start"), "qmstart", "OK");
    expect_machine_status(&test, monitor("running"));
    expect_addresses(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
}

#[test]
fn a_machine_started_by_another_client_counts_despite_a_failed_task() {
    let test = proxmox();
    expect_machine_status(&test, current("stopped"));
    expect_action(&test, &post("start"), "qmstart", "VM 101 already running");
    expect_machine_status(&test, monitor("running"));
    expect_machine_status(&test, monitor("running"));
    expect_addresses(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
}

#[test]
fn a_stopped_machine_and_containers_cannot_be_paused() {
    let test = proxmox();
    expect_machine_status(&test, current("stopped"));
    assert_eq!(*test.pause("101").unwrap_err().code(), ErrorCode::Conflict);
    let error = test.pause("100").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
    assert!(error.message().contains("its suspend ends it"), "{error}");
}

#[test]
fn a_machine_under_backup_is_started_by_a_start() {
    let test = proxmox();
    let prelaunch = json!({ "status": "running", "qmpstatus": "prelaunch", "lock": "backup" });
    expect_machine_status(&test, data(prelaunch.clone()));
    expect_action(&test, &post("start"), "qmstart", "OK");
    expect_machine_status(&test, monitor("running"));
    expect_addresses(&test);
    assert_eq!(test.start("101").unwrap().status, Status::Running);
    expect_machine_status(&test, data(prelaunch));
    assert_eq!(test.kill("101", None).unwrap().status, Status::Stopped, "it does not run");
}

#[test]
fn a_paused_machine_is_resumed_before_its_shutdown() {
    let test = proxmox();
    expect_machine_status(&test, monitor("paused"));
    expect_action(&test, &post("resume"), "qmresume", "OK");
    expect_action(&test, &post("shutdown"), "qmshutdown", "OK");
    expect_machine_status(&test, current("stopped"));
    let seen = test.stop("101", StopOptions::new(std::time::Duration::from_millis(1500))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(forms(&test), ["", "timeout=2&forceStop=1"]);
}

#[test]
fn a_machine_is_suspended_to_disk_by_setting() {
    let test = set_up(json!({ "stop": "suspend-to-disk" }));
    expect_machine_status(&test, monitor("running"));
    expect_action(&test, &post("suspend"), "qmsuspend", "OK");
    expect_machine_status(&test, data(json!({ "status": "stopped", "lock": "suspended" })));
    let seen = test.stop("101", StopOptions::new(std::time::Duration::from_secs(10))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(seen.detail.as_deref(), Some("suspended to disk"));
    assert_eq!(forms(&test), ["todisk=1"]);
    expect_status(&test, current("running"));
    expect_action(&test, &format!("POST {LXC}/status/shutdown"), "vzshutdown", "OK");
    expect_status(&test, current("stopped"));
    test.stop("100", StopOptions::new(std::time::Duration::from_secs(10))).unwrap();
}

#[test]
fn a_hanging_machine_is_failed_and_a_transition_is_a_conflict() {
    let test = proxmox();
    expect_machine_status(&test, monitor("io-error"));
    test.expect("api", &format!("GET {QEMU}/config?current=1"), machine_config());
    let seen = test.status("101").unwrap();
    assert_eq!((seen.status, seen.native_status.as_str()), (Status::Failed, "io-error"));
    expect_machine_status(&test, monitor("save-vm"));
    assert_eq!(*test.start("101").unwrap_err().code(), ErrorCode::Conflict);
}
