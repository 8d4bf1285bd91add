use std::time::Duration;

use drowse_provider_sdk::{ErrorCode, Health, Status, StopOptions};

use super::*;

const START: &str = "POST /v1.41/containers/web/start";
const PAUSE: &str = "POST /v1.41/containers/web/pause";
const UNPAUSE: &str = "POST /v1.41/containers/web/unpause";

#[test]
fn start_returns_the_running_container_with_its_addresses() {
    let test = docker();
    test.expect("engine", START, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let seen = test.start("web").unwrap();
    assert_eq!(seen.status, Status::Running);
    assert_eq!(seen.handle, "web");
    assert_eq!(seen.native_status, "running");
    assert_eq!(seen.native_id.as_deref(), Some(WEB_ID));
    assert_eq!(seen.addresses[0].host, "172.31.77.2");
    assert_eq!(seen.label("drowse.enable"), Some("true"));
    assert_eq!(seen.attribute("image"), Some("bb:1"));
    assert_eq!(seen.attribute("started-at"), Some("1795213962069"));
    assert_eq!(seen.attribute("exit-status"), None);
    assert!(test.requests()[1].body.is_empty(), "a body is refused by the engine");
}

#[test]
fn start_of_a_running_container_is_success() {
    let test = docker();
    test.expect("engine", START, Reply::status(304));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    assert_eq!(test.start("web").unwrap().status, Status::Running);
}

#[test]
fn start_of_a_paused_container_unpauses_it() {
    // Docker answers 409, others 304 or 500: the state decides.
    for refusal in [
        refused(409, "cannot start a paused container, try unpause instead"),
        refused(500, "unable to start a paused container"),
        Reply::status(304),
    ] {
        let test = docker();
        test.expect("engine", START, refusal);
        test.expect("engine", INSPECT_WEB, recorded(PAUSED));
        test.expect("engine", UNPAUSE, Reply::status(204));
        test.expect("engine", INSPECT_WEB, recorded(RUNNING));
        assert_eq!(test.start("web").unwrap().status, Status::Running);
    }
}

/// Podman's error where Docker succeeds.
fn improper() -> Reply {
    let message = "container 1f0e must be in Created or Stopped state to be started: container \
                   state improper";
    refused(500, message)
}

#[test]
fn a_podman_container_that_another_client_stops_is_started_after_the_stop() {
    let stopping = RUNNING.replace("\"running\"", "\"stopping\"");
    let test = docker();
    test.expect("engine", START, improper());
    test.expect("engine", INSPECT_WEB, recorded(&stopping));
    test.expect("engine", INSPECT_WEB, recorded(&stopping));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    test.expect("engine", START, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    assert_eq!(test.start("web").unwrap().status, Status::Running);
}

#[test]
fn a_podman_container_that_is_stopped_repeatedly_is_a_conflict() {
    let test = docker();
    for _ in 0..3 {
        test.expect("engine", START, improper());
        test.expect("engine", INSPECT_WEB, recorded(EXITED));
        test.expect("engine", INSPECT_WEB, recorded(EXITED));
    }
    assert_eq!(*test.start("web").unwrap_err().code(), ErrorCode::Conflict);

    let test = docker();
    test.expect("engine", "POST /v1.41/containers/web/stop?t=1", improper());
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let grace = StopOptions::new(Duration::from_secs(1));
    let error = test.stop("web", grace).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
}

#[test]
fn a_stale_paused_state_after_an_unpause_is_waited_for() {
    let test = docker();
    test.expect("engine", START, refused(409, "cannot start a paused container"));
    for (request, reply) in [
        (INSPECT_WEB, recorded(PAUSED)),
        (UNPAUSE, Reply::status(204)),
        (INSPECT_WEB, recorded(PAUSED)),
        (INSPECT_WEB, recorded(RUNNING)),
    ] {
        test.expect("engine", request, reply);
    }
    assert_eq!(test.start("web").unwrap().status, Status::Running);
}

#[test]
fn a_container_that_exited_during_an_unpause_is_started() {
    let test = docker();
    test.expect("engine", START, refused(409, "cannot start a paused container"));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    test.expect("engine", UNPAUSE, refused(500, "Container is not paused"));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    test.expect("engine", START, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    assert_eq!(test.start("web").unwrap().status, Status::Running);
}

#[test]
fn start_of_a_missing_container_is_not_found() {
    let test = docker();
    test.expect("engine", START, missing());
    test.expect("engine", INSPECT_WEB, missing());
    let error = test.start("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::NotFound);
    assert_eq!(
        error.message(),
        r#"start container "web": the engine has no container of this name"#
    );
}

#[test]
fn a_missing_network_is_not_a_missing_container() {
    let test = docker();
    test.expect("engine", START, refused(404, "network net9 not found"));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    let error = test.start("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert_eq!(
        error.message(),
        "start container \"web\": 404 from POST /v1.41/containers/web/start: network net9 not found"
    );
    assert_eq!(error.attribute("http-status"), Some("404"));
}

#[test]
fn an_error_has_the_engines_message_and_the_stable_code() {
    for (status, message, code) in [
        (409, "container is restarting, wait until the container is running", ErrorCode::Conflict),
        (
            500,
            "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated",
            ErrorCode::Internal,
        ),
        (503, "shutting down", ErrorCode::Unavailable),
        (403, "<html>\n  Forbidden </html>", ErrorCode::Denied),
    ] {
        let test = docker();
        test.expect(
            "engine",
            START,
            Reply::status(status).body(match status {
                403 => message.to_owned(),
                _ => json!({ "message": message }).to_string(),
            }),
        );
        test.expect("engine", INSPECT_WEB, recorded(EXITED));
        let error = test.start("web").unwrap_err();
        assert_eq!(*error.code(), code);
        let flat = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let start = format!("start container \"web\": {status} from {START}: {flat}");
        assert!(error.message().starts_with(&start), "{}", error.message());
    }
}

const MARKED: &str = "container is marked for removal and cannot be started";

/// The recorded container during its removal.
fn removing() -> Reply {
    changed(EXITED, "/State/Status", json!("removing"))
}

#[test]
fn a_start_waits_for_the_end_of_a_removal_and_starts_the_new_container_of_the_name() {
    let test = docker();
    test.expect("engine", START, refused(409, MARKED));
    for _ in 0..3 {
        test.expect("engine", INSPECT_WEB, removing());
    }
    test.expect("engine", INSPECT_WEB, recorded(CREATED));
    test.expect("engine", START, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    assert_eq!(test.start("web").unwrap().status, Status::Running);
}

#[test]
fn a_start_during_a_removal_is_not_found_without_a_successor() {
    let test = docker();
    test.expect("engine", START, refused(409, MARKED));
    test.expect("engine", INSPECT_WEB, removing());
    test.expect("engine", INSPECT_WEB, removing());
    test.expect("engine", INSPECT_WEB, missing());
    test.expect("engine", START, missing());
    test.expect("engine", INSPECT_WEB, missing());
    assert_eq!(*test.start("web").unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn an_error_about_the_previous_container_is_retried() {
    for answer in [
        refused(409, MARKED),
        missing(),
        refused(409, "removal of container web is already in progress"),
    ] {
        let test = docker();
        test.expect("engine", START, answer);
        test.expect("engine", INSPECT_WEB, recorded(CREATED));
        test.expect("engine", START, Reply::status(204));
        test.expect("engine", INSPECT_WEB, recorded(RUNNING));
        assert_eq!(test.start("web").unwrap().status, Status::Running);
    }
}

#[test]
fn a_container_that_stays_marked_for_removal_is_a_conflict() {
    let test = docker();
    for _ in 0..3 {
        test.expect("engine", START, refused(409, MARKED));
        test.expect("engine", INSPECT_WEB, recorded(EXITED));
    }
    let error = test.start("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert!(error.message().ends_with(MARKED), "{}", error.message());
}

#[test]
fn a_failed_start_is_stopped_with_the_engines_reason() {
    let test = docker();
    let failed = include_str!("../../fixtures/start-failed.json");
    test.expect("engine", "GET /v1.41/containers/c2/json", recorded(failed));
    let seen = test.status("c2").unwrap();
    assert_eq!((seen.status, seen.native_status.as_str()), (Status::Stopped, "created"));
    let detail = seen.detail.unwrap();
    assert!(detail.starts_with("the last start failed: failed to create shim task"), "{detail}");
}

#[test]
fn each_state_maps_to_a_status() {
    for (word, status, detail) in [
        ("created", Status::Stopped, Some("created and never started")),
        ("running", Status::Running, None),
        ("paused", Status::Paused, None),
        ("restarting", Status::Starting, Some("exited with status 3, the engine restarts it")),
        ("removing", Status::Stopping, None),
        ("exited", Status::Stopped, Some("exited with status 3")),
        ("dead", Status::Failed, Some("the engine could not remove it; remove it manually")),
        ("stopping", Status::Stopping, None),
        ("configured", Status::Stopped, None),
        ("stopped", Status::Stopped, Some("exited with status 3")),
        ("hibernating", Status::Other("hibernating".to_owned()), None),
    ] {
        let mut body: Value = serde_json::from_str(EXITED).unwrap();
        body["State"]["Status"] = json!(word);
        body["State"]["ExitCode"] = json!(3);
        let test = docker();
        test.expect("engine", INSPECT_WEB, Reply::json(body));
        let seen = test.status("web").unwrap();
        assert_eq!((seen.status, seen.detail.as_deref()), (status, detail), "{word}");
        assert_eq!(seen.native_status, word);
    }
}

#[test]
fn a_container_that_was_never_started_is_stopped_without_a_start_time() {
    let test = docker();
    test.expect("engine", INSPECT_WEB, recorded(CREATED));
    let seen = test.status("web").unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(seen.attribute("started-at"), None);
    assert_eq!(seen.attribute("exit-status"), None);
    assert!(seen.addresses.is_empty());
}

#[test]
fn an_exit_has_its_status_and_the_out_of_memory_reason() {
    let test = docker();
    test.expect("engine", INSPECT_WEB, changed(EXITED, "/State/OOMKilled", json!(true)));
    let seen = test.status("web").unwrap();
    assert_eq!(seen.attribute("exit-status"), Some("137"));
    assert_eq!(seen.detail.as_deref(), Some("exited with status 137, out of memory"));
}

#[test]
fn a_missing_container_is_an_observation() {
    let test = docker();
    test.expect("engine", INSPECT_WEB, missing());
    let seen = test.status("web").unwrap();
    assert_eq!((seen.status, seen.handle.as_str()), (Status::Missing, "web"));
}

#[test]
fn health_is_the_engines_verdict() {
    let healthy = include_str!("../../fixtures/healthy.json");
    for (word, health) in [
        ("healthy", Health::Healthy),
        ("unhealthy", Health::Unhealthy),
        ("starting", Health::Starting),
        ("none", Health::None),
        ("", Health::None),
        ("puzzled", Health::Other("puzzled".to_owned())),
    ] {
        let test = docker();
        let reply = changed(healthy, "/State/Health/Status", json!(word));
        test.expect("engine", "GET /v1.41/containers/hc/json", reply);
        assert_eq!(test.status("hc").unwrap().health, health);
    }
    let test = docker();
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    assert_eq!(test.status("web").unwrap().health, Health::None);
}

#[test]
fn a_name_that_is_an_id_prefix_never_affects_another_container() {
    // The engine answers with /web, whose id may begin with `32ed`; no container has this name.
    let test = docker();
    for _ in 0..5 {
        test.expect("engine", "GET /v1.41/containers/32ed/json", recorded(RUNNING));
    }
    assert_eq!(*test.start("32ed").unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(test.status("32ed").unwrap().status, Status::Missing);
    let stop = drowse_provider_sdk::StopOptions::new(std::time::Duration::ZERO);
    assert_eq!(test.stop("32ed", stop).unwrap().status, Status::Missing);
    assert_eq!(test.kill("32ed", None).unwrap().status, Status::Missing);
    assert_eq!(*test.pause("32ed").unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn a_container_whose_name_is_an_id_prefix_is_started_by_its_id() {
    let test = docker();
    let body = || changed(RUNNING, "/Name", json!("/db"));
    test.expect("engine", "GET /v1.41/containers/db/json", body());
    test.expect("engine", &format!("POST /v1.41/containers/{WEB_ID}/start"), Reply::status(204));
    test.expect("engine", "GET /v1.41/containers/db/json", body());
    assert_eq!(test.start("db").unwrap().handle, "db");
}

#[test]
fn pause_is_success_when_paused_and_conflict_when_stopped() {
    let test = docker();
    test.expect("engine", PAUSE, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    let seen = test.pause("web").unwrap();
    assert_eq!(seen.status, Status::Paused);
    assert!(seen.addresses.is_empty(), "a paused container accepts connections and never answers");

    test.expect("engine", PAUSE, refused(409, "Container is already paused"));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    assert_eq!(test.pause("web").unwrap().status, Status::Paused);

    // Podman answers 500 for every wrong state.
    test.expect("engine", PAUSE, refused(500, "container is not running"));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    let error = test.pause("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert_eq!(
        error.message(),
        "pause container \"web\": the container does not run (engine state \"exited\"); start it instead"
    );

    test.expect("engine", PAUSE, missing());
    test.expect("engine", INSPECT_WEB, missing());
    assert_eq!(*test.pause("web").unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn resume_is_success_when_running_and_conflict_when_stopped() {
    let test = docker();
    test.expect("engine", UNPAUSE, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    assert_eq!(test.resume("web").unwrap().status, Status::Running);

    test.expect("engine", UNPAUSE, refused(500, "Container is not paused"));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    assert_eq!(test.resume("web").unwrap().status, Status::Running);

    test.expect("engine", UNPAUSE, refused(500, "Container is not paused"));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(*test.resume("web").unwrap_err().code(), ErrorCode::Conflict);

    test.expect("engine", UNPAUSE, refused(500, "cgroup: device busy"));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    let error = test.resume("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert!(error.message().ends_with("cgroup: device busy"));
}
