use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Status, StopOptions};

use super::*;

const KILL: &str = "POST /v1.41/containers/web/kill";

fn grace(seconds: u64) -> StopOptions {
    StopOptions::new(Duration::from_secs(seconds))
}

#[test]
fn stop_waits_longer_than_the_grace_time_for_the_engine() {
    let test = docker();
    let reply = Reply::status(204).after(Duration::from_secs(30));
    test.expect("engine", "POST /v1.41/containers/web/stop?t=30", reply);
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    let seen = test.stop("web", grace(30)).unwrap();
    assert_eq!((seen.status, seen.native_status.as_str()), (Status::Stopped, "exited"));
    assert!(test.requests()[1].timeout_ms.unwrap() >= 40_000);
}

#[test]
fn fractions_of_a_second_are_rounded_up() {
    for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1500, 2)] {
        let test = docker();
        let request = format!("POST /v1.41/containers/web/stop?t={seconds}");
        test.expect("engine", &request, Reply::status(204));
        test.expect("engine", INSPECT_WEB, recorded(EXITED));
        test.stop("web", StopOptions::new(Duration::from_millis(millis))).unwrap();
    }
}

#[test]
fn stop_of_a_stopped_container_succeeds() {
    let test = docker();
    test.expect("engine", "POST /v1.41/containers/web/stop?t=5", Reply::status(304));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.stop("web", grace(5)).unwrap().status, Status::Stopped);

    test.expect("engine", "POST /v1.41/containers/web/stop?t=5", missing());
    test.expect("engine", INSPECT_WEB, missing());
    assert_eq!(test.stop("web", grace(5)).unwrap().status, Status::Missing);
}

#[test]
fn a_container_that_removes_itself_is_waited_for() {
    let test = docker();
    test.expect("engine", "POST /v1.41/containers/web/stop?t=5", Reply::status(204));
    test.expect("engine", INSPECT_WEB, changed(EXITED, "/State/Status", json!("removing")));
    test.expect("engine", INSPECT_WEB, missing());
    assert_eq!(test.stop("web", grace(5)).unwrap().status, Status::Missing);
}

#[test]
fn stop_returns_only_when_the_container_has_stopped() {
    let test = docker();
    test.expect("engine", "POST /v1.41/containers/web/stop?t=5", Reply::status(204));
    for _ in 0..3 {
        test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    }
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.stop("web", grace(5)).unwrap().status, Status::Stopped);
}

#[test]
fn a_stop_longer_than_the_grants_timeout_is_followed() {
    let test = docker();
    let reply = Reply::error(Error::timeout("no answer in 30 s")).after(Duration::from_secs(30));
    test.expect("engine", "POST /v1.41/containers/web/stop?t=60", reply);
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.stop("web", grace(60)).unwrap().status, Status::Stopped);
}

#[test]
fn a_container_that_another_client_restarted_is_a_conflict() {
    let test = docker();
    test.expect("engine", "POST /v1.41/containers/web/stop?t=0", Reply::status(204));
    for _ in 0..8 {
        test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    }
    let error = test.stop("web", grace(0)).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Conflict);
    assert_eq!(
        error.message(),
        "stop container \"web\": the engine has stopped it and reports \"running\" again: another \
         client has started it"
    );
    assert_eq!(test.elapsed(), Duration::from_secs(1));
}

#[test]
fn a_container_that_does_not_stop_is_a_timeout() {
    let test = docker();
    let reply = Reply::error(Error::timeout("no answer in 15 s")).after(Duration::from_secs(15));
    test.expect("engine", "POST /v1.41/containers/web/stop?t=0", reply);
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let error = test.stop("web", grace(0)).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert_eq!(
        error.message(),
        "stop container \"web\": the engine accepted the request, but still reports \"running\""
    );
}

#[test]
fn a_refused_stop_has_the_reason() {
    let test = docker();
    let refusal = refused(
        500,
        "cannot stop container: tried to kill container, but did not receive an exit event",
    );
    test.expect("engine", "POST /v1.41/containers/web/stop?t=1", refusal);
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let error = test.stop("web", grace(1)).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert!(error.message().contains("did not receive an exit event"));
}

#[test]
fn a_signal_is_sent_with_stop_where_the_engine_supports_it() {
    let test = engine("1.42", json!({}));
    test.expect("engine", "GET /v1.42/containers/web/json", recorded(RUNNING));
    let request = "POST /v1.42/containers/web/stop?t=5&signal=SIGINT";
    test.expect("engine", request, Reply::status(204));
    test.expect("engine", "GET /v1.42/containers/web/json", recorded(EXITED));
    test.stop("web", grace(5).with_signal("SIGINT")).unwrap();
}

#[test]
fn a_paused_container_is_resumed_before_a_stop_with_another_signal() {
    // The engine resumes it only for the stop signal of its image or creation.
    let test = engine("1.42", json!({}));
    test.expect("engine", "GET /v1.42/containers/web/json", recorded(PAUSED));
    test.expect("engine", "POST /v1.42/containers/web/unpause", Reply::status(204));
    let request = "POST /v1.42/containers/web/stop?t=5&signal=SIGINT";
    test.expect("engine", request, Reply::status(204));
    test.expect("engine", "GET /v1.42/containers/web/json", recorded(EXITED));
    let seen = test.stop("web", grace(5).with_signal("SIGINT")).unwrap();
    assert_eq!(seen.status, Status::Stopped);
}

