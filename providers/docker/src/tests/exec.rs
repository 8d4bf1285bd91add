use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Exit, Result};

use super::{logs::frame, *};

const CREATE: &str = "POST /v1.41/containers/web/exec";
const START: &str = "POST /v1.41/exec/17282d3a/start";
const STATE: &str = "GET /v1.41/exec/17282d3a/json";

/// A provider that has created the command.
fn created() -> Harness<Docker> {
    let test = docker();
    test.expect("exec", CREATE, Reply::json(json!({ "Id": "17282d3a" })));
    test
}

fn state(running: bool, status: Value) -> Reply {
    Reply::json(json!({ "Running": running, "ExitCode": status, "Pid": 14406 }))
}

fn ran(written: Vec<u8>, status: i32) -> Exit {
    let test = created();
    test.expect("exec", START, Reply::status(200).body(written));
    test.expect("exec", STATE, state(false, json!(status)));
    test.exec("web", &["x"]).unwrap()
}

fn refusal(test: &Harness<Docker>) -> Error {
    test.exec("web", &["true"]).unwrap_err()
}

#[test]
fn a_command_runs_unchanged_and_returns_status_and_output() {
    let test = created();
    let written = [frame(1, "out\n"), frame(2, "err\n")].concat();
    test.expect("exec", START, Reply::status(200).body(written));
    test.expect("exec", STATE, state(false, json!(3)));
    let exit = test.exec("web", &["sh", "-c", "echo out; exit 3"]).unwrap();
    assert_eq!(exit, Exit::new(3, ["out", "err"]));
    let bodies: Vec<Value> = test.requests()[1..=2]
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let command = ["sh", "-c", "echo out; exit 3"];
    assert_eq!(
        bodies,
        [
            json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command }),
            json!({ "Detach": false, "Tty": false }),
        ]
    );
}

#[test]
fn a_missing_program_is_a_status_with_the_engines_reason() {
    let exit = ran(frame(1, "OCI runtime exec failed: \"nope\": not found\r\n"), 126);
    assert_eq!(exit, Exit::new(126, ["OCI runtime exec failed: \"nope\": not found"]));
}

#[test]
fn only_the_last_lines_are_kept() {
    let written: String = (0..500).map(|line| format!("{line}\n")).collect();
    let exit = ran(frame(1, &written), 0);
    assert_eq!((exit.output.len(), exit.output[99].as_str()), (100, "499"));
    let exit = ran(frame(1, &"x".repeat(100_000)), 0);
    assert_eq!(exit.output[0].len(), 4 << 10);
}

#[test]
fn the_engine_may_notice_the_end_after_the_end_of_output() {
    let test = created();
    test.expect("exec", START, Reply::status(200));
    test.expect("exec", STATE, state(true, Value::Null));
    test.expect("exec", STATE, state(true, json!(0)));
    test.expect("exec", STATE, state(false, json!(1)));
    assert_eq!(test.exec("web", &["false"]).unwrap().status, 1);
}

#[test]
fn an_end_that_the_engine_never_reports_is_a_timeout() {
    let test = created();
    test.expect("exec", START, Reply::status(200));
    for _ in 0..1001 {
        test.expect("exec", STATE, state(true, Value::Null));
    }
    let error = refusal(&test);
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert!(
        error.message().ends_with("the engine still reports the command as running"),
        "{error}"
    );
    assert_eq!(test.elapsed(), Duration::from_secs(10));
}

#[test]
fn a_command_in_a_stopped_container_is_a_conflict() {
    for (state, word) in [(EXITED, "exited"), (PAUSED, "paused")] {
        let test = docker();
        test.expect("exec", CREATE, refused(409, "Container web is not running"));
        test.expect("engine", INSPECT_WEB, recorded(state));
        let error = refusal(&test);
        assert_eq!(*error.code(), ErrorCode::Conflict);
        assert_eq!(
            error.message(),
            format!(
                "run a command in container \"web\": the container does not run (engine state \
                 {word:?}); start it first"
            )
        );
    }
    let test = docker();
    test.expect("exec", CREATE, missing());
    test.expect("engine", INSPECT_WEB, missing());
    assert_eq!(*refusal(&test).code(), ErrorCode::NotFound);
}

#[test]
fn without_the_grant_the_error_names_the_line_to_add() {
    let test = docker();
    let denied = "endpoint \"exec\" is not granted: add to [provider.docker]: endpoint.exec = \
                  { url = \"unix:///var/run/docker.sock\" }";
    test.expect("exec", CREATE, Reply::error(Error::denied(denied)));
    let error = refusal(&test);
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert_eq!(error.message(), format!("run a command in container \"web\": {denied}"));
}

#[test]
fn an_empty_command_and_an_invalid_name_are_refused_before_a_request() {
    let test = Harness::<Docker>::new();
    let code = |result: Result<Exit>| result.unwrap_err().code().clone();
    assert_eq!(code(test.exec("web", &[])), ErrorCode::InvalidRequest);
    assert_eq!(code(test.exec("../exec", &["true"])), ErrorCode::InvalidRequest);
    assert!(test.requests().is_empty());
}

#[test]
fn a_broken_stream_is_an_error() {
    let test = created();
    let broken = Error::internal("the response broke off");
    test.expect("exec", START, Reply::status(200).body(frame(1, "half")).breaks(broken));
    let error = refusal(&test);
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert!(error.message().starts_with("run a command in container \"web\": "), "{error}");
}

#[test]
fn endless_output_is_an_error() {
    let test = created();
    let piece = frame(1, &"x\n".repeat(1 << 19));
    let reply = (0..5).fold(Reply::status(200), |reply, _| reply.body(piece.clone()));
    test.expect("exec", START, reply.stays_open());
    let error = refusal(&test);
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert!(error.message().contains("writes more than"), "{error}");
}
