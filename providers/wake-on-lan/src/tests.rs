use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Status,
    testing::{Harness, Program, Reply, Target, check_description},
};
use serde_json::json;

use super::*;

const MAC: &str = "00:11:22:aa:bb:cc";

fn nas() -> Target {
    ("nas", json!({ "mac": MAC, "address": "192.168.1.20" })).into()
}

fn stop(test: &Harness<WakeOnLan>) -> Result<Observation> {
    test.stop(nas(), StopOptions::new(Duration::from_secs(10)))
}

/// A program that ends at once with this status.
fn ends(status: i32) -> Program {
    Program::new().lives(Duration::ZERO, status)
}

/// A provider with an agent that puts machines to sleep and checks whether they are awake.
fn with_agent() -> Harness<WakeOnLan> {
    Harness::with_settings(json!({
        "sleep": { "path": "/machines/{name}/sleep" },
        "status": { "path": "/machines/{name}" },
    }))
}

#[test]
fn the_description_is_valid() {
    check_description::<WakeOnLan>();
}

#[test]
fn a_start_sends_three_magic_packets_and_returns_the_address() {
    let test = Harness::<WakeOnLan>::new();
    let seen = test.start(nas()).unwrap();
    assert_eq!((&seen.status, seen.native_status.as_str()), (&Status::Running, "woken"));
    assert_eq!((seen.addresses[0].host.as_str(), seen.addresses[0].port), ("192.168.1.20", None));
    let card = packet::SixBytes::parse(MAC).unwrap();
    let sent = ("lan".to_owned(), packet::magic(card, None));
    assert_eq!(test.datagrams(), [sent.clone(), sent.clone(), sent]);
    assert_eq!(test.elapsed(), Duration::from_millis(200));
}

#[test]
fn a_mac_address_is_a_handle_and_a_password_is_sent() {
    let test = Harness::<WakeOnLan>::new();
    let settings = json!({ "address": "nas.lan:8006", "secure-on": "01-02-03-04-05-06" });
    let seen = test.start((MAC, settings)).unwrap();
    let address = &seen.addresses[0];
    assert_eq!((address.host.as_str(), address.port), ("nas.lan", Some(8006)));
    assert_eq!(address.target_port, Some(0), "overrides the route's port");
    assert_eq!(test.datagrams()[0].1[102..], [1, 2, 3, 4, 5, 6]);
}

#[test]
fn invalid_settings_are_refused_with_their_key() {
    let test = Harness::<WakeOnLan>::new();
    for (name, settings, key) in [
        ("nas", json!({ "address": "192.168.1.20" }), "key \"mac\" is missing"),
        ("nas", json!({ "mac": MAC }), "address"),
        ("nas", json!({ "mac": "nas", "address": "nas.lan" }), "key \"mac\""),
        ("nas", json!({ "mac": "ff:ff:ff:ff:ff:ff", "address": "nas.lan" }), "not of a group"),
        (MAC, json!({ "address": "nas.lan:" }), "key \"address\""),
        (MAC, json!({ "address": "nas.lan", "secure-on": "hunter2" }), "key \"secure-on\""),
    ] {
        let error = test.start((name, settings)).unwrap_err();
        assert_eq!(*error.code(), ErrorCode::InvalidRequest, "{error}");
        assert!(error.message().contains(key) && !error.message().contains("hunter2"), "{error}");
    }
    for (settings, key) in [
        (json!({ "sleep": { "path": "sleep" } }), "sleep.path"),
        (json!({ "sleep": { "path": "/{nam}" } }), "sleep.path"),
        (json!({ "sleep": { "path": "/x", "method": "post" } }), "sleep.method"),
        (json!({ "status": { "path": "/{" } }), "status.path"),
    ] {
        let error = Harness::<WakeOnLan>::with_settings(settings).configure().unwrap_err();
        assert!(error.message().contains(key), "{error}");
    }
}

#[test]
fn the_state_is_that_of_the_last_action_without_a_check() {
    let test = Harness::<WakeOnLan>::new();
    test.grant("sleep", ends(0));
    let never = test.status(nas()).unwrap();
    assert_eq!((&never.status, never.native_status.as_str()), (&Status::Stopped, "never woken"));
    test.start(nas()).unwrap();
    test.advance(Duration::from_secs(3600));
    let woken = test.status(nas()).unwrap();
    assert_eq!((&woken.status, woken.addresses.len()), (&Status::Running, 1));
    assert_eq!(stop(&test).unwrap().status, Status::Stopped);
    assert_eq!(test.status(nas()).unwrap().native_status, "asleep");
}

#[test]
fn a_granted_command_puts_the_machine_to_sleep_once() {
    let test = Harness::<WakeOnLan>::new();
    test.grant("sleep", ends(0));
    test.start(nas()).unwrap();
    assert_eq!(stop(&test).unwrap().status, Status::Stopped);
    assert_eq!(stop(&test).unwrap().status, Status::Stopped, "it sleeps already");
    assert_eq!(test.spawned(), [(vec!["nas".to_owned()], Vec::new())]);
}

#[test]
fn a_failed_command_has_its_last_line_and_the_machine_counts_as_awake() {
    let test = Harness::<WakeOnLan>::new();
    test.grant("sleep", ends(255).writes("connecting\nssh: no route to host\n"));
    test.start(nas()).unwrap();
    let error = stop(&test).unwrap_err();
    assert_eq!(
        (error.code(), error.attribute("exit-status")),
        (&ErrorCode::Unavailable, Some("255"))
    );
    assert_eq!(
        error.message(),
        "put to sleep \"nas\": command \"sleep\" exited with status 255: ssh: no route to host"
    );
    assert_eq!(test.status(nas()).unwrap().status, Status::Running);
}

