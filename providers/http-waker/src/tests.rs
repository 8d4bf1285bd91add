use std::time::Duration;

use drowse_provider_sdk::{
    ErrorCode, clock,
    testing::{Harness, Reply, check_description},
};
use serde_json::json;

use super::*;

fn state(word: &str) -> Reply {
    Reply::json(json!({ "state": word }))
}

fn running() -> Reply {
    Reply::json(json!({ "state": "running", "address": "10.0.0.5:25565" }))
}

#[test]
fn the_description_is_valid() {
    check_description::<Waker>();
}

#[test]
fn a_start_is_requested_once_and_polled_until_there_is_an_address() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/lobby", state("stopped"))
        .expect("api", "POST /servers/lobby/start", Reply::status(202))
        .expect("api", "GET /servers/lobby", state("starting"))
        .expect("api", "GET /servers/lobby", state("running"))
        .expect("api", "GET /servers/lobby", running());
    let seen = test.start("lobby").unwrap();
    assert_eq!(seen.status, Status::Running);
    assert_eq!(
        (seen.addresses[0].host.as_str(), seen.addresses[0].port),
        ("10.0.0.5", Some(25565))
    );
    assert_eq!(seen.addresses[0].target_port, Some(0), "overrides the route's port");
    assert_eq!(test.elapsed(), Duration::from_secs(4));
}

#[test]
fn a_running_target_is_not_started_again() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/lobby", running());
    assert_eq!(test.start("lobby").unwrap().status, Status::Running);
}

#[test]
fn a_start_in_progress_and_a_created_target_succeed() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/lobby", Reply::status(404))
        .expect("api", "POST /servers/lobby/start", Reply::status(409))
        .expect("api", "GET /servers/lobby", running());
    assert_eq!(test.start("lobby").unwrap().status, Status::Running);
}

#[test]
fn names_are_one_segment_of_the_path() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/my%20server", running());
    assert_eq!(test.status("my server").unwrap().status, Status::Running);
}

#[test]
fn a_server_error_has_the_control_planes_message() {
    let test = Harness::<Waker>::new();
    let reply = Reply::status(500).body(r#"{"detail": "no node has room"}"#);
    test.expect("api", "GET /servers/lobby", state("stopped")).expect(
        "api",
        "POST /servers/lobby/start",
        reply,
    );
    let error = test.start("lobby").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert_eq!(
        error.message(),
        "start \"lobby\": POST /servers/lobby/start: 500: no node has room"
    );
}

#[test]
fn a_start_times_out_with_the_last_state() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/lobby", state("stopped")).expect(
        "api",
        "POST /servers/lobby/start",
        Reply::status(202),
    );
    for _ in 0..45 {
        test.expect("api", "GET /servers/lobby", state("starting"));
    }
    test.expect("api", "GET /servers/lobby", state("running"));
    let error = test.start("lobby").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert_eq!(error.message(), "start \"lobby\": still \"running\" without an address after 90s");
}

#[test]
fn a_failed_target_and_a_temporary_error_are_told_apart() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/lobby", state("stopped"))
        .expect("api", "POST /servers/lobby/start", Reply::status(202))
        .expect("api", "GET /servers/lobby", Reply::status(503))
        .expect("api", "GET /servers/lobby", state("crashed"));
    let error = test.start("lobby").unwrap_err();
    assert_eq!(error.message(), "start \"lobby\": the target is crashed");
}

