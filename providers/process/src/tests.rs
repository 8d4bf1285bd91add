use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Status, StopOptions,
    testing::{Harness, Program, Report, check_description},
};
use serde_json::json;

use super::*;

fn granted(program: Program) -> Harness<Processes> {
    let test = Harness::new();
    test.grant("web", program);
    test
}

fn grace(seconds: u64) -> StopOptions {
    StopOptions::new(Duration::from_secs(seconds))
}

#[test]
fn the_description_is_valid() {
    check_description::<Processes>();
}

#[test]
fn start_spawns_and_returns_the_address() {
    let test = granted(Program::new());
    let settings = json!({ "port": 8081, "arguments": ["-v"], "environment": { "MODE": "x" } });
    let seen = test.start(("web", settings)).unwrap();
    assert_eq!((&seen.status, seen.native_status.as_str()), (&Status::Running, "running"));
    assert_eq!(
        (seen.addresses[0].host.as_str(), seen.addresses[0].port),
        ("127.0.0.1", Some(8081))
    );
    assert_eq!(seen.native_id.as_deref(), Some("1"));
    assert_eq!(seen.attribute("pid"), Some("4000"));
    assert_eq!(seen.attribute("started-at"), Some("1767225600000"));
    assert_eq!(test.spawned(), [(vec!["-v".to_owned()], vec!["MODE=x".to_owned()])]);
}

#[test]
fn start_of_a_running_program_succeeds_and_spawns_nothing() {
    let test = granted(Program::new());
    let first = test.start("web").unwrap();
    assert_eq!(test.start("web").unwrap(), first);
    assert_eq!(test.spawned().len(), 1);
}

#[test]
fn a_program_that_has_ended_is_spawned_again() {
    let test = granted(Program::new().lives(Duration::from_secs(1), 3));
    test.start("web").unwrap();
    test.advance(Duration::from_secs(2));
    let seen = test.status("web").unwrap();
    assert_eq!((&seen.status, seen.native_status.as_str()), (&Status::Stopped, "exited"));
    assert_eq!(seen.detail.as_deref(), Some("exited with status 3"));
    assert_eq!(seen.attribute("exit-status"), Some("3"));
    assert!(seen.addresses.is_empty());
    assert_eq!(test.start("web").unwrap().native_id.as_deref(), Some("2"));
}

#[test]
fn the_address_is_from_address_or_port_or_loopback() {
    for (settings, host, port) in [
        (json!({}), "127.0.0.1", None),
        (json!({ "port": 80 }), "127.0.0.1", Some(80)),
        (json!({ "address": "10.0.0.1:81" }), "10.0.0.1", Some(81)),
        (json!({ "address": "[::1]:82" }), "::1", Some(82)),
    ] {
        let seen = granted(Program::new()).start(("web", settings)).unwrap();
        assert_eq!((seen.addresses[0].host.as_str(), seen.addresses[0].port), (host, port));
    }
}

