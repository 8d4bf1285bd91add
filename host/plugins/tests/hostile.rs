//! Misbehaving guests: their faults are contained and their causes named.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::time::{Duration, Instant};

use drowse_core::{ErrorCode, Failure, Provider as _, ProviderEvent};
use drowse_plugins::settings::{EndpointGrant, Secret, Transport};
use serde_json::json;
use support::{Echo, Stage, another, grant, hostile, settings, start, stop, target, until};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(300);

/// The failure of one misbehaviour, with every grant that it could need.
async fn failure_of(handle: &str) -> (Failure, drowse_core::ProviderState) {
    let stage = Stage::new();
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            settings.endpoints.insert("engine".into(), grant(&echo.socket));
        })
        .await;
    assert_eq!(provider.state().cause, None, "no fault yet");
    let failure = start(&provider, handle).await.expect_err("a misdeed fails");
    // The next call gets a new instance.
    start(&provider, "good:127.0.0.1:80").await.expect("others are served");
    (failure, provider.state())
}

fn assert_fault(
    (failure, state): (Failure, drowse_core::ProviderState),
    code: ErrorCode,
    words: &str,
) {
    assert_eq!(failure.code, code, "{failure}");
    assert!(failure.message.starts_with("provider \"hostile\": start "), "{failure}");
    assert!(failure.message.contains(words), "{failure}");
    assert_eq!(state.faults, 1);
    let cause = state.cause.expect("the state names the cause");
    assert!(cause.contains(words) && cause.contains(" ago)"), "{cause}");
    assert!(state.usable);
}