#[test]
fn requests_state_names_and_pointers_are_configurable() {
    let test = Harness::<Waker>::with_settings(json!({
        "start": {
            "method": "PUT",
            "path": "/v1/{values.zone}/machines/{name}/power",
            "body": { "power": "on", "who": "{name}" },
            "accept": [204],
        },
        "status": {
            "path": "/v1/{values.zone}/machines/{name}",
            "state": "/machine/power",
            "address": "/machine/ip",
            "port": "/machine/ports/0",
            "id": "/machine/boot",
            "words": { "running": ["lit"], "stopped": ["dark"] },
        },
        "poll": "500ms",
    }));
    test.allow("api", ["GET /v1/*/machines/*", "PUT+body /v1/*/machines/*/power"]);
    let dark = Reply::json(json!({ "machine": { "power": "DARK" } }));
    let lit = json!({ "power": "lit", "ip": "10.0.0.9", "ports": [80], "boot": 7 });
    test.expect("api", "GET /v1/eu%201/machines/desk", dark)
        .expect("api", "PUT /v1/eu%201/machines/desk/power", Reply::status(204))
        .expect("api", "GET /v1/eu%201/machines/desk", Reply::json(json!({ "machine": lit })));
    let seen = test.start(("desk", json!({ "values": { "zone": "eu 1" } }))).unwrap();
    assert_eq!(seen.addresses[0].port, Some(80));
    assert_eq!(seen.native_id.as_deref(), Some("7"));
    let asked = &test.requests()[1];
    assert_eq!(asked.body, br#"{"power":"on","who":"desk"}"#);
    assert!(asked.headers.iter().any(|header| header.value == "application/json"));
}

#[test]
fn a_stop_waits_for_the_target_and_skips_a_stopped_one() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/lobby", running())
        .expect("api", "POST /servers/lobby/stop", Reply::status(202))
        .expect("api", "GET /servers/lobby", state("stopping"))
        .expect("api", "GET /servers/lobby", state("stopped"));
    let options = || StopOptions::new(Duration::from_secs(10));
    assert_eq!(test.stop("lobby", options()).unwrap().status, Status::Stopped);
    test.expect("api", "GET /servers/lobby", Reply::status(404));
    assert_eq!(test.stop("lobby", options()).unwrap().status, Status::Missing);
}

#[test]
fn a_request_is_retried_after_the_configured_pause() {
    let settings = json!({ "retry": { "times": 2, "pause": "1s" } });
    let test = Harness::<Waker>::with_settings(settings);
    test.expect("api", "GET /servers/lobby", Reply::error(Error::unavailable("no route")))
        .expect("api", "GET /servers/lobby", Reply::status(503).header("retry-after", "7"))
        .expect("api", "GET /servers/lobby", running());
    test.status("lobby").unwrap();
    assert_eq!(test.elapsed(), Duration::from_secs(8));
}

#[test]
fn a_configured_address_is_used_if_none_is_reported() {
    let test = Harness::<Waker>::new();
    test.expect("api", "GET /servers/lobby", state("running"));
    let seen = test.start(("lobby", json!({ "address": "10.0.0.7", "port": 80 }))).unwrap();
    assert_eq!((seen.addresses[0].host.as_str(), seen.addresses[0].port), ("10.0.0.7", Some(80)));
    let error = test.start(("lobby", json!({ "address": "10.0.0.7:x" }))).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
}

#[test]
fn a_list_has_pages_and_is_watched_for_changes() {
    let settings = json!({ "list": { "path": "/servers", "items": "/all", "every": "5s" } });
    let test = Harness::<Waker>::with_settings(settings);
    test.allow("api", ["GET /servers"]);
    let all = |word: &str| {
        let items: Vec<_> =
            (0..501).map(|n| json!({ "name": format!("s{n}"), "state": word })).collect();
        Reply::json(json!({ "all": items }))
    };
    test.expect("api", "GET /servers", all("off")).expect("api", "GET /servers", all("off"));
    let first = test.list(None).unwrap();
    assert_eq!((first.observations.len(), first.next.as_deref()), (500, Some("500")));
    let last = test.list(first.next.as_deref()).unwrap();
    assert_eq!((last.observations.len(), last.next), (1, None));
    test.expect("api", "GET /servers", all("off")).expect("api", "GET /servers", all("on"));
    assert_eq!(test.watch().observations().len(), 501);
}