#[test]
fn an_error_in_the_settings_names_the_key() {
    for (settings, expected) in [
        (json!({ "address": "8081" }), r#"key "address": "8081" is not host:port"#),
        (json!({ "port": 0 }), r#"key "port": 0 is not a port"#),
        (json!({ "port": 1, "address": "a:1" }), r#"key "port": `address` is set as well"#),
        (json!({ "port": "x" }), r#"key "port": invalid type: string "x", expected u16"#),
        (json!({ "argument": [] }), r#"key "argument": unknown field `argument`"#),
        (json!({ "environment": { "A": 1 } }), r#"key "environment.A": invalid type: integer"#),
    ] {
        let error = granted(Program::new()).start(("web", settings)).unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest);
        let start = format!(r#"settings of target "web": {expected}"#);
        assert!(error.message().starts_with(&start), "{}", error.message());
    }
}

#[test]
fn a_failed_spawn_names_the_attempted_action() {
    let test = granted(Program::new().refuses(Error::unavailable("/bin/nope: no such file")));
    let error = test.start("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unavailable);
    assert_eq!(error.message(), r#"start command "web": /bin/nope: no such file"#);
}

#[test]
fn a_command_without_a_grant_is_missing_for_other_calls() {
    let test = granted(Program::new());
    for seen in [test.stop("other", grace(1)).unwrap(), test.kill("other", None).unwrap()] {
        assert_eq!(seen.status, Status::Missing);
    }
    for error in [
        test.usage("other").unwrap_err(),
        test.pause("other").unwrap_err(),
        test.resume("other").unwrap_err(),
    ] {
        assert_eq!(*error.code(), ErrorCode::NotFound);
        assert!(error.message().contains("add command.other to the provider"), "{error}");
    }
}

#[test]
fn a_command_without_a_grant_is_missing_and_its_start_denied() {
    let test = granted(Program::new());
    let seen = test.status("db").unwrap();
    assert_eq!(seen.status, Status::Missing);
    assert!(seen.detail.unwrap().ends_with("add command.db to the provider"));
    let error = test.start("db").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert!(error.message().starts_with(r#"start command "db": "#), "{}", error.message());
}

#[test]
fn a_command_that_never_ran_is_stopped() {
    let seen = granted(Program::new()).status("web").unwrap();
    assert_eq!((seen.status, seen.native_status.as_str()), (Status::Stopped, "never started"));
    assert_eq!(seen.native_id, None);
}

#[test]
fn stop_sends_sigterm_and_returns_when_the_program_has_ended() {
    let test = granted(Program::new().ends_on("SIGTERM", Duration::from_secs(2), 0));
    test.start("web").unwrap();
    let seen = test.stop("web", grace(10)).unwrap();
    assert_eq!((&seen.status, seen.attribute("exit-status")), (&Status::Stopped, Some("0")));
    assert_eq!(test.signals(), ["web SIGTERM", "web SIGCONT"]);
    assert_eq!(test.elapsed(), Duration::from_secs(2));
}

#[test]
fn a_program_that_ignores_the_signal_is_killed_after_the_grace_time() {
    let test = granted(Program::new().ignores("SIGINT"));
    test.start("web").unwrap();
    let seen = test.stop("web", grace(10).with_signal("int")).unwrap();
    assert_eq!(seen.detail.as_deref(), Some("ended by SIGKILL (status 137)"));
    assert_eq!(test.signals(), ["web SIGINT", "web SIGCONT", "web SIGKILL"]);
    assert_eq!(test.elapsed(), Duration::from_secs(10));
}

#[test]
fn stop_and_kill_of_a_stopped_program_succeed() {
    let test = granted(Program::new());
    assert_eq!(test.stop("web", grace(1)).unwrap().status, Status::Stopped);
    assert_eq!(test.kill("web", None).unwrap().status, Status::Stopped);
    test.start("web").unwrap();
    test.stop("web", grace(1)).unwrap();
    let again = test.stop("web", grace(1)).unwrap();
    assert_eq!(again.detail.as_deref(), Some("ended by SIGTERM (status 143)"));
    // The last signal disables the restart of a program that ended by itself.
    assert_eq!(test.signals(), ["web SIGTERM", "web SIGCONT", "web SIGTERM"]);
}

#[test]
fn kill_uses_sigkill_or_the_requested_signal() {
    let test = granted(Program::new().ignores("SIGHUP"));
    test.start("web").unwrap();
    let error = test.kill("web", Some("SIGHUP")).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert!(error.message().contains("process 4000 still runs"), "{}", error.message());
    let seen = test.kill("web", None).unwrap();
    assert_eq!(seen.attribute("exit-status"), Some("137"));
}

#[test]
fn an_unknown_signal_is_an_invalid_request() {
    let test = granted(Program::new());
    test.start("web").unwrap();
    let error = test.stop("web", grace(1).with_signal("NOPE")).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    assert_eq!(test.status("web").unwrap().status, Status::Running);
}

#[test]
fn a_paused_program_is_paused_until_it_is_resumed_or_started() {
    let test = granted(Program::new());
    type Wake = fn(&Harness<Processes>) -> Result<Observation>;
    let wakes: [Wake; 2] = [|test| test.resume("web"), |test| test.start("web")];
    for wake in wakes {
        test.start("web").unwrap();
        let seen = test.pause("web").unwrap();
        assert_eq!((seen.status, seen.addresses.len()), (Status::Paused, 0));
        assert_eq!(test.pause("web").unwrap().status, Status::Paused);
        assert_eq!(test.status("web").unwrap().status, Status::Paused);
        assert_eq!(wake(&test).unwrap().status, Status::Running);
        assert_eq!(test.status("web").unwrap().status, Status::Running);
    }
    assert_eq!(test.spawned().len(), 1);
    assert_eq!(test.resume("web").unwrap().status, Status::Running);
}

#[test]
fn pause_and_resume_of_a_stopped_program_are_conflicts() {
    let test = granted(Program::new());
    assert_eq!(*test.pause("web").unwrap_err().code(), ErrorCode::Conflict);
    assert_eq!(*test.resume("web").unwrap_err().code(), ErrorCode::Conflict);
}

#[test]
fn a_paused_program_is_stopped_and_not_paused_after_its_next_start() {
    let test = granted(Program::new());
    test.start("web").unwrap();
    test.pause("web").unwrap();
    let seen = test.stop("web", grace(10)).unwrap();
    assert_eq!(seen.detail.as_deref(), Some("ended by SIGTERM (status 143)"));
    assert_eq!(test.elapsed(), Duration::ZERO, "no kill is needed");
    assert_eq!(test.start("web").unwrap().status, Status::Running);
}

#[test]
fn a_paused_program_killed_by_another_process_is_stopped() {
    let test = granted(Program::new().lives(Duration::from_secs(5), 137));
    test.start("web").unwrap();
    test.pause("web").unwrap();
    test.advance(Duration::from_secs(5));
    assert_eq!(test.status("web").unwrap().status, Status::Stopped);
    assert_eq!(test.start("web").unwrap().status, Status::Running);
}

#[test]
fn the_list_is_the_granted_commands() {
    let test = granted(Program::new());
    test.grant("db", Program::new());
    test.start("web").unwrap();
    let page = test.list(None).unwrap();
    assert_eq!(page.next, None);
    let seen: Vec<(&str, &Status)> =
        page.observations.iter().map(|it| (it.handle.as_str(), &it.status)).collect();
    assert_eq!(seen, [("db", &Status::Stopped), ("web", &Status::Running)]);
}

#[test]
fn a_watch_reports_starts_and_ends() {
    let test = granted(Program::new().lives(Duration::from_secs(60), 1));
    test.start("web").unwrap();
    let watched = test.watch();
    assert_eq!(watched.error, None);
    assert_eq!(watched.reports[0], Report::Synced);
    let seen: Vec<_> = watched.observations().iter().map(|it| it.status.clone()).collect();
    assert_eq!(seen, [Status::Running, Status::Stopped]);
    assert_eq!(watched.observations()[1].detail.as_deref(), Some("exited with status 1"));
}

#[test]
fn logs_are_the_last_complete_lines() {
    let test = granted(Program::new().writes("one\ntwo\nthree\n"));
    assert_eq!(test.logs_of("web", 5).unwrap(), [""; 0]);
    test.start("web").unwrap();
    assert_eq!(test.logs_of("web", 2).unwrap(), ["two", "three"]);
    assert_eq!(test.logs_of("web", 0).unwrap(), [""; 0]);
    let long = format!("{}\nlast\n", "x".repeat(80 << 10));
    let test = granted(Program::new().writes(long));
    test.start("web").unwrap();
    assert_eq!(test.logs_of("web", 10).unwrap(), ["last"]);
}

#[test]
fn usage_is_measured_between_two_samples_and_zero_when_stopped() {
    let test = granted(Program::new().uses(150, 8 << 20));
    assert_eq!(test.usage("web").unwrap(), Usage::nothing());
    test.start("web").unwrap();
    test.advance(Duration::from_secs(7));
    let before = test.elapsed();
    let used = test.usage("web").unwrap();
    assert_eq!((used.cpu_percent, used.memory), (Some(150.0), Some(8 << 20)));
    assert_eq!(test.elapsed() - before, Duration::from_millis(500));
    test.kill("web", None).unwrap();
    assert_eq!(test.usage("web").unwrap(), Usage::nothing());
    assert_eq!(*test.usage("db").unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn a_program_that_ends_while_it_is_measured_uses_nothing() {
    let test = granted(Program::new().uses(100, 1).lives(Duration::from_millis(100), 0));
    test.start("web").unwrap();
    assert_eq!(test.usage("web").unwrap(), Usage::nothing());
}

#[test]
fn commands_cannot_be_run_in_a_program() {
    let error = granted(Program::new()).exec("web", &["true"]).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
}
