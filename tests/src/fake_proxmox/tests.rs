//! What the fake must be strict about, as the real one is: else a provider passes here and fails there.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Generation, Guest, Kind},
    http::{Asked, Refused, read, written},
};
use crate::Hello;

const UNDECLARED: &str = "property is not defined in schema and the schema does not allow \
                          additional properties";

/// A container 100 and a machine 101 whose program does not exist: nothing is started here.
fn cluster(generation: Generation) -> Cluster {
    let nowhere = Path::new("/nonexistent");
    let hello = Hello::of(nowhere, nowhere, Duration::ZERO).unwrap();
    let mut cluster = Cluster::new(generation);
    cluster.guests.insert(100, Guest::new(Kind::Lxc, hello.clone()));
    cluster.guests.insert(101, Guest::new(Kind::Qemu, hello));
    cluster
}

fn asked(line: &str, body: &str) -> Result<Asked, Refused> {
    read(line, Some("application/x-www-form-urlencoded"), body.as_bytes())
}

fn refused(cluster: &mut Cluster, line: &str, body: &str) -> (u16, String) {
    let refused = asked(line, body).and_then(|asked| cluster.answer(&asked)).unwrap_err();
    (refused.status, refused.text)
}

fn told(cluster: &mut Cluster, line: &str) -> Value {
    cluster.answer(&asked(line, "").unwrap()).unwrap()
}

/// Lets every task come to its end.
fn finish(cluster: &mut Cluster) {
    for task in &mut cluster.tasks {
        task.due = Instant::now();
    }
}

#[test]
fn a_body_where_none_belongs_is_refused() {
    let (status, text) =
        refused(&mut cluster(Generation::New), "GET /api2/json/cluster/resources HTTP/1.1", "a=1");
    assert_eq!((status, text.as_str()), (501, "Unexpected content for method 'GET'"));
}

#[test]
fn a_parameter_that_a_generation_does_not_know_is_refused_by_name() {
    let stop = "POST /api2/json/nodes/pve1/qemu/101/status/stop HTTP/1.1";
    let asked = asked(stop, "overrule-shutdown=1").unwrap();
    let refused = cluster(Generation::Old).answer(&asked).unwrap_err();
    assert_eq!((refused.status, refused.text.as_str()), (400, "Parameter verification failed."));
    assert_eq!(refused.errors["overrule-shutdown"], UNDECLARED);
    assert!(cluster(Generation::New).answer(&asked).is_ok());
}

#[test]
fn rights_are_checked_before_existence_and_lists_leave_out_what_may_not_be_seen() {
    let mut cluster = cluster(Generation::New);
    let line = "GET /api2/json/nodes/pve1/lxc/999/status/current HTTP/1.1";
    let gone = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist";
    assert_eq!(refused(&mut cluster, line, ""), (500, gone.to_owned()));
    cluster.privileges.clear();
    let denied = "Permission check failed (/vms/999, VM.Audit)";
    assert_eq!(refused(&mut cluster, line, ""), (403, denied.to_owned()));
    let list = "GET /api2/json/cluster/resources?type=vm HTTP/1.1";
    assert_eq!(told(&mut cluster, list), json!([]));
}

#[test]
fn containers_refuse_at_once_what_machines_refuse_in_their_task() {
    let mut cluster = cluster(Generation::New);
    let stop = |kind: &str, vmid: u32| {
        format!("POST /api2/json/nodes/pve1/{kind}/{vmid}/status/stop HTTP/1.1")
    };
    let refused = refused(&mut cluster, &stop("lxc", 100), "");
    assert_eq!(refused, (500, "CT 100 not running".to_owned()));
    let upid = told(&mut cluster, &stop("qemu", 101));
    let status = format!("GET /api2/json/nodes/pve1/tasks/{}/status x", upid.as_str().unwrap());
    assert_eq!(told(&mut cluster, &status)["status"], "running");
    finish(&mut cluster);
    assert_eq!(told(&mut cluster, &status)["exitstatus"], "OK");
}

#[test]
fn a_lock_is_told_by_the_task() {
    let mut cluster = cluster(Generation::Old);
    cluster.guest(100).unwrap().lock = Some("backup".to_owned());
    let start = "POST /api2/json/nodes/pve1/lxc/100/status/start HTTP/1.1";
    let upid = told(&mut cluster, start);
    finish(&mut cluster);
    let status = format!("GET /api2/json/nodes/pve1/tasks/{}/status x", upid.as_str().unwrap());
    assert_eq!(told(&mut cluster, &status)["exitstatus"], "CT is locked (backup)");
}

#[test]
fn interfaces_are_null_while_a_container_does_not_run() {
    let line = "GET /api2/json/nodes/pve1/lxc/100/interfaces HTTP/1.1";
    assert_eq!(told(&mut cluster(Generation::New), line), Value::Null);
}

#[test]
fn what_is_not_served_is_not_implemented() {
    for line in [
        "POST /api2/json/nodes/pve1/lxc/100/status/suspend HTTP/1.1",
        "DELETE /api2/json/nodes/pve1/lxc/100 HTTP/1.1",
        "GET /api2/json/nodes/pve1/qemu/101/agent/get-users HTTP/1.1",
    ] {
        assert_eq!(refused(&mut cluster(Generation::New), line, "").0, 501, "{line}");
    }
}

#[test]
fn errors_are_in_the_status_line_and_in_json_only_of_the_new_generation() {
    let answer = || Err(Refused::new(500, "CT 100 already running"));
    for (generation, in_json) in [(Generation::Old, false), (Generation::New, true)] {
        let text = written(answer(), generation);
        assert!(text.starts_with("HTTP/1.1 500 CT 100 already running\r\n"), "{text}");
        assert_eq!(text.contains("\"message\":\"CT 100 already running\\n\""), in_json, "{text}");
    }
}
