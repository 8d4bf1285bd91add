use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, RemoveOptions};

use super::*;

const FULL: &str = include_str!("../../fixtures/recreate/full.json");
const OLD: &str = "7347afeed28c7b28e48f94d1f185346c9b56338208f9cbe2affc00107b8a9d3a";
const INSPECT: &str = "GET /v1.41/containers/full/json";
const STOP: &str = "POST /v1.41/containers/full/stop?t=3";

fn options(preserve_data: bool) -> RemoveOptions {
    RemoveOptions { preserve_data, attributes: Vec::new() }
}

/// Deletes a stopped container.
const GENTLY: [&str; 2] = ["?v=1", ""];

/// Deletes by force.
const BY_FORCE: [&str; 2] = ["?force=1&v=1", "?force=1"];

fn delete(query: &str) -> String {
    format!("DELETE /v1.41/containers/{OLD}{query}")
}

/// A provider that found this container, and no leftovers of a recreation.
fn found(container: Reply) -> Harness<Docker> {
    let test = docker();
    for aside in ["full.drowse-ran", "full.drowse-old"] {
        test.expect("engine", &format!("GET /v1.41/containers/{aside}/json"), missing());
    }
    test.expect("engine", INSPECT, container);
    test
}

/// The container runs, so it is stopped and then removed.
fn stopped(test: &Harness<Docker>, preserve: bool) {
    let runs = refused(409, "You cannot remove a running container. Stop the container first");
    test.expect("remove", &delete(GENTLY[usize::from(preserve)]), runs);
    test.expect("engine", STOP, Reply::status(204));
    test.expect("engine", INSPECT, changed(FULL, "/State/Status", json!("exited")));
}

/// Names of the anonymous volumes, sorted.
fn anonymous_volumes() -> Vec<String> {
    let full: Value = serde_json::from_str(FULL).unwrap();
    let names = full["Mounts"].as_array().unwrap().iter().filter_map(|it| it["Name"].as_str());
    let mut own: Vec<_> = names.filter(|name| name.len() == 64).map(str::to_owned).collect();
    own.sort();
    assert_eq!(own.len(), 4);
    own
}

#[test]
fn a_container_is_stopped_and_removed_with_its_own_volumes() {
    let test = found(recorded(FULL));
    stopped(&test, false);
    test.expect("remove", &delete(BY_FORCE[0]), Reply::status(204));
    // One volume is already gone, one is used by another container.
    for (volume, status) in anonymous_volumes().iter().zip([404, 204, 409, 204]) {
        test.expect("remove", &format!("DELETE /v1.41/volumes/{volume}"), Reply::status(status));
    }
    test.remove("full", options(false)).unwrap();
}

#[test]
fn a_stopped_container_is_removed_at_once() {
    let test = found(changed(FULL, "/State/Status", json!("exited")));
    test.expect("remove", &delete(GENTLY[1]), Reply::status(204));
    test.remove("full", options(true)).unwrap();
}

#[test]
fn preserved_data_is_not_removed() {
    let test = found(recorded(FULL));
    stopped(&test, true);
    test.expect("remove", &delete(BY_FORCE[1]), Reply::status(204));
    test.remove("full", options(true)).unwrap();
}

#[test]
fn data_that_the_engine_would_remove_is_not_lost() {
    let test = found(changed(FULL, "/HostConfig/AutoRemove", json!(true)));
    let error = test.remove("full", options(true)).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
    assert!(error.message().ends_with("copy the data first"), "{error}");
}

#[test]
fn removal_of_a_missing_container_succeeds() {
    found(missing()).remove("full", options(false)).unwrap();
    // Another client removes it in between.
    let test = found(recorded(FULL));
    test.expect("remove", &delete(GENTLY[1]), missing());
    test.remove("full", options(true)).unwrap();
}

#[test]
fn a_removal_in_progress_is_waited_for() {
    let test = found(recorded(FULL));
    stopped(&test, true);
    for _ in 0..3 {
        let busy = refused(409, "removal of container full is already in progress");
        test.expect("remove", &delete(BY_FORCE[1]), busy);
    }
    test.expect("remove", &delete(BY_FORCE[1]), missing());
    test.remove("full", options(true)).unwrap();
    assert_eq!(test.elapsed(), Duration::from_millis(300));
}

#[test]
fn leftovers_of_a_recreation_are_removed() {
    let test = docker();
    let aside = changed(FULL, "/Name", json!("/full.drowse-ran"));
    test.expect("engine", "GET /v1.41/containers/full.drowse-ran/json", aside);
    test.expect("remove", &delete(GENTLY[1]), Reply::status(204));
    test.expect("engine", "GET /v1.41/containers/full.drowse-old/json", missing());
    test.expect("engine", INSPECT, missing());
    test.remove("full", options(true)).unwrap();
}

#[test]
fn without_the_grant_it_keeps_running_and_the_error_names_the_line_to_add() {
    let test = found(recorded(FULL));
    test.expect("remove", &delete(GENTLY[1]), Reply::error(Error::denied("not granted: add …")));
    let error = test.remove("full", options(true)).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert_eq!(error.message(), "remove container \"full\": not granted: add …");
}