fn assert_refused((failure, state): (Failure, drowse_core::ProviderState), words: &str) {
    assert_eq!(failure.code, ErrorCode::Denied, "{failure}");
    assert!(failure.message.contains(words), "{failure}");
    assert_eq!(failure.message.matches("provider \"hostile\"").count(), 1, "{failure}");
    assert_eq!(state.faults, 0, "a refusal is not a fault");
    assert!(state.cause.expect("the state names the refusal").contains(words));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_at_the_cpu_limit() {
    assert_fault(
        failure_of("loop").await,
        ErrorCode::Internal,
        "the plugin used up its 200 ms of CPU time",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computing_in_short_bursts_ends_at_the_cpu_limit() {
    assert_fault(failure_of("pieces").await, ErrorCode::Internal, "used up its 200 ms of CPU");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_hoards_memory_leaves_others_their_guaranteed_share() {
    const CEILING: u64 = 64 << 20;
    let stage = Stage::new();
    let plugins = Stage::open_as(stage.dir.path(), |config| config.limits.memory = CEILING);
    let echo = Echo::new(stage.dir.path());
    let named = |name: &str| {
        let mut settings = settings();
        settings.name = name.to_owned().try_into().unwrap();
        // Held until the test ends the calls.
        settings.limits.wall = LONG;
        let engine = EndpointGrant { timeout: LONG, ..grant(&echo.socket) };
        settings.endpoints.insert("engine".into(), engine);
        settings
    };
    let (greedy, good) = (plugins.provider(named("greedy")).await, named("good"));
    let good = plugins.provider(good).await;

    // A quarter of the limit is the other provider's guaranteed share.
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let greedy = greedy.clone();
        calls.spawn(async move { start(&greedy, "hold:20").await });
        echo.held().await;
    }
    let failure = start(&greedy, "hold:20").await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable, "{failure}");
    let words = "all plugin calls together may use 64 MiB (plugin-limits.memory)";
    assert!(failure.message.contains(words), "{failure}");
    start(&good, "good:127.0.0.1:80").await.expect("others are served");

    // Ended calls release their memory to waiting calls.
    calls.spawn({
        let greedy = greedy.clone();
        async move { start(&greedy, "hold:20").await }
    });
    for _ in 0..3 {
        echo.release();
        calls.join_next().await.unwrap().unwrap().expect("it was held and has ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_below_their_cpu_limit_wait_for_the_provider_budget() {
    let stage = Stage::new();
    let provider = stage
        .provider(|settings| {
            settings.limits.cpu = Duration::from_millis(20);
            settings.limits.wall = Duration::from_millis(100);
        })
        .await;
    // Each uses its 20 ms, or more if a tick is late. On a busy machine one may reach the wall
    // limit before.
    let refused = loop {
        let failure = start(&provider, "loop").await.unwrap_err();
        if failure.code == ErrorCode::Unavailable {
            break failure;
        }
        assert!(provider.state().faults < 1000, "the calls are not charged: {failure}");
    };
    assert!(
        refused.message.contains("a tenth of the elapsed time as CPU time (limits.cpu-time)"),
        "{refused}"
    );
    assert!(provider.state().faults >= 2, "together they may use more at once than one of them");
    let served = async { while start(&provider, "good:127.0.0.1:80").await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), served).await.expect("it is paid for in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_bomb_ends_at_the_memory_limit() {
    assert_fault(
        failure_of("memory").await,
        ErrorCode::Internal,
        "used more than 64 MiB of memory",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_recursion_ends_at_the_stack_limit() {
    assert_fault(failure_of("stack").await, ErrorCode::Internal, "overflow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_log_ends_at_the_cpu_limit() {
    assert_fault(failure_of("log").await, ErrorCode::Internal, "used up its 200 ms of CPU");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_response_ends_at_the_response_limit() {
    assert_fault(
        failure_of("response").await,
        ErrorCode::Internal,
        "read a response larger than 16 MiB",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_reported_with_message_and_location() {
    assert_fault(failure_of("panic").await, ErrorCode::Internal, "panicked: no such luck (at ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_responses_are_limited() {
    let (failure, _) = failure_of("hoard").await;
    assert!(failure.message.contains("too many responses are open"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ungranted_endpoint_is_refused_with_the_line_to_add() {
    assert_refused(
        failure_of("ungranted").await,
        "endpoint \"nowhere\" is not granted: add to [provider.hostile]: endpoint.nowhere = { url = ",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_are_sent_only_to_endpoints_granted_for_them() {
    let card = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = card.local_addr().unwrap().port();
    let stage = Stage::new();
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            let mut lan = grant(&echo.socket);
            lan.transport = Transport::Udp { host: "127.0.0.1".into(), port };
            settings.endpoints.insert("lan".into(), lan);
            settings.endpoints.insert("engine".into(), grant(&echo.socket));
        })
        .await;
    start(&provider, "datagram:lan:1472").await.unwrap();
    let mut heard = [0; 2048];
    let (size, _) = card.recv_from(&mut heard).await.unwrap();
    assert_eq!(heard[..size], [b'x'; 1472]);

    let too_large = start(&provider, "datagram:lan:1473").await.unwrap_err();
    assert_eq!(too_large.code, ErrorCode::InvalidRequest, "{too_large}");
    for (endpoint, words) in [
        (
            "engine",
            "\"engine\" takes http, not datagrams, according to its url: change in [provider.hostile]: \
                    endpoint.engine = { url = \"udp://host:port\" }",
        ),
        (
            "nowhere",
            "\"nowhere\" is not granted: add to [provider.hostile]: \
                     endpoint.nowhere = { url = \"udp://host:port\" }",
        ),
    ] {
        let refusal = start(&provider, &format!("datagram:{endpoint}:1")).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Denied, "{refusal}");
        assert!(refusal.message.contains(words), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_to_a_datagram_endpoint_is_refused_with_the_line_to_change() {
    let stage = Stage::new();
    let provider = stage
        .provider(|settings| {
            let mut engine = grant(std::path::Path::new("unused"));
            engine.transport = Transport::Udp { host: "127.0.0.1".into(), port: 9 };
            settings.endpoints.insert("engine".into(), engine);
        })
        .await;
    let refusal = start(&provider, "get:/small").await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::Denied, "{refusal}");
    let words = "\"engine\" takes datagrams, not http, according to its url: change in [provider.hostile]: \
                 endpoint.engine = { url = \"unix:///run/engine.sock\" }";
    assert!(refusal.message.contains(words), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ungranted_command_is_refused_with_the_line_to_add() {
    assert_refused(failure_of("command").await, "add to [provider.hostile]: command.sh = { run = ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_set_by_the_guest_are_refused() {
    assert_refused(
        failure_of("authorization").await,
        "header \"Authorization\" on endpoint \"engine\" is refused",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_change_routing_or_framing_are_refused() {
    let stage = Stage::new();
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            settings.endpoints.insert("engine".into(), grant(&echo.socket));
        })
        .await;
    for header in [
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /",
        "X-Rewrite-URL: /",
        "Cookie: a=b",
        "Host: elsewhere",
        "Connection: upgrade",
        "Transfer-Encoding: chunked",
        "Content-Length: 0",
        "X-Forwarded-For: 127.0.0.1",
    ] {
        let failure = start(&provider, &format!("header:{header}")).await.expect_err(header);
        assert_eq!(failure.code, ErrorCode::Denied, "{header}: {failure}");
    }
    let sent = start(&provider, "header:If-None-Match: \"x\"").await.unwrap().detail.unwrap();
    assert!(sent.contains("if-none-match: "), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_no_rule_allows_is_refused() {
    let stage = Stage::new();
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            settings.endpoints.insert("engine".into(), grant(&echo.socket));
        })
        .await;
    // Old engines configured a container by the body of its start request.
    let failure = start(&provider, "body:/v1.23/containers/a/start").await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Denied, "{failure}");
    let add = "\"POST+body /*/containers/*/start\"";
    assert!(failure.message.contains(add), "{failure}");
    start(&provider, "bodiless:/v1.23/containers/a/start").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_during_describe_or_configure_are_a_fault() {
    for (misdeed, words) in [
        ("sleep", "called clock.sleep in describe or configure, which may not call it"),
        ("http", "called http.send in describe or configure, which may not call it"),
        ("command", "called command.changes in describe or configure, which may not call it"),
        ("emit", "called events.synced in describe or configure, which may not call it"),
    ] {
        let stage = Stage::new();
        let provider =
            stage.provider(|settings| settings.settings = json!({ "inside": misdeed })).await;
        let state = provider.state();
        assert!(!state.usable, "{misdeed}");
        assert!(state.cause.as_ref().unwrap().contains(words), "{:?}", state.cause);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_answer_is_a_fault() {
    assert_fault(
        failure_of("labels").await,
        ErrorCode::Internal,
        "answered with an observation of more than 256 KiB",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_outside_the_reach_are_dropped() {
    let stage = Stage::new();
    let provider = stage.provider(|_| {}).await;
    let started = start(&provider, "good:169.254.169.254:80").await.unwrap();
    assert!(started.addresses.is_empty());
    let cause = provider.state().cause.unwrap();
    assert!(cause.contains("a target at 169.254.169.254:80 is refused"), "{cause}");
    let started = start(&provider, "good:8.8.8.8:80").await.unwrap();
    assert!(started.addresses.is_empty());
    let cause = provider.state().cause.unwrap();
    assert!(
        cause.contains("add to [provider.hostile]: allow-addresses = [\"8.8.8.8\"]"),
        "{cause}"
    );
    let wider =
        stage.provider(|settings| settings.reach = Some(vec!["8.8.8.0/24".parse().unwrap()])).await;
    assert_eq!(start(&wider, "good:8.8.8.8:80").await.unwrap().addresses.len(), 1);
    assert!(start(&wider, "good:127.0.0.1:80").await.unwrap().addresses.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_refused_as_targets_in_any_notation() {
    let stage = Stage::new();
    let named = |settings: &mut drowse_plugins::settings::ProviderSettings| {
        let mut grant = grant(std::path::Path::new("/"));
        // Resolvers parse this name as 127.0.0.1 without any network access.
        grant.transport = Transport::Http { host: "127.1".into(), port: 2375 };
        settings.endpoints.insert("engine".into(), grant);
    };
    let owner = stage.provider(named).await;
    let other = stage.provider(|settings| settings.name = "other".to_owned().try_into().unwrap());
    for provider in [owner, other.await] {
        assert!(start(&provider, "good:127.0.0.1:2375").await.unwrap().addresses.is_empty());
        let cause = provider.state().cause.unwrap();
        assert!(cause.contains("it is an endpoint of provider \"hostile\""), "{cause}");
        assert_eq!(start(&provider, "good:127.0.0.1:2374").await.unwrap().addresses.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_checked_by_its_actual_address() {
    let stage = Stage::new();
    let provider = stage
        .provider(|settings| {
            let mut grant = grant(std::path::Path::new("/"));
            grant.transport = Transport::Http { host: "127.0.0.1".into(), port: 2375 };
            settings.endpoints.insert("engine".into(), grant);
            settings.settings = json!({ "host": "box.lan" });
        })
        .await;
    stage.plugins.set_listeners(vec!["0.0.0.0:8080".parse().unwrap()]);
    let dial = async |host: &str, address: &str| {
        provider.check_dial(&target("blog"), host, address.parse().unwrap()).await
    };
    assert_eq!(dial("127.0.0.1", "127.0.0.1:80").await, Ok(()));
    assert_eq!(dial("box.lan", "192.0.2.7:80").await, Ok(()));
    assert_eq!(provider.state().cause, None);
    for (host, address, words) in [
        ("127.0.0.1", "127.0.0.1:2375", "it is an endpoint of provider \"hostile\""),
        ("::ffff:127.0.0.1", "127.0.0.1:2375", "it is an endpoint of provider \"hostile\""),
        ("127.0.0.1", "127.0.0.1:8080", "the router itself listens at 0.0.0.0:8080"),
        ("box.lan", "169.254.169.254:80", "which gives out secrets"),
        ("fd20:ce::254", "[fd20:ce::254]:80", "which gives out secrets"),
        (
            "other.lan",
            "10.0.0.1:80",
            "add to [provider.hostile]: allow-addresses = [\"other.lan\"]",
        ),
    ] {
        let refusal = dial(host, address).await.unwrap_err();
        assert!(refusal.contains(words), "{host} {address}: {refusal}");
        let cause = provider.state().cause.unwrap();
        assert!(cause.contains("connect to blog: ") && cause.contains(words), "{cause}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn path_tricks_are_refused() {
    let stage = Stage::new();
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            settings.endpoints.insert("engine".into(), grant(&echo.socket));
        })
        .await;
    let read = start(&provider, "get:/containers/a/json").await.unwrap().detail.unwrap();
    assert!(read.starts_with("GET /containers/a/json HTTP/1.1\\r\\n"), "{read}");
    for trick in [
        "/containers/../json",
        "/containers/a/../../endless/json",
        "/containers/%2e%2e/json",
        "/containers/a%2fb/json",
        "/containers//json",
        "/containers/a\\b/json",
        "/containers/a/json/",
        "/containers/a\r\nX: y/json",
        "//elsewhere/containers/a/json",
        "/containers/%252e%252e/json",
        "http://elsewhere/containers/a/json",
    ] {
        let failure = start(&provider, &format!("path:{trick}")).await.expect_err(trick);
        assert_eq!(failure.code, ErrorCode::Denied, "{trick}: {failure}");
        assert!(failure.message.contains("is refused: it"), "{trick}: {failure}");
    }
    let failure = start(&provider, "path:/containers/a/exec").await.unwrap_err();
    assert!(failure.message.contains("\"GET /containers/*/exec\""), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_in_stop_ends_at_the_wall_limit_and_the_grace() {
    let stage = Stage::new();
    let provider =
        stage.provider(|settings| settings.limits.wall = Duration::from_millis(200)).await;
    start(&provider, "hang-in-stop:127.0.0.1:80").await.unwrap();
    let began = Instant::now();
    let grace = Duration::from_millis(100);
    let failure = stop(&provider, "hang-in-stop:127.0.0.1:80", grace).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Timeout);
    assert!(failure.message.contains("did not answer within 300 ms"), "{failure}");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(provider.state().faults, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinning_guests_let_others_run() {
    let stage = Stage::new();
    let provider = stage
        .provider(|settings| {
            settings.limits.cpu = Duration::from_secs(2);
            // A busy machine schedules guests slowly.
            settings.limits.wall = Duration::from_secs(120);
        })
        .await;
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let provider = provider.clone();
            tokio::spawn(async move { start(&provider, "loop").await })
        })
        .collect();
    let mut served = 0;
    while !spinning.iter().all(|spin| spin.is_finished()) {
        start(&provider, "good:127.0.0.1:80").await.unwrap();
        served += 1;
    }
    for spin in spinning {
        let failure = spin.await.unwrap().unwrap_err();
        assert!(failure.message.contains("CPU time"), "{failure}");
    }
    // Two workers and four spinning guests that yield every 10 ms and run for 2 s each.
    assert!(served >= 20, "only {served} calls were served beside spinning guests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_ends_and_releases_its_permit() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.limits.calls = 1).await;
    let hanging = tokio::time::timeout(Duration::from_millis(50), start(&provider, "hang")).await;
    assert!(hanging.is_err());
    start(&provider, "good:127.0.0.1:80").await.expect("the only turn is free again");
    assert_eq!(provider.state().faults, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_the_pool_has_slots_are_served() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.limits.calls = 100).await;
    let calls = (0..100).map(|_| start(&provider, "slow:100:127.0.0.1:80"));
    let began = Instant::now();
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "they ran concurrently");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_limit_above_the_pool_slot_size_applies() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.limits.memory = 128 << 20).await;
    let failure = start(&provider, "memory").await.unwrap_err();
    assert!(failure.message.contains("used more than 128 MiB of memory"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_guest_keeps_its_code_and_message() {
    let (failure, state) = failure_of("error").await;
    assert_eq!(failure.code, ErrorCode::Conflict);
    assert_eq!(failure.message, "provider \"hostile\": start error: another operation is running");
    assert_eq!((state.faults, state.cause), (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_socket_is_named_to_the_operator_only() {
    let stage = Stage::new();
    let socket = stage.path("nobody.sock");
    let provider = stage
        .provider(|settings| {
            settings.endpoints.insert("engine".into(), grant(&socket));
        })
        .await;
    let failure = start(&provider, "get:/small").await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
    let place = format!(
        "endpoint \"engine\" at unix://{} cannot be reached: No such file",
        socket.display()
    );
    assert!(failure.message.contains(&place), "{failure}");
    // The guest returns the message that it received.
    let message = start(&provider, "tell:/small").await.unwrap().detail.unwrap();
    assert_eq!(message, "endpoint \"engine\" cannot be reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_adds_its_headers_and_base() {
    let stage = Stage::new();
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            let mut grant = grant(&echo.socket);
            grant.base = "/api".into();
            grant.headers.push(("X-API-Key".into(), Secret::Literal("s3cret".into())));
            settings.endpoints.insert("engine".into(), grant);
        })
        .await;
    let request = start(&provider, "get:/small").await.unwrap().detail.unwrap();
    assert!(request.starts_with("GET /api/small HTTP/1.1\\r\\n"), "{request}");
    assert!(request.contains("x-api-key: s3cret\\r\\n"), "{request}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_rules_or_requirements_allows_nothing() {
    let stage = Stage::new();
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            let mut grant = grant(&echo.socket);
            assert!(matches!(grant.transport, Transport::Unix(_)));
            grant.rules = Some(Vec::new());
            settings.endpoints.insert("engine".into(), grant.clone());
            grant.rules = None;
            settings.endpoints.insert("nowhere".into(), grant);
        })
        .await;
    let failure = start(&provider, "get:/small").await.unwrap_err();
    assert!(failure.message.contains("\"GET /small\","), "{failure}");
    let failure = start(&provider, "ungranted").await.unwrap_err();
    assert!(failure.message.contains("the plugin does not declare its rules there"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_in_a_crash_loop_is_slowed_down_and_reported() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.settings = json!({ "watch": "trap" })).await;
    let mut events = provider.watch();
    for _ in 0..5 {
        assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
    }
    until("the state has the cause", || {
        provider.state().cause.is_some_and(|cause| cause.contains("every 30 s"))
    })
    .await;
    let state = provider.state();
    assert_eq!(state.faults, 5);
    assert!(state.cause.unwrap().contains("panicked: watching is boring"));
    start(&provider, "good:127.0.0.1:80").await.expect("calls are served all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_returns_an_error_is_restarted_without_a_fault() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.settings = json!({ "watch": "error" })).await;
    let mut events = provider.watch();
    for _ in 0..3 {
        assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
    }
    // Until the next watch has reached the platform.
    let cause = || provider.state().cause.unwrap_or_default();
    until("the cause is set", || cause().contains("watch: the platform is away")).await;
    assert_eq!(provider.state().faults, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsupported_watch_is_not_restarted_until_the_plugin_is_replaced() {
    let stage = Stage::new();
    stage.drop_in("hostile.wasm", hostile());
    let settings = json!({ "watch": "unsupported" });
    let provider = stage.provider(|own| own.settings = settings).await;
    let mut events = provider.watch();
    for mark in 1..4 {
        assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
        let cause = || provider.state().cause.unwrap_or_default();
        until("the cause is set", || cause().contains("changes are not watched until")).await;
        assert!(cause().starts_with("watch: not even that; "), "{}", cause());
        assert!(!cause().contains("ago)"), "a current problem has no age: {}", cause());
        // Loading takes longer than the pause before a restart would.
        assert!(events.try_recv().is_err(), "it started once per plugin");
        stage.drop_in("hostile.wasm", &another(hostile(), mark));
    }
    assert_eq!(provider.state().faults, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_receiver_is_dropped_is_not_a_fault() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.settings = json!({ "watch": "flood" })).await;
    for _ in 0..200 {
        // It is emitting an event.
        let mut events = provider.watch();
        events.recv().await.expect("it emits events");
    }
    // The next watch starts after the others have been dropped.
    provider.watch().recv().await.expect("it emits events");
    assert_eq!((provider.state().faults, provider.state().cause), (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_configure_keeps_its_code() {
    let stage = Stage::new();
    let refused = |settings| {
        let own = drowse_plugins::settings::ProviderSettings { settings, ..support::settings() };
        stage.plugins.configured(own)
    };
    let failure = refused(json!({ "refuse": true })).await.err().unwrap();
    assert_eq!(failure.code, ErrorCode::InvalidRequest, "{failure}");
    assert!(failure.message.contains("\"refuse\" is not welcome"), "{failure}");
    let failure = refused(json!({ "inside": "http" })).await.err().unwrap();
    assert_eq!(failure.code, ErrorCode::Internal, "{failure}");
    assert!(failure.message.contains("describe or configure, which may not call it"), "{failure}");
    assert!(refused(json!({})).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn synced_events_of_watch_are_limited_to_one_a_second() {
    let stage = Stage::new();
    let provider =
        stage.provider(|settings| settings.settings = json!({ "watch": "resync" })).await;
    let mut events = provider.watch();
    assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
    let first = Instant::now();
    for _ in 0..2 {
        assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
    }
    assert!(first.elapsed() >= Duration::from_millis(1500), "{:?}", first.elapsed());
    assert_eq!(provider.state().faults, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emit_waits_while_the_event_channel_is_full() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.settings = json!({ "watch": "flood" })).await;
    let mut events = provider.watch();
    assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
    for _ in 0..1000 {
        assert!(matches!(events.recv().await, Some(ProviderEvent::Changed(_))));
    }
    // Events are not read: the guest waits, and the provider serves calls.
    let emitted = || async {
        let seen = provider.status(&target("emitted")).await.unwrap();
        seen.detail.unwrap().parse::<u64>().unwrap()
    };
    let mut before = emitted().await;
    let still = async {
        // The channel between the guest and its reader fills first.
        loop {
            start(&provider, "slow:50:127.0.0.1:80").await.unwrap();
            let now = emitted().await;
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let waits_at = tokio::time::timeout(Duration::from_secs(30), still).await.expect("it waits");
    assert!((1000..1200).contains(&waits_at), "it emitted {waits_at} events with 1,000 read");
    for _ in 0..10 {
        assert!(matches!(events.recv().await, Some(ProviderEvent::Changed(_))));
    }
    assert_eq!(provider.state().faults, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_exec_is_truncated_to_the_contract_s_limits() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.limits.memory = 128 << 20).await;
    let command = ["sh".to_owned(), "-c".to_owned()];
    let exit = provider.exec(&target("any"), &command).await.unwrap();
    assert_eq!((exit.status, exit.output.len()), (2, 100));
    assert!(exit.output[99].starts_with("999\\u{1b}[31mxxx"), "{}", &exit.output[99][..20]);
    assert!(exit.output.iter().all(|line| line.len() <= (4 << 10) + "…".len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_exec_ends_at_the_wall_limit() {
    let stage = Stage::new();
    let provider =
        stage.provider(|settings| settings.limits.wall = Duration::from_millis(200)).await;
    let failure = provider.exec(&target("hang"), &["true".to_owned()]).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Timeout);
    assert!(failure.message.contains("exec hang: the plugin did not answer"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_usage_figures_are_dropped() {
    let stage = Stage::new();
    let provider = stage.provider(|_| {}).await;
    for (handle, percent) in
        [("good", Some(12.5)), ("endless", None), ("negative", None), ("nan", None)]
    {
        let usage = provider.usage(&target(handle)).await.unwrap();
        assert_eq!((usage.cpu_percent, usage.memory), (percent, Some(u64::MAX)), "{handle}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_workload_starts_and_stops() {
    let stage = Stage::new();
    let provider = stage.provider(|_| {}).await;
    let handle = "good:127.0.0.1:8080";
    let before = provider.status(&target(handle)).await.unwrap();
    assert_eq!(before.status, drowse_core::Status::Stopped);
    let started = start(&provider, handle).await.unwrap();
    assert_eq!(started.addresses[0].socket(8080), Some(("127.0.0.1", 8080)));
    assert_eq!(
        provider.status(&target(handle)).await.unwrap().status,
        drowse_core::Status::Running
    );
    let stopped = stop(&provider, handle, Duration::ZERO).await.unwrap();
    assert_eq!((stopped.status, stopped.addresses.len()), (drowse_core::Status::Stopped, 0));
}