#[test]
fn a_paused_container_is_resumed_where_stop_needs_a_running_one() {
    // Podman answers 500 for every wrong state.
    let stop = "POST /v1.41/containers/web/stop?t=5";
    let test = docker();
    test.expect("engine", stop, refused(500, "can only stop created or running containers"));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    test.expect("engine", "POST /v1.41/containers/web/unpause", Reply::status(204));
    test.expect("engine", stop, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.stop("web", grace(5)).unwrap().status, Status::Stopped);

    for signal in [None, Some("SIGINT")] {
        let kill = signal.map_or(KILL.to_owned(), |signal| format!("{KILL}?signal={signal}"));
        test.expect("engine", &kill, refused(500, "can only kill running containers"));
        test.expect("engine", INSPECT_WEB, recorded(PAUSED));
        test.expect("engine", "POST /v1.41/containers/web/unpause", Reply::status(204));
        test.expect("engine", &kill, Reply::status(204));
        test.expect("engine", INSPECT_WEB, recorded(EXITED));
        assert_eq!(test.kill("web", signal).unwrap().status, Status::Stopped);
    }
}

#[test]
fn an_ignored_stop_of_a_paused_container_is_repeated() {
    let stop = "POST /v1.41/containers/web/stop?t=5";
    let test = docker();
    test.expect("engine", stop, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    test.expect("engine", "POST /v1.41/containers/web/unpause", Reply::status(204));
    test.expect("engine", stop, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.stop("web", grace(5)).unwrap().status, Status::Stopped);
    assert_eq!(test.elapsed(), Duration::ZERO, "no pointless wait");
}

#[test]
fn a_paused_container_that_cannot_be_resumed_has_the_reason() {
    let stop = "POST /v1.41/containers/web/stop?t=5";
    let test = docker();
    for (request, reply) in [
        (stop, refused(500, "it is paused")),
        (INSPECT_WEB, recorded(PAUSED)),
        ("POST /v1.41/containers/web/unpause", refused(500, "the freezer is broken")),
        (stop, refused(500, "it is paused")),
        (INSPECT_WEB, recorded(PAUSED)),
    ] {
        test.expect("engine", request, reply);
    }
    let error = test.stop("web", grace(5)).unwrap_err();
    assert!(error.message().ends_with("it is paused"), "{}", error.message());
}

#[test]
fn before_api_1_42_a_stop_with_signal_is_a_kill_and_a_wait() {
    let test = docker();
    test.expect("engine", &format!("{KILL}?signal=SIGINT"), Reply::status(204));
    for _ in 0..3 {
        test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    }
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    let seen = test.stop("web", grace(5).with_signal("SIGINT")).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert!(test.elapsed() < Duration::from_secs(1));
}

#[test]
fn podman_ignores_the_signal_of_stop_so_it_gets_a_kill() {
    let test = Harness::<Docker>::new();
    let ping =
        Reply::status(200).header("Api-Version", "1.44").header("Libpod-Api-Version", "5.4.0");
    test.expect("engine", "GET /_ping", ping);
    test.expect("engine", "POST /v1.44/containers/web/kill?signal=SIGINT", Reply::status(204));
    test.expect("engine", "GET /v1.44/containers/web/json", recorded(EXITED));
    test.stop("web", grace(5).with_signal("SIGINT")).unwrap();
}

#[test]
fn a_container_that_ignores_the_signal_is_killed_after_the_grace_time() {
    let test = docker();
    test.expect("engine", &format!("{KILL}?signal=SIGINT"), Reply::status(204));
    // One inspection after the kill, then pauses of 10, 20, 40, 80, 160, 320 and finally 370 ms.
    for _ in 0..9 {
        test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    }
    test.expect("engine", KILL, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    let seen = test.stop("web", grace(1).with_signal("SIGINT")).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(test.elapsed(), Duration::from_secs(1));
}

#[test]
fn a_paused_container_gets_its_signal_and_is_resumed() {
    let test = docker();
    test.expect("engine", &format!("{KILL}?signal=SIGINT"), Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    test.expect("engine", "POST /v1.41/containers/web/unpause", Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    let seen = test.stop("web", grace(5).with_signal("SIGINT")).unwrap();
    assert_eq!(seen.status, Status::Stopped);
}

#[test]
fn a_signalled_stop_of_a_stopped_container_succeeds() {
    let test = docker();
    test.expect("engine", &format!("{KILL}?signal=SIGINT"), refused(409, "web is not running"));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.stop("web", grace(5).with_signal("SIGINT")).unwrap().status, Status::Stopped);
}

#[test]
fn an_unknown_signal_is_an_invalid_request() {
    let test = docker();
    test.expect(
        "engine",
        &format!("{KILL}?signal=SIGNOPE"),
        refused(400, "Invalid signal: SIGNOPE"),
    );
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let error = test.stop("web", grace(5).with_signal("SIGNOPE")).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().ends_with("Invalid signal: SIGNOPE"));
}

#[test]
fn kill_ends_a_container_and_succeeds_when_it_is_stopped() {
    let test = docker();
    test.expect("engine", KILL, Reply::status(204));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.kill("web", None).unwrap().status, Status::Stopped);

    test.expect("engine", KILL, refused(409, "Container web is not running"));
    test.expect("engine", INSPECT_WEB, recorded(EXITED));
    assert_eq!(test.kill("web", None).unwrap().status, Status::Stopped);
}

#[test]
fn kill_with_a_signal_that_does_not_end_it_is_a_timeout_that_names_the_signal() {
    let test = docker();
    test.expect("engine", &format!("{KILL}?signal=SIGHUP"), Reply::status(204));
    for _ in 0..27 {
        test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    }
    let error = test.kill("web", Some("SIGHUP")).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert!(error.message().starts_with(r#"kill container "web" with SIGHUP: "#));
}