#[test]
fn a_command_runs_for_one_machine_at_a_time() {
    let test = Harness::<WakeOnLan>::new();
    let three = Duration::from_secs(3);
    test.grant("ping", Program::new().lives(three, 0));
    test.run(|| drop(drowse_provider_sdk::command::Command::new("ping").spawn().unwrap()));
    assert_eq!(test.status(nas()).unwrap().native_status, "awake");
    assert_eq!(test.elapsed(), 2 * three);
    assert_eq!(test.spawned().len(), 2);
}

#[test]
fn a_machine_that_does_not_fit_into_the_cache_is_woken_and_logged() {
    let test = Harness::<WakeOnLan>::new();
    for last in 0..65 {
        let mac = format!("00:11:22:aa:bb:{last:02x}");
        let seen = test.start((mac.as_str(), json!({ "address": "192.168.1.20" }))).unwrap();
        assert_eq!(seen.status, Status::Running);
    }
    let logs = test.logs();
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert!(logs[0].message.contains("does not fit into the cache"), "{logs:?}");
}

#[test]
fn a_command_that_does_not_end_is_killed() {
    let test = Harness::<WakeOnLan>::new();
    test.grant("sleep", Program::new());
    let error = stop(&test).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert_eq!(test.signals(), ["sleep SIGKILL"]);
    assert_eq!(test.elapsed(), Duration::from_secs(45));
}

#[test]
fn a_stop_without_command_or_agent_has_instructions() {
    let test = Harness::<WakeOnLan>::new();
    test.start(nas()).unwrap();
    let error = stop(&test).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Unsupported);
    for words in ["command.sleep = {", "endpoint `agent`", "settings.sleep = {"] {
        assert!(error.message().contains(words), "{error}");
    }
    assert_eq!(test.status(nas()).unwrap().status, Status::Running);
}

#[test]
fn a_successful_ping_means_awake() {
    let test = Harness::<WakeOnLan>::new();
    test.grant("ping", ends(0));
    assert_eq!(test.status(nas()).unwrap().native_status, "awake");
    assert_eq!(test.spawned()[0].0, ["192.168.1.20"]);
    test.grant("ping", ends(1));
    assert_eq!(test.status(nas()).unwrap().native_status, "asleep");
}

#[test]
fn a_booting_machine_counts_as_running_during_the_boot_time() {
    let test = Harness::<WakeOnLan>::new();
    test.grant("ping", ends(1));
    test.start(nas()).unwrap();
    test.advance(Duration::from_secs(100));
    let seen = test.status(nas()).unwrap();
    assert_eq!((&seen.status, seen.native_status.as_str()), (&Status::Running, "woken"));
    assert!(seen.detail.unwrap().contains("no answer yet"));
    test.advance(Duration::from_secs(100));
    assert_eq!(test.status(nas()).unwrap().status, Status::Stopped);
}

#[test]
fn a_stop_waits_until_the_ping_fails_or_the_timeout_ends() {
    let test = Harness::<WakeOnLan>::new();
    test.grant("sleep", ends(0)).grant("ping", ends(0));
    let error = stop(&test).unwrap_err();
    assert_eq!(error.message(), "put to sleep \"nas\": still awake after 45s");
    test.grant("ping", ends(1));
    assert_eq!(stop(&test).unwrap().status, Status::Stopped);
}

#[test]
fn an_agent_puts_the_machine_to_sleep_and_is_polled() {
    let test = with_agent();
    test.expect("agent", "GET /machines/my%20nas", Reply::status(200))
        .expect("agent", "POST /machines/my%20nas/sleep", Reply::status(202))
        .expect("agent", "GET /machines/my%20nas", Reply::status(200))
        .expect("agent", "GET /machines/my%20nas", Reply::error(Error::unavailable("gone")));
    let target = ("my nas", json!({ "mac": MAC, "address": "192.168.1.20" }));
    let seen = test.stop(target, StopOptions::new(Duration::from_secs(10))).unwrap();
    assert_eq!(seen.status, Status::Stopped);
    assert_eq!(test.elapsed(), Duration::from_secs(2));
}

#[test]
fn an_agent_that_falls_asleep_before_it_answers_has_succeeded() {
    let test = with_agent();
    test.expect("agent", "GET /machines/nas", Reply::status(200))
        .expect("agent", "POST /machines/nas/sleep", Reply::error(Error::internal("broke")))
        .expect("agent", "GET /machines/nas", Reply::error(Error::unavailable("gone")));
    assert_eq!(stop(&test).unwrap().status, Status::Stopped);
}

#[test]
fn an_error_of_the_agent_is_reported() {
    let test = with_agent();
    test.expect("agent", "GET /machines/nas", Reply::status(401));
    let error = test.status(nas()).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Denied);
    assert_eq!(error.message(), "query \"nas\": GET /machines/nas: 401");
    test.expect("agent", "GET /machines/nas", Reply::status(200)).expect(
        "agent",
        "POST /machines/nas/sleep",
        Reply::status(403),
    );
    assert!(stop(&test).unwrap_err().message().contains("POST /machines/nas/sleep: 403"));
    test.expect("agent", "GET /machines/nas", Reply::status(503));
    assert_eq!(test.status(nas()).unwrap().status, Status::Stopped);
}
