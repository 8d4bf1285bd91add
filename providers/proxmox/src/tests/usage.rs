//! Usage of guests.

use super::*;

fn used(cpu: f64) -> Reply {
    data(json!({ "status": "running", "cpu": cpu, "cpus": 2, "mem": 1_048_576 }))
}

#[test]
fn cpu_time_is_a_fraction_of_the_guests_cores() {
    let test = proxmox();
    expect_status(&test, used(0.75));
    let usage = test.usage("100").unwrap();
    assert_eq!((usage.cpu_percent, usage.memory), (Some(150.0), Some(1_048_576)));
}

#[test]
fn a_first_sample_is_replaced_by_the_nodes_statistics() {
    let test = proxmox();
    expect_status(&test, used(0.0));
    let mut busy = guest("lxc", 100, "pve1");
    busy["cpu"] = json!(0.25);
    test.expect("api", LIST, data(json!([busy])));
    assert_eq!(test.usage("100").unwrap().cpu_percent, Some(50.0));
}

#[test]
fn a_stopped_guest_uses_nothing() {
    let test = proxmox();
    expect_status(&test, current("stopped"));
    let usage = test.usage("100").unwrap();
    assert_eq!((usage.cpu_percent, usage.memory), (Some(0.0), Some(0)));
}
