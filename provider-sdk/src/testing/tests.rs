use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{
    Ability, Endpoint, EndpointWish, ErrorCode, clock, command::Command, grpc, memo, network, warn,
};

struct Door;

impl Provider for Door {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("door", "1.0.0", "opens").endpoint(
            EndpointWish::new("lock", "opens doors").rules(["GET /doors/*", "POST /doors/*/open"]),
        )
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Endpoint::new("lock").post(&format!("/doors/{}/open", target.handle)).send()?;
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &crate::Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Endpoint::new("lock").delete(&format!("/doors/{}", target.handle)).send()?;
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

fn failure(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast::<&str>().map(|it| (*it).to_owned()).unwrap(),
    }
}

#[test]
fn an_unexpected_request_fails_the_test_with_the_expected_one() {
    let message = failure(|| {
        let test = Harness::<Door>::new();
        test.expect("lock", "POST /doors/b/open", Reply::status(200));
        let _ = test.start("a");
    });
    assert!(message.contains("sent POST /doors/a/open"), "{message}");
    assert!(message.contains("expected POST /doors/b/open"), "{message}");
    let message = failure(|| {
        let _ = Harness::<Door>::new().start("a");
    });
    assert!(message.contains("unexpected POST /doors/a/open"), "{message}");
}

/// Makes the host call of its settings in `configure`.
struct Hasty;

#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
struct Deed {
    deed: String,
}

