//! Responses follow the published schema and the sources of Proxmox VE 7 to 9; none was recorded.

mod addresses;
mod describe;
mod errors;
mod find;
mod labels;
mod list;
mod machines;
mod managed;
mod sleep;
mod tasks;
mod usage;
mod wake;

use drowse_provider_sdk::{
    encode,
    testing::{Harness, Reply},
};
use serde_json::{Value, json};

use crate::Proxmox;

const LIST: &str = "GET /api2/json/cluster/resources?type=vm";
const LXC: &str = "/api2/json/nodes/pve1/lxc/100";
const QEMU: &str = "/api2/json/nodes/pve1/qemu/101";
const MAC: &str = "BC:24:11:00:00:01";

/// A provider that has just listed a cluster with a container 100 and a machine 101 on node pve1.
fn proxmox() -> Harness<Proxmox> {
    set_up(json!({}))
}

/// The same with these settings.
fn set_up(settings: Value) -> Harness<Proxmox> {
    let test = Harness::with_settings(settings);
    test.expect("api", LIST, data(json!([guest("lxc", 100, "pve1"), guest("qemu", 101, "pve1")])));
    test
}

fn guest(kind: &str, vmid: u32, node: &str) -> Value {
    json!({
        "id": format!("{kind}/{vmid}"), "type": kind, "vmid": vmid, "node": node,
        "name": format!("guest{vmid}"), "status": "stopped", "template": 0, "uptime": 0,
        "cpu": 0, "maxcpu": 2, "mem": 0, "maxmem": 536_870_912,
    })
}

fn data(data: Value) -> Reply {
    Reply::json(json!({ "data": data }))
}

/// `status/current` with this status.
fn current(status: &str) -> Reply {
    data(
        json!({ "vmid": 100, "name": "guest", "status": status, "cpus": 2, "ha": { "managed": 0 } }),
    )
}

/// `status/current` of a machine with this monitor status.
fn monitor(word: &str) -> Reply {
    data(json!({
        "vmid": 101, "name": "guest", "status": "running", "qmpstatus": word, "cpus": 2,
        "agent": 1, "ha": { "managed": 0 },
    }))
}

fn config() -> Reply {
    data(
        json!({ "hostname": "guest", "net0": format!("name=eth0,bridge=vmbr0,hwaddr={MAC},ip=dhcp") }),
    )
}

fn machine_config() -> Reply {
    data(json!({ "name": "guest", "agent": "1", "net0": format!("virtio={MAC},bridge=vmbr0") }))
}

fn interfaces(address: &str) -> Reply {
    data(json!([
        { "name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8", "inet6": "::1/128" },
        { "name": "eth0", "hwaddr": MAC.to_lowercase(), "inet": address },
    ]))
}

/// An error of older versions: only in the status line.
fn old_error(status: u16, text: &str) -> Reply {
    Reply::status(status).reason(text).body(r#"{"data":null}"#)
}

/// An error of newer versions: also in JSON.
fn new_error(status: u16, text: &str) -> Reply {
    let body = json!({ "data": null, "message": format!("{text}\n") });
    Reply::status(status).reason(text).body(body.to_string())
}

fn upid(node: &str, kind: &str) -> String {
    format!("UPID:{node}:000F4A1B:0A1B2C3D:68F0A1B2:{kind}:100:drowse@pve!wake:")
}

/// The request for a task's status.
fn task_path(node: &str, kind: &str) -> String {
    format!("GET /api2/json/nodes/{node}/tasks/{}/status", encode(&upid(node, kind)))
}

fn ended(exit: &str) -> Reply {
    data(json!({ "status": "stopped", "exitstatus": exit }))
}

/// Expects an action whose task has ended like this at its first query.
fn expect_action(test: &Harness<Proxmox>, request: &str, kind: &str, exit: &str) {
    test.expect("api", request, data(json!(upid("pve1", kind))));
    test.expect("api", &task_path("pve1", kind), ended(exit));
}

/// Expects the queries of a running container's addresses.
fn expect_addresses(test: &Harness<Proxmox>, address: &str) {
    test.expect("api", &format!("GET {LXC}/config?current=1"), config());
    test.expect("api", &format!("GET {LXC}/interfaces"), interfaces(address));
}

fn expect_status(test: &Harness<Proxmox>, reply: Reply) {
    test.expect("api", &format!("GET {LXC}/status/current"), reply);
}

fn expect_machine_status(test: &Harness<Proxmox>, reply: Reply) {
    test.expect("api", &format!("GET {QEMU}/status/current"), reply);
}

/// The forms that were posted, in order.
fn forms(test: &Harness<Proxmox>) -> Vec<String> {
    let posted = test.requests().into_iter().filter(|request| request.method == "POST");
    posted.map(|request| String::from_utf8(request.body).unwrap()).collect()
}