#[test]
fn an_action_without_a_request_is_unsupported() {
    let test = Harness::<Waker>::new();
    let error = test.pause("lobby").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
    assert_eq!(error.message(), "pause: no request is configured; add settings.pause");
}

#[test]
fn a_resume_uses_its_own_request() {
    let settings = json!({
        "pause": { "path": "/servers/{name}/stop" },
        "resume": { "path": "/servers/{name}/start" },
    });
    let test = Harness::<Waker>::with_settings(settings);
    test.expect("api", "GET /servers/lobby", running())
        .expect("api", "POST /servers/lobby/stop", Reply::status(200))
        .expect("api", "GET /servers/lobby", state("paused"));
    assert_eq!(test.pause("lobby").unwrap().status, Status::Paused);
    test.expect("api", "GET /servers/lobby", state("paused"))
        .expect("api", "POST /servers/lobby/start", Reply::status(200))
        .expect("api", "GET /servers/lobby", running());
    assert_eq!(test.resume("lobby").unwrap().status, Status::Running);
    test.expect("api", "GET /servers/lobby", state("stopped"));
    assert_eq!(*test.pause("lobby").unwrap_err().code(), ErrorCode::Conflict);
}

#[test]
fn invalid_settings_are_refused_with_their_key() {
    let refusal = |settings| Harness::<Waker>::with_settings(settings).configure().unwrap_err();
    for (settings, key) in [
        (json!({ "start": { "path": "servers" } }), "start.path"),
        (json!({ "stop": { "path": "/{nam}" } }), "stop.path"),
        (json!({ "start": { "path": "/", "method": "post" } }), "start.method"),
        (json!({ "start": { "path": "/", "body": { "a": ["{x}"] } } }), "start.body.a"),
        (json!({ "status": { "state": "state" } }), "status.state"),
        (json!({ "poll": "0s" }), "poll"),
        (json!({ "patience": "soon" }), "patience"),
        (json!({ "status": { "words": { "awake": [] } } }), "status.words"),
        (json!({ "stauts": {} }), "stauts"),
    ] {
        let error = refusal(settings);
        assert_eq!(*error.code(), ErrorCode::InvalidRequest);
        assert!(error.message().contains(key), "{key}: {}", error.message());
    }
}

#[test]
fn a_timeout_during_a_concurrent_call_is_a_conflict() {
    let timeout = Duration::from_secs(10);
    let test = Harness::<Waker>::new();
    test.run(|| {
        let alone = concurrent_call::ConcurrentCall::begin("lobby", timeout);
        assert!(!alone.has_conflict());
        let other = concurrent_call::ConcurrentCall::begin("shop", timeout);
        assert!(!alone.has_conflict() && !other.has_conflict(), "another target");
        drop(alone);
        let early = concurrent_call::ConcurrentCall::begin("lobby", timeout);
        assert!(!early.has_conflict(), "the previous call has ended");
        clock::sleep(Duration::from_secs(1));
        let late = concurrent_call::ConcurrentCall::begin("lobby", timeout);
        assert!(early.has_conflict() && late.has_conflict());
        drop(late);
        assert!(early.has_conflict(), "it was there");
        std::mem::forget(concurrent_call::ConcurrentCall::begin("lobby", timeout));
        clock::sleep(timeout);
        assert!(
            !concurrent_call::ConcurrentCall::begin("lobby", timeout).has_conflict(),
            "cancelled long ago"
        );
    });

    let test = Harness::<Waker>::with_settings(json!({ "patience": "3s" }));
    test.run(|| std::mem::forget(concurrent_call::ConcurrentCall::begin("lobby", timeout)));
    test.expect("api", "GET /servers/lobby", state("stopped"));
    test.expect("api", "POST /servers/lobby/start", Reply::status(202));
    for _ in 0..2 {
        test.expect("api", "GET /servers/lobby", state("stopped"));
    }
    let error = test.start("lobby").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().contains("still \"stopped\" after 3s; another call"), "{error}");
}