impl Provider for Hasty {
    type Settings = Deed;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("hasty", "1.0.0", "calls too early")
    }

    fn configure(settings: Deed) -> Result<Self> {
        match settings.deed.as_str() {
            "sleep" => clock::sleep(Duration::from_secs(1)),
            "find" => drop(Command::new("app").find()),
            "synced" => crate::events::synced(),
            _ => drop(crate::command::granted()),
        }
        Ok(Self)
    }

    fn start(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &crate::Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

#[test]
fn a_host_call_in_configure_fails_the_test() {
    for (deed, function) in
        [("sleep", "clock.sleep"), ("find", "command.find"), ("synced", "events.synced")]
    {
        let message = failure(|| {
            let settings = serde_json::json!({ "deed": deed });
            let _ = Harness::<Hasty>::with_settings(settings).start("a");
        });
        let expected = format!("{function}: describe and configure must not call the host");
        assert!(message.contains(&expected), "{message}");
    }
    let allowed = Harness::<Hasty>::with_settings(serde_json::json!({ "deed": "granted" }));
    assert!(allowed.start("a").is_ok());
}

#[test]
fn a_signal_has_its_default_action() {
    let test = Harness::<Silent>::new();
    test.grant("app", Program::new());
    test.run(|| {
        let process = Command::new("app").spawn().unwrap();
        process.signal("SIGWINCH").unwrap();
        assert_eq!(process.wait(Duration::ZERO), Ok(crate::command::State::Running));
        process.signal("SIGXCPU").unwrap();
        assert_eq!(process.wait(Duration::ZERO), Ok(crate::command::State::Exited(128 + 24)));
        assert!(process.signal("SIGNOTHING").is_err());
    });
}

#[test]
fn a_request_outside_the_rules_fails_the_test() {
    let message = failure(|| {
        let test = Harness::<Door>::new();
        test.expect("lock", "DELETE /doors/a", Reply::status(200));
        let _ = test.stop("a", StopOptions::new(Duration::ZERO));
    });
    assert!(message.contains("no rule of the description"), "{message}");
}

/// Sends datagrams of the handle's length to an endpoint.
struct Beacon;

impl Provider for Beacon {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("beacon", "1.0.0", "sends datagrams")
            .endpoint(
                crate::EndpointWish::new("lan", "hears them").suggested_url("udp://10.0.0.255:9"),
            )
            .endpoint(crate::EndpointWish::new("api", "does not").rules(["GET /x"]))
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        let (endpoint, size) = target.handle.split_once(':').unwrap();
        crate::udp::send(endpoint, vec![b'x'; size.parse().unwrap()])?;
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &crate::Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

#[test]
fn datagrams_go_only_to_requested_endpoints() {
    check_description::<Beacon>();
    let test = Harness::<Beacon>::new();
    test.start("lan:3").unwrap();
    assert_eq!(test.datagrams(), [("lan".to_owned(), b"xxx".to_vec())]);
    let refusal = test.start("lan:1473").unwrap_err();
    assert!(refusal.message().contains("at most 1472"), "{refusal}");
    for endpoint in ["api:1", "nowhere:1"] {
        let message = failure(|| drop(Harness::<Beacon>::new().start(endpoint)));
        assert!(message.contains("the description requests no endpoint"), "{message}");
    }
}

/// Calls the method that the handle names, and attaches `one`.
struct Caller;

impl Provider for Caller {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        let daemon = crate::EndpointWish::new("daemon", "answers").rules(["/test.v1.Echo/*"]);
        Description::new("caller", "1.0.0", "calls")
            .endpoint(daemon)
            .network(crate::NetworkWish::new("lan", "gives addresses"))
            .abilities([Ability::Watch])
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        let call = grpc::Call::new("daemon", &target.handle).metadata("test-name", "value");
        let said = String::from_utf8(call.message("hello").unary()?).unwrap();
        let attachment = Attachment {
            network: "lan".into(),
            container: "one".into(),
            namespace: "/proc/7/ns/net".into(),
            interface: "eth0".into(),
            address: None,
        };
        let addresses = network::add(&attachment)?.join(" ");
        Ok(Observation::missing(&target.handle).with_detail(format!("{said} {addresses}")))
    }

    fn stop(&self, target: &crate::Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        let call = grpc::Call::new("daemon", "/test.v1.Echo/Say").metadata("authorization", "mine");
        call.unary().map(|_| Observation::missing(&target.handle))
    }

    fn watch(&self) -> Result<()> {
        let mut messages = grpc::Call::new("daemon", "/test.v1.Echo/Tell").stream()?;
        while let Some(message) = messages.next()? {
            let handle = String::from_utf8(message).unwrap();
            crate::events::emit(Observation::missing(handle));
        }
        Err(Error::unavailable("the stream has ended"))
    }
}

#[test]
fn grpc_and_network_calls_are_scripted() {
    check_description::<Caller>();
    let test = Harness::<Caller>::new();
    test.expect_call("daemon", "/test.v1.Echo/Say", Answer::message("hi"));
    test.expect_network("lan", "ADD one", Ok(vec!["10.0.0.2".into()]));
    let seen = test.start("/test.v1.Echo/Say").unwrap();
    assert_eq!(seen.detail.as_deref(), Some("hi 10.0.0.2"));
    assert_eq!(test.calls()[0].message, b"hello");
    assert_eq!(test.attachments()[0].namespace, "/proc/7/ns/net");

    test.expect_call("daemon", "/test.v1.Echo/Say", Answer::status(5, "no such task"));
    let error = test.start("/test.v1.Echo/Say").unwrap_err();
    assert_eq!((error.code(), grpc::status(&error)), (&ErrorCode::NotFound, Some(5)));

    let answer = Answer::message("a").then("b").stays_open();
    test.expect_call("daemon", "/test.v1.Echo/Tell", answer);
    let watched = test.watch();
    assert_eq!(watched.reports.len(), 2);
    assert!(watched.error.is_none());
}

/// Attaches to a network that it does not request; a setting without a schema names another one.
struct Intruder;

impl Provider for Intruder {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        let network = crate::NetworkWish::new("lan", "gives addresses").named_by("bridge");
        Description::new("intruder", "1.0.0", "goes astray").network(network)
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        let attachment = Attachment {
            network: "wan".into(),
            container: "one".into(),
            namespace: "/proc/7/ns/net".into(),
            interface: "eth0".into(),
            address: None,
        };
        network::add(&attachment)?;
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &crate::Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

#[test]
fn an_unrequested_network_fails_the_test() {
    let message = failure(|| drop(Harness::<Intruder>::new().start("one")));
    assert!(message.contains("network \"wan\": the description requests no network"), "{message}");
    let message = failure(check_description::<Intruder>);
    assert!(message.contains("there is no setting"), "{message}");
}

#[test]
fn a_grpc_call_that_the_host_would_refuse_fails_the_test() {
    let message = failure(|| drop(Harness::<Caller>::new().start("/test.v1.Other/Say")));
    assert!(message.contains("no rule of the description"), "{message}");
    let message = failure(|| drop(Harness::<Caller>::new().status("x")));
    assert!(message.contains("refuses the metadata \"authorization\""), "{message}");
}

#[test]
fn an_unmet_expectation_fails_the_test() {
    let message = failure(|| {
        Harness::<Door>::new().expect("lock", "GET /doors/a", Reply::status(200));
    });
    assert!(message.contains("GET /doors/a"), "{message}");
}

#[test]
fn a_valid_description_passes_and_errors_are_reported() {
    check_description::<Door>();
}

/// Sends a request with the path and the header that the handle names.
struct Sender;

impl Provider for Sender {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        let api = crate::EndpointWish::new("api", "is asked").rules(["GET /x?a=*"]);
        Description::new("sender", "1.0.0", "sends").endpoint(api)
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        let (path, header) = target.handle.split_once(' ').unwrap();
        crate::Endpoint::new("api").get(path).header(header, "v").send()?;
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &crate::Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &crate::Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

#[test]
fn a_request_that_the_host_refuses_fails_the_test() {
    let test = Harness::<Sender>::new();
    test.expect("api", "GET /x?a=1", Reply::status(200));
    test.start("/x?a=1 accept").unwrap();
    for (handle, why) in [
        ("/x?b=1 accept", "no rule of the description"),
        ("/x?a=1&a=2 accept", "no rule of the description"),
        ("/x?a=1&b=2 accept", "no rule of the description"),
        ("/x/../y accept", "the host refuses it: it contains a dot segment"),
        ("/x x-http-method-override", "the host refuses the header"),
        ("/x authorization", "the host refuses the header"),
    ] {
        let message = failure(|| drop(Harness::<Sender>::new().start(handle)));
        assert!(message.contains(why), "{handle}: {message}");
    }
}

#[test]
fn sleep_advances_the_virtual_clock() {
    let test = Harness::<Silent>::new();
    test.run(|| {
        let deadline = clock::Deadline::after(Duration::from_secs(60));
        let before = clock::since_epoch();
        clock::sleep(Duration::from_secs(59));
        assert_eq!(deadline.left(), Some(Duration::from_secs(1)));
        clock::sleep(Duration::from_secs(1));
        assert_eq!(deadline.left(), None);
        assert_eq!(clock::since_epoch() - before, Duration::from_secs(60));
    });
}

#[test]
fn logs_and_memo_are_recorded() {
    let test = Harness::<Silent>::new();
    test.run(|| {
        warn!(container = "web", tries = 2; "it is {}", "slow");
        assert!(memo::set("k", "v"));
        assert!(!memo::set("k", vec![0; 20 << 10]));
        assert_eq!(memo::text("k").as_deref(), Some("v"));
        memo::delete("k");
    });
    assert_eq!(test.memo("k"), None);
    let logged = test.logs().remove(0);
    assert_eq!((logged.level, logged.message.as_str()), (crate::log::Level::Warn, "it is slow"));
    assert_eq!(logged.fields[1], crate::Attribute::new("tries", "2"));
}

#[test]
fn a_stopped_process_receives_a_signal_when_it_continues() {
    let test = Harness::<Silent>::new();
    test.grant("app", Program::new());
    test.run(|| {
        let process = Command::new("app").spawn().unwrap();
        process.signal("SIGSTOP").unwrap();
        process.signal("SIGTERM").unwrap();
        assert_eq!(process.wait(Duration::from_secs(1)), Ok(crate::command::State::Paused));
        process.signal("SIGCONT").unwrap();
        assert_eq!(process.wait(Duration::ZERO), Ok(crate::command::State::Exited(143)));
    });
    assert_eq!(test.elapsed(), Duration::from_secs(1));
}
