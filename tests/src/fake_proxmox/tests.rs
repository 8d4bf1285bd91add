//! Refusals in which the fake must agree with the real Proxmox VE.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Generation, Guest, Kind},
    http::{Refusal, Request, read, written},
};
use crate::Hello;

const UNDECLARED: &str = "property is not defined in schema and the schema does not allow \
                          additional properties";

/// A container 100 and a machine 101 whose program does not exist; nothing is started.
fn cluster(generation: Generation) -> Cluster {
    let nowhere = Path::new("/nonexistent");
    let hello = Hello::with_program(nowhere, nowhere, Duration::ZERO).unwrap();
    let mut cluster = Cluster::new(generation);
    cluster.guests.insert(100, Guest::new(Kind::Lxc, hello.clone()));
    cluster.guests.insert(101, Guest::new(Kind::Qemu, hello));
    cluster
}

fn asked(line: &str, body: &str) -> Result<Request, Refusal> {
    read(line, Some("application/x-www-form-urlencoded"), body.as_bytes())
}

fn refused(cluster: &mut Cluster, line: &str, body: &str) -> (u16, String) {
    let refused = asked(line, body).and_then(|asked| cluster.answer(&asked)).unwrap_err();
    (refused.status, refused.text)
}

fn ask(cluster: &mut Cluster, line: &str) -> Value {
    cluster.answer(&asked(line, "").unwrap()).unwrap()
}

/// Makes every task due.
fn finish(cluster: &mut Cluster) {
    for task in &mut cluster.tasks {
        task.due = Instant::now();
    }
}

#[test]
fn a_body_on_a_get_is_refused() {
    let (status, text) =
        refused(&mut cluster(Generation::New), "GET /api2/json/cluster/resources HTTP/1.1", "a=1");
    assert_eq!((status, text.as_str()), (501, "Unexpected content for method 'GET'"));
}

#[test]
fn an_undeclared_parameter_is_refused_by_name() {
    let stop = "POST /api2/json/nodes/pve1/qemu/101/status/stop HTTP/1.1";
    let asked = asked(stop, "overrule-shutdown=1").unwrap();
    let refused = cluster(Generation::Old).answer(&asked).unwrap_err();
    assert_eq!((refused.status, refused.text.as_str()), (400, "Parameter verification failed."));
    assert_eq!(refused.errors["overrule-shutdown"], UNDECLARED);
    assert!(cluster(Generation::New).answer(&asked).is_ok());
}

#[test]
fn privileges_are_checked_before_existence_and_lists_omit_hidden_guests() {
    let mut cluster = cluster(Generation::New);
    let line = "GET /api2/json/nodes/pve1/lxc/999/status/current HTTP/1.1";
    let gone = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist";
    assert_eq!(refused(&mut cluster, line, ""), (500, gone.to_owned()));
    cluster.privileges.clear();
    let denied = "Permission check failed (/vms/999, VM.Audit)";
    assert_eq!(refused(&mut cluster, line, ""), (403, denied.to_owned()));
    let list = "GET /api2/json/cluster/resources?type=vm HTTP/1.1";
    assert_eq!(ask(&mut cluster, list), json!([]));
}

#[test]
fn containers_refuse_immediately_and_machines_in_their_task() {
    let mut cluster = cluster(Generation::New);
    let stop = |kind: &str, vmid: u32| {
        format!("POST /api2/json/nodes/pve1/{kind}/{vmid}/status/stop HTTP/1.1")
    };
    let refused = refused(&mut cluster, &stop("lxc", 100), "");
    assert_eq!(refused, (500, "CT 100 not running".to_owned()));
    let upid = ask(&mut cluster, &stop("qemu", 101));
    let status = format!("GET /api2/json/nodes/pve1/tasks/{}/status x", upid.as_str().unwrap());
    assert_eq!(ask(&mut cluster, &status)["status"], "running");
    finish(&mut cluster);
    assert_eq!(ask(&mut cluster, &status)["exitstatus"], "OK");
}

#[test]
fn a_lock_fails_the_task() {
    let mut cluster = cluster(Generation::Old);
    cluster.guest(100).unwrap().lock = Some("backup".to_owned());
    let start = "POST /api2/json/nodes/pve1/lxc/100/status/start HTTP/1.1";
    let upid = ask(&mut cluster, start);
    finish(&mut cluster);
    let status = format!("GET /api2/json/nodes/pve1/tasks/{}/status x", upid.as_str().unwrap());
    assert_eq!(ask(&mut cluster, &status)["exitstatus"], "CT is locked (backup)");
}

#[test]
fn interfaces_of_a_stopped_container_are_null() {
    let line = "GET /api2/json/nodes/pve1/lxc/100/interfaces HTTP/1.1";
    assert_eq!(ask(&mut cluster(Generation::New), line), Value::Null);
}

#[test]
fn other_paths_are_not_implemented() {
    for line in [
        "POST /api2/json/nodes/pve1/lxc/100/status/suspend HTTP/1.1",
        "DELETE /api2/json/nodes/pve1/lxc/100 HTTP/1.1",
        "GET /api2/json/nodes/pve1/qemu/101/agent/get-users HTTP/1.1",
    ] {
        assert_eq!(refused(&mut cluster(Generation::New), line, "").0, 501, "{line}");
    }
}

#[test]
fn errors_are_in_json_only_in_the_new_generation() {
    let answer = || Err(Refusal::new(500, "CT 100 already running"));
    for (generation, in_json) in [(Generation::Old, false), (Generation::New, true)] {
        let text = written(answer(), generation);
        assert!(text.starts_with("HTTP/1.1 500 CT 100 already running\r\n"), "{text}");
        assert_eq!(text.contains("\"message\":\"CT 100 already running\\n\""), in_json, "{text}");
    }
}
