use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Status,
    testing::{Report, Watched},
};

use super::*;

const RECORDED: &str = include_str!("../../fixtures/events.txt");

/// The request for events since this time.
fn since(time: &str) -> String {
    let filters = "%7B%22event%22%3A%5B%22create%22%2C%22start%22%2C%22die%22%2C%22died%22%2C%22stop%22%2C%22pause%22%2C%22unpause%22%2C%22rename%22%2C%22destroy%22%2C%22remove%22%2C%22health_status%22%2C%22update%22%2C%22restart%22%2C%22connect%22%2C%22disconnect%22%5D%2C%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D";
    format!("GET /v1.41/events?since={time}&filters={filters}")
}

/// The first request, from the start time of the watch.
fn first() -> String {
    since("1767225600.000000000")
}

fn event(action: &str, name: &str, time: u64) -> String {
    json!({ "Type": "container", "Action": action, "timeNano": time,
        "Actor": { "ID": format!("id-of-{name}"), "Attributes": { "name": name } } })
    .to_string()
}

/// Watches one stream; each inspection finds the reply next to its name.
fn watch<const N: usize>(stream: Reply, inspections: [(&str, Reply); N]) -> Watched {
    let test = docker();
    test.expect("engine", &first(), stream.stays_open());
    for (name, reply) in inspections {
        test.expect("engine", &format!("GET /v1.41/containers/{name}/json"), reply);
    }
    test.watch()
}

#[test]
fn an_event_reports_the_current_state_under_the_name() {
    let stream = Reply::status(200).body(event("start", "web", 1_795_213_962_000_000_007));
    let watched = watch(stream, [("web", recorded(RUNNING))]);
    assert_eq!(watched.error, None);
    assert_eq!(watched.reports[0], Report::Synced, "first of all");
    let Report::Event(event) = &watched.reports[1] else { panic!("{:?}", watched.reports) };
    assert_eq!(event.observation.handle, "web");
    assert_eq!(event.observation.status, Status::Running);
    assert_eq!(event.at, 1_795_213_962_000_000_007);
    assert!(!event.observation.addresses.is_empty());
}

#[test]
fn recorded_events_are_parsed_and_others_ignored() {
    let test = docker();
    test.expect("engine", &first(), Reply::status(200).body(RECORDED).stays_open());
    let mut kinds = Vec::new();
    for line in RECORDED.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let action = event["Action"].as_str().unwrap().to_owned();
        let look = |reference: &str, reply| {
            test.expect("engine", &format!("GET /v1.41/containers/{reference}/json"), reply);
        };
        let attributes = &event["Actor"]["Attributes"];
        match event["Type"].as_str().unwrap() {
            "network" => look(attributes["container"].as_str().unwrap(), recorded(EXITED)),
            _ if action == "exec_die" => {}
            _ => {
                look(attributes["name"].as_str().unwrap(), missing());
                if let Some(old) = attributes["oldName"].as_str() {
                    look(old.trim_start_matches('/'), missing());
                }
            }
        }
        kinds.push(action);
    }
    assert!(kinds.iter().any(|it| it == "rename") && kinds.iter().any(|it| it == "connect"));
    let watched = test.watch();
    assert_eq!(watched.error, None, "every event was read");
}

#[test]
fn values_without_newlines_and_podmans_died_are_understood() {
    let both = event("died", "gone", 5) + &event("health_status: healthy", "web", 6);
    let (head, tail) = both.split_at(40);
    let stream = Reply::status(200).body(head).body(tail);
    let watched = watch(stream, [("gone", missing()), ("web", recorded(RUNNING))]);
    let seen: Vec<_> =
        watched.observations().iter().map(|it| (it.handle.clone(), it.status.clone())).collect();
    assert_eq!(seen, [("gone".to_owned(), Status::Missing), ("web".to_owned(), Status::Running)]);
}

#[test]
fn a_destroyed_container_with_a_successor_is_not_reported_missing() {
    let stream = Reply::status(200).body(event("destroy", "web", 5));
    let watched = watch(stream, [("web", recorded(RUNNING))]);
    assert_eq!(watched.observations()[0].status, Status::Running);
}

#[test]
fn a_rename_reports_both_names() {
    let renamed = json!({ "Type": "container", "Action": "rename", "timeNano": 5, "Actor": {
        "ID": "x", "Attributes": { "name": "web", "oldName": "/was" } } });
    let stream = Reply::status(200).body(renamed.to_string());
    let watched = watch(stream, [("web", recorded(RUNNING)), ("was", missing())]);
    let seen: Vec<_> = watched.observations().iter().map(|it| it.handle.as_str()).collect();
    assert_eq!(seen, ["web", "was"]);
}

#[test]
fn a_network_joined_while_running_is_reported_and_while_starting_is_not() {
    let connect = |time: u64| {
        json!({ "Type": "network", "Action": "connect", "timeNano": time, "Actor": {
            "ID": "net", "Attributes": { "container": WEB_ID, "name": "net2" } } })
        .to_string()
    };
    let test = docker();
    let stream = Reply::status(200).body(connect(5) + &connect(6)).stays_open();
    test.expect("engine", &first(), stream);
    let inspect = format!("GET /v1.41/containers/{WEB_ID}/json");
    test.expect("engine", &inspect, recorded(EXITED));
    test.expect("engine", &inspect, recorded(RUNNING));
    let watched = test.watch();
    let seen: Vec<_> = watched.observations().iter().map(|it| it.status.clone()).collect();
    assert_eq!(seen, [Status::Running]);
    assert_eq!(watched.observations()[0].handle, "web");
}

#[test]
fn after_a_disconnect_the_watch_resumes_without_repetitions() {
    let last = 1_795_213_962_000_000_007;
    let test = docker();
    let broken = Error::internal("connection reset");
    let stream = Reply::status(200)
        .body(event("start", "web", last))
        .pause(Duration::from_secs(600))
        .breaks(broken);
    test.expect("engine", &first(), stream);
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    // `since` is inclusive: the last event is repeated, with another of the same moment.
    let again = event("start", "web", last) + &event("die", "web", last);
    let stream = Reply::status(200).body(again).stays_open();
    test.expect("engine", &since("1795213962.000000007"), stream);
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    let watched = test.watch();
    let kinds: Vec<&str> = watched
        .reports
        .iter()
        .map(|it| match it {
            Report::Synced => "synced",
            Report::Event(event) if event.observation.status == Status::Running => "running",
            Report::Event(_) => "stopped",
        })
        .collect();
    assert_eq!(kinds, ["synced", "running", "synced", "stopped"]);
}

#[test]
fn a_stream_that_ends_at_once_is_reopened_by_the_host() {
    let test = docker();
    test.expect("engine", &first(), Reply::status(200));
    let error = test.watch().error.unwrap();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert_eq!(error.message(), "watch containers: the engine ended the event stream");
}

#[test]
fn an_unreachable_engine_ends_the_watch() {
    let test = docker();
    let stream = Reply::status(200).pause(Duration::from_secs(60));
    test.expect("engine", &first(), stream);
    let dead = Error::unavailable("connect to unix:///x: connection refused");
    test.expect("engine", &first(), Reply::error(dead));
    let watched = test.watch();
    assert_eq!(*watched.error.unwrap().code(), ErrorCode::Unavailable);
    assert_eq!(watched.reports, [Report::Synced]);
}

#[test]
fn a_failed_inspection_emits_synced() {
    let test = docker();
    let stream = Reply::status(200).body(event("start", "web", 5)).stays_open();
    test.expect("engine", &first(), stream);
    test.expect("engine", INSPECT_WEB, refused(500, "boom"));
    let watched = test.watch();
    assert_eq!(watched.reports, [Report::Synced, Report::Synced]);
    assert!(test.logs()[0].message.contains("boom"));
}
