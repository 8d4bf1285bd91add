//! Access control: authentication, wake rules and limits, client addresses.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{path::PathBuf, time::Duration};

use common::{Backend, GET, LAST_GET, OK, Plan, Router, Wire, until, within};
use drowse_core::{Cause, Force, OperationKind, Phase, Trigger};
use drowse_proxy::HttpLimits;
use drowse_routes::{
    Auth, AuthKind, BasicAuth, ForwardAuth, Waiting, WakeRules,
    rules::{Bots, HealthCheck, PathGlob, Rate, WakeLimits},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, sync::mpsc, task::JoinSet};

const HOUR: Duration = Duration::from_secs(3600);

/// A GET with these header lines, after which the connection closes.
fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n{lines}\r\n")
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).expect(answer)
}

async fn router_with(wake: WakeRules) -> (Backend, mpsc::Receiver<String>, Router) {
    let (backend, requests) = Backend::answering(OK).await;
    let router = Plan { wake, ..Plan::new(backend.address) }.run();
    (backend, requests, router)
}

async fn put_to_sleep(router: &Router) {
    let cause = Cause::new(Trigger::Cli);
    router.engine.sleep("app", cause, Force::Drain).unwrap();
    router.phase(Phase::Asleep).await;
}

fn loopback_trusted() -> Vec<ipnet::IpNet> {
    vec!["127.0.0.0/8".parse().unwrap()]
}

fn only_from(network: &str) -> WakeRules {
    WakeRules { from: vec![network.parse().unwrap()], ..WakeRules::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_not_wake_gets_403_while_asleep_and_passes_while_awake() {
    let paths = vec![PathGlob::parse("/login").unwrap()];
    let (_backend, _requests, router) =
        router_with(WakeRules { paths, ..WakeRules::default() }).await;
    let refused = router.ask(&get("/other", "")).await;
    assert_eq!(status(&refused), 403, "{refused}");
    assert!(refused.contains("This path may not wake app."), "{refused}");
    assert!(refused.contains("\"code\":\"may-not-wake\""), "{refused}");
    assert_eq!((router.fake.starts(), router.visits()), (0, 0));
    assert_eq!(router.workload.snapshot().phase, Phase::Asleep);

    assert_eq!(status(&router.ask(&get("/login", "")).await), 200);
    assert_eq!(status(&router.ask(&get("/other", "")).await), 200);
    put_to_sleep(&router).await;
    assert_eq!(status(&router.ask(&get("/other", "")).await), 403);
    assert_eq!(router.fake.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_not_wake_joins_a_wake_in_progress() {
    let methods = vec!["POST".to_owned()];
    let wake = WakeRules { methods, ..WakeRules::default() };
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan { wake, eager: false, ..Plan::new(backend.address) }.run();
    assert_eq!(status(&router.ask(LAST_GET).await), 403);
    let post = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n";
    let mut waker = router.connect().await;
    waker.send(post).await;
    router.phase(Phase::Waking).await;
    let mut joiner = router.connect().await;
    joiner.send(GET).await;
    until(|| router.workload.waiting() == 2).await;
    router.fake.may_start.add_permits(1);
    for wire in [&mut waker, &mut joiner] {
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_gets_a_local_response_while_asleep_and_reaches_an_awake_backend() {
    let check = HealthCheck {
        path: Some(PathGlob::parse("/healthz").unwrap()),
        agent: None,
        status: 204,
        counts_as_visit: false,
    };
    let wake = WakeRules { health_checks: vec![check], ..WakeRules::default() };
    let backend = Backend::new(|mut wire| async move {
        while wire.try_head().await.is_some() {
            wire.send(OK).await;
        }
    })
    .await;
    let idle = Some(Duration::from_millis(300));
    let router = Plan { wake, idle, ..Plan::new(backend.address) }.run();
    let answer = router.ask(&get("/healthz", "")).await;
    assert_eq!(status(&answer), 204, "{answer}");
    assert_eq!((router.fake.starts(), backend.accepted()), (0, 0));

    assert_eq!(status(&router.ask(LAST_GET).await), 200);
    assert!(router.ask(&get("/healthz", "")).await.ends_with("hi"), "the backend's response");
    // Health checks at a fraction of the idle time do not keep it awake.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut asleep = router.workload.watch();
    let slept = async { asleep.wait_for(|now| now.phase == Phase::Asleep).await.map(drop) };
    tokio::pin!(slept);
    let check = get("/healthz", "");
    within(async {
        loop {
            tokio::select! {
                biased;
                slept = &mut slept => return slept.unwrap(),
                _ = pace.tick() => {
                    let answer = router.ask(&check).await;
                    assert!([200, 204].contains(&status(&answer)), "{answer}");
                }
            }
        }
    })
    .await;
    assert_eq!(router.fake.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_requests_of_browsers_and_crawlers_do_not_wake() {
    let (_backend, _requests, router) =
        router_with(WakeRules { bots: Bots::Ignore, ..WakeRules::default() }).await;
    let icon = router.ask(&get("/favicon.ico", "Sec-Fetch-Mode: no-cors\r\n")).await;
    assert_eq!(status(&icon), 404);
    let robots = router.ask(&get("/robots.txt", "")).await;
    assert_eq!(status(&robots), 503);
    assert!(robots.contains("retry-after: "), "{robots}");
    let bot = router.ask(&get("/", "User-Agent: Googlebot/2.1\r\n")).await;
    assert_eq!(status(&bot), 503);
    assert_eq!(router.fake.starts(), 0);
    // A navigation by a person.
    let person = router.ask(&get("/robots.txt", "Sec-Fetch-Mode: navigate\r\n")).await;
    assert_eq!(status(&person), 200, "{person}");
    router.phase(Phase::Ready).await;
    assert!(router.ask(&get("/favicon.ico", "")).await.ends_with("hi"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_the_wake_limit_gets_retry_after() {
    let limits = WakeLimits { all: None, client: Some(Rate { count: 1, per: HOUR }) };
    let (backend, _requests) = Backend::answering(OK).await;
    let wake = WakeRules { limits, ..WakeRules::default() };
    let trust = loopback_trusted();
    let router = Plan { wake, trust, ..Plan::new(backend.address) }.run();
    let by = |client: &str| get("/", &format!("X-Forwarded-For: {client}\r\n"));
    for _ in 0..5 {
        assert_eq!(
            status(&router.ask(&by("192.0.2.1")).await),
            200,
            "an awake workload is not woken, so nothing is counted"
        );
    }
    put_to_sleep(&router).await;
    let refused = router.ask(&by("192.0.2.1")).await;
    assert_eq!(status(&refused), 429, "{refused}");
    let retry = refused.split("retry-after: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let retry: u64 = retry.unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&retry), "{retry}");
    assert!(refused.contains("You have woken app 1 time within 1 hour"), "{refused}");
    assert!(refused.contains("\"code\":\"wake-limit\""), "{refused}");
    assert_eq!(router.fake.starts(), 1);
    assert_eq!(
        status(&router.ask(&by("192.0.2.2")).await),
        200,
        "another client has its own limit"
    );
    assert_eq!(router.fake.starts(), 2);
    assert_eq!(status(&router.ask(&by("192.0.2.1")).await), 200, "the workload is awake now");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_simultaneous_requests_one_is_charged_for_the_wake() {
    let rate = Some(Rate { count: 1, per: HOUR });
    let limits = WakeLimits { all: rate, client: rate };
    let wake = WakeRules { limits, ..WakeRules::default() };
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan { wake, eager: false, ..Plan::new(backend.address) }.run();
    let mut visitors = router.ask_at_once(50, LAST_GET).await;
    until(|| router.workload.waiting() == 50).await;
    router.fake.may_start.add_permits(1);
    while let Some(answer) = within(visitors.join_next()).await {
        assert_eq!(status(&answer.unwrap()), 200);
    }
    assert_eq!(router.fake.starts(), 1);
    put_to_sleep(&router).await;
    let refused = router.ask(LAST_GET).await;
    assert_eq!(status(&refused), 429, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_match_the_client_behind_trusted_proxies_only() {
    let (backend, _requests) = Backend::answering(OK).await;
    let wake = only_from("192.0.2.0/24");
    let plan = Plan { wake: wake.clone(), trust: loopback_trusted(), ..Plan::new(backend.address) };
    let router = plan.run();
    let by = |chain: &str| get("/", &format!("X-Forwarded-For: {chain}\r\n"));
    assert_eq!(status(&router.ask(LAST_GET).await), 403);
    assert_eq!(status(&router.ask(&by("192.0.2.1, 203.0.113.9")).await), 403);
    assert_eq!(router.fake.starts(), 0);
    assert_eq!(status(&router.ask(&by("203.0.113.9, 192.0.2.1, 127.0.0.3")).await), 200);

    let router = Plan { wake, ..Plan::new(backend.address) }.run();
    assert_eq!(status(&router.ask(&by("192.0.2.1")).await), 403, "no proxy is trusted here");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_supplies_the_client_address() {
    let (backend, mut requests) = Backend::answering(OK).await;
    let proxy_protocol = loopback_trusted();
    let wake = only_from("192.0.2.0/24");
    let router = Plan { wake, proxy_protocol, ..Plan::new(backend.address) }.run();
    let line = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 4711 80\r\n{LAST_GET}");
    assert_eq!(status(&router.ask(&line("203.0.113.9")).await), 403);
    assert_eq!(status(&router.ask(&line("192.0.2.1")).await), 200);
    assert!(requests.recv().await.unwrap().contains("x-forwarded-for: 192.0.2.1\r\n"));

    // Version 2, one byte at a time, with an extension and followed by the request.
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10".to_vec();
    binary.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80, 4, 0, 1, 0]);
    binary.extend(LAST_GET.as_bytes());
    let mut wire = router.connect().await;
    wire.0.set_nodelay(true).unwrap();
    for byte in binary {
        wire.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&wire.rest().await), 200);
    assert!(requests.recv().await.unwrap().contains("x-forwarded-for: 192.0.2.7\r\n"));

    // A health check of the proxy itself.
    let own = router.ask(&format!("PROXY UNKNOWN\r\n{LAST_GET}")).await;
    assert_eq!(status(&own), 200);
    assert!(requests.recv().await.unwrap().contains("x-forwarded-for: 127.0.0.1\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_is_required_from_configured_peers_and_refused_from_others() {
    let (backend, _requests) = Backend::answering(OK).await;
    let limits = HttpLimits { head_timeout: Duration::from_millis(300), ..HttpLimits::default() };
    let plan = || Plan { limits: limits.clone(), ..Plan::new(backend.address) };
    let router = Plan { proxy_protocol: loopback_trusted(), ..plan() }.run();
    let mut without = router.connect().await;
    without.send(LAST_GET).await;
    without.closed().await;
    let mut slow = router.connect().await;
    slow.send("PROXY TCP4 192.").await;
    slow.closed().await;
    assert_eq!(router.fake.starts(), 0);

    let router = plan().run();
    let line = format!("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n{LAST_GET}");
    let answer = router.ask(&line).await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(router.fake.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_not_wake_does_not_restart_a_cancelled_wake() {
    let methods = vec!["POST".to_owned()];
    let wake = WakeRules { methods, ..WakeRules::default() };
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan { wake, eager: false, ..Plan::new(backend.address) }.run();
    router.engine.wake("app", Cause::new(Trigger::Cli)).unwrap();
    router.phase(Phase::Waking).await;
    let mut joiner = router.connect().await;
    joiner.send(LAST_GET).await;
    until(|| router.workload.waiting() == 1).await;
    put_to_sleep(&router).await;
    let answer = joiner.rest().await;
    assert_eq!(status(&answer), 403, "{answer}");
    assert_eq!(router.workload.snapshot().phase, Phase::Asleep);
    assert_eq!(router.fake.starts(), 1, "the start of the operator's wake");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_applies_again_when_a_joined_wake_is_cancelled() {
    let limits = WakeLimits { all: Some(Rate { count: 1, per: HOUR }), client: None };
    let wake = WakeRules { limits, ..WakeRules::default() };
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan { wake, eager: false, ..Plan::new(backend.address) }.run();
    let mut visitors = Vec::new();
    router.engine.wake("app", Cause::new(Trigger::Cli)).unwrap();
    router.phase(Phase::Waking).await;
    for _ in 0..2 {
        let mut wire = router.connect().await;
        wire.send(LAST_GET).await;
        visitors.push(wire);
    }
    until(|| router.workload.waiting() == 2).await;
    let cause = Cause::new(Trigger::Cli);
    router.engine.sleep("app", cause, Force::Drain).unwrap();
    // One visitor is charged for the next wake, the other joins it.
    router.fake.may_start.add_permits(100);
    for wire in &mut visitors {
        let answer = wire.rest().await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
    put_to_sleep(&router).await;
    let refused = router.ask(LAST_GET).await;
    assert_eq!(status(&refused), 429, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_requested_while_draining_is_charged_once() {
    let (backend, mut visitors) = (
        Backend::new(|mut wire| async move {
            while let Some(head) = wire.try_head().await {
                if head.contains("/slow") {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslow").await;
                    wire.closed().await;
                    return;
                }
                wire.send(OK).await;
            }
        })
        .await,
        JoinSet::new(),
    );
    let limits = WakeLimits { all: Some(Rate { count: 2, per: HOUR }), client: None };
    let wake = WakeRules { limits, ..WakeRules::default() };
    let router = Plan { wake, ..Plan::new(backend.address) }.run();
    let mut download = router.connect().await;
    download.send(get("/slow", "")).await;
    download.head().await;
    router.engine.sleep("app", Cause::new(Trigger::Cli), Force::Drain).unwrap();
    router.phase(Phase::Draining).await;
    // The first request is charged while draining, the second arrives while stopping.
    for waiting in 1..=2 {
        let mut wire = router.connect().await;
        visitors.spawn(async move {
            wire.send(LAST_GET).await;
            wire.rest().await
        });
        until(|| router.workload.waiting() == waiting).await;
    }
    drop(download);
    while let Some(answer) = within(visitors.join_next()).await {
        let answer = answer.unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert_eq!(router.fake.starts(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_names_the_request_of_a_rate_limited_wake() {
    let limits = WakeLimits { all: Some(Rate { count: 1, per: HOUR }), client: None };
    let (_backend, _requests, router) =
        router_with(WakeRules { limits, ..WakeRules::default() }).await;
    assert_eq!(status(&router.ask(LAST_GET).await), 200);
    let entries = router.engine.journal().recent(Some("app"), 10);
    let woken = entries.iter().find(|entry| entry.kind == OperationKind::Wake).unwrap();
    assert_eq!(woken.reference.as_deref(), Some("GET app.test"), "{woken:?}");
}

fn family(directory: &TempDir) -> Auth {
    let users = directory.path().join("users");
    let hash = "$2y$05$NidkWKTLC3s0Ws5JSWJmsOUHgU0gIgrwocu9l.y/NSPz27uhzz2si";
    std::fs::write(&users, format!("alice:{hash}\n")).unwrap();
    basic(users)
}

fn basic(users: PathBuf) -> Auth {
    let user_header = Some("remote-user".to_owned());
    let settings = BasicAuth { users, realm: "home".into(), user_header };
    Auth { name: "family".into(), kind: AuthKind::Basic(settings) }
}

/// `alice:correct horse`
const ALICE: &str = "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn without_the_password_nothing_wakes_and_no_request_passes() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut requests) = Backend::answering(OK).await;
    let router = Plan { auth: Some(family(&directory)), ..Plan::new(backend.address) }.run();
    let refused = router.ask(LAST_GET).await;
    assert_eq!(status(&refused), 401);
    assert!(refused.contains("www-authenticate: Basic realm=\"home\""), "{refused}");
    let wrong = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";
    assert_eq!(status(&router.ask(&get("/", wrong)).await), 401);
    assert_eq!(router.fake.starts(), 0);

    // Forged identity headers, and `Connection` options that name them, have no effect.
    let forged = "Remote-User: root\r\nRemote_User: root\r\nConnection: remote-user\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: app.test\r\n{ALICE}{forged}\r\n");
    let mut wire = router.connect().await;
    wire.send(&request).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    let seen = requests.recv().await.unwrap();
    assert!(seen.contains("remote-user: alice\r\n"), "{seen}");
    assert!(!seen.contains("root") && !seen.contains("authorization"), "{seen}");

    assert_eq!(
        status(&router.ask(LAST_GET).await),
        401,
        "authentication applies to an awake workload as well"
    );
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_authentication_strips_identity_headers() {
    let (backend, mut requests) = Backend::answering(OK).await;
    let identity_headers = vec!["remote-user".to_owned()];
    let router = Plan { identity_headers, ..Plan::new(backend.address) }.run();
    let request = get("/", "Remote-User: root\r\nREMOTE_USER: root\r\nX-Other: kept\r\n");
    assert_eq!(status(&router.ask(&request).await), 200);
    let seen = requests.recv().await.unwrap();
    assert!(!seen.contains("root") && seen.contains("x-other: kept"), "{seen}");
}

/// A client behind a trusted proxy that sends these credentials.
fn with_password(client: &str, text: &str) -> String {
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
    get("/", &format!("X-Forwarded-For: {client}\r\nAuthorization: Basic {encoded}\r\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_passwords_delays_only_its_sender() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, _requests) = Backend::answering(OK).await;
    let (auth, trust) = (Some(family(&directory)), loopback_trusted());
    let router = Plan { auth, trust, ..Plan::new(backend.address) }.run();
    let mut flood = JoinSet::new();
    for n in 0..120 {
        let mut wire = router.connect().await;
        flood.spawn(async move {
            wire.send(with_password("192.0.2.1", &format!("alice:{n}"))).await;
            wire.rest().await
        });
    }
    for client in 1..=12 {
        let client = format!("198.51.100.{client}");
        let answer = router.ask(&with_password(&client, "alice:correct horse")).await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
    let mut wrong = 0;
    while let Some(answer) = within(flood.join_next()).await {
        let answer = answer.unwrap();
        match status(&answer) {
            401 => wrong += 1,
            429 => {
                assert!(answer.contains("retry-after: "), "{answer}");
                assert!(answer.contains("\"code\":\"too-many-passwords\""), "{answer}");
            }
            _ => panic!("{answer}"),
        }
    }
    assert!(wrong <= 20, "{wrong} passwords were tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_addresses_do_not_evade_the_password_pause() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan { auth: Some(family(&directory)), ..Plan::new(backend.address) }.run();
    let mut statuses = Vec::new();
    for n in 0..40 {
        let request = with_password(&format!("192.0.2.{n}"), &format!("alice:{n}"));
        statuses.push(status(&router.ask(&request).await));
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(router.fake.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_protected_path_does_not_match_the_unprotected_route() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut requests) = Backend::answering(OK).await;
    let paths = vec![("/admin", Some(family(&directory)))];
    let router = Plan { paths, ..Plan::new(backend.address) }.run();
    assert_eq!(status(&router.ask(&get("/admin", "")).await), 401);
    for path in ["/ADMIN", "/admin.json", "/admin%20", "/%2561dmin", "/x/%252e%252e/admin"] {
        let answer = router.ask(&get(path, "")).await;
        assert_eq!(status(&answer), 404, "{path}: {answer}");
        assert!(answer.contains("\"code\":\"similar-path\""), "{answer}");
    }
    for path in ["/admin/../ADMIN", "/admin%2Fx", "/x/..;/admin", "/x%5c..%5cadmin"] {
        let refused = status(&router.ask(&get(path, "")).await);
        assert!([401, 404].contains(&refused), "{path}: {refused}");
    }
    assert_eq!(router.fake.starts(), 0, "none of these requests wakes");
    assert_eq!(status(&router.ask(&get("/administrator", "")).await), 200);
    assert_eq!(status(&router.ask(&get("/admin/x", ALICE)).await), 200);
    for path in ["/administrator", "/admin/x"] {
        assert!(requests.recv().await.unwrap().starts_with(&format!("GET {path} HTTP/1.1\r\n")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_any_syntax_reaches_the_target_that_was_authenticated() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut requests) = Backend::answering(OK).await;
    let paths = vec![("/admin", Some(family(&directory)))];
    let router = Plan { paths, ..Plan::new(backend.address) }.run();
    let upgrade = "Host: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for request in [
        "GET /admin HTTP/1.0\r\nHost: app.test\r\n\r\n".to_owned(),
        "GET /admin HTTP/1.1\r\nHost: APP.TEST.:8080\r\nConnection: close\r\n\r\n".to_owned(),
        "GET http://app.test/admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
        "GET http://app.test/x/../admin?/ HTTP/1.0\r\n\r\n".to_owned(),
        "POST /admin#/../x HTTP/1.0\r\nHost: app.test\r\n\r\n".to_owned(),
        format!("GET /admin HTTP/1.1\r\n{upgrade}"),
        get("/admin", "X-Original-URL: /\r\nX-HTTP-Method-Override: OPTIONS\r\n"),
    ] {
        let mut wire = router.connect().await;
        wire.send(&request).await;
        let head = wire.head().await;
        assert_eq!(status(&head), 401, "{request}: {head}");
    }
    for request in [
        "GET http://alice@app.test/ HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: alice@app.test\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test/admin\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nHost: b.test\r\nConnection: close\r\n\r\n",
    ] {
        assert_eq!(status(&router.ask(request).await), 400, "{request}");
    }
    assert_eq!(router.fake.starts(), 0);

    let request = "GET http://app.test?x=1 HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&router.ask(request).await), 200);
    let seen = requests.recv().await.unwrap();
    assert!(seen.starts_with("GET /?x=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("host: app.test\r\n") && !seen.contains("b.test"), "{seen}");
    let open = get("/", "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n");
    assert_eq!(status(&router.ask(&open).await), 200);
    let seen = requests.recv().await.unwrap();
    assert!(!seen.contains("admin"), "some backends would serve that path: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_is_refused_because_the_response_would_reveal_added_headers() {
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan::new(backend.address).run();
    let answer =
        router.ask("TRACE / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 405, "{answer}");
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    assert_eq!((router.fake.starts(), backend.accepted()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_headers_are_stripped_from_trailers() {
    let (sender, mut requests) = mpsc::channel(1);
    let backend = Backend::new(move |mut wire| {
        let sender = sender.clone();
        async move {
            wire.head().await;
            wire.expect("1\r\na\r\n").await;
            let trailers = wire.head().await;
            wire.send(OK).await;
            let _ = sender.send(trailers).await;
        }
    })
    .await;
    let identity_headers = vec!["remote-user".to_owned()];
    let router = Plan { identity_headers, ..Plan::new(backend.address) }.run();
    let names = "Trailer: remote-user, remote_user, x-forwarded-for, x-kept\r\n";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n{names}\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nRemote-User: root\r\n\
         Remote_User: root\r\nX-Forwarded-For: 10.0.0.1\r\nX-Kept: 1\r\n\r\n"
    );
    assert_eq!(status(&router.ask(&request).await), 200);
    assert_eq!(requests.recv().await.unwrap(), "0\r\nx-kept: 1\r\n\r\n");
}

/// A forward authentication service: sends these responses in turn and records the requests.
async fn auth_service(responses: &'static [&'static str]) -> (Backend, mpsc::Receiver<String>) {
    let (sender, requests) = mpsc::channel(100);
    let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let backend = Backend::new(move |mut wire: Wire| {
        let (sender, next) = (sender.clone(), next.clone());
        async move {
            while let Some(head) = wire.try_head().await {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                // The test may ignore the requests.
                let _ = sender.send(head).await;
                wire.send(responses[index % responses.len()]).await;
            }
        }
    })
    .await;
    (backend, requests)
}

fn forward(service: std::net::SocketAddr, timeout: Duration) -> Auth {
    let settings = ForwardAuth {
        host: service.ip().to_string(),
        port: service.port(),
        path: "/verify?x=1".into(),
        headers: vec!["remote-user".into()],
        timeout,
    };
    Auth { name: "sso".into(), kind: AuthKind::Forward(settings) }
}

const YES: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRemote-User: alice\r\n\r\nok";
const LOGIN: &str = "HTTP/1.1 302 Found\r\nLocation: https://login.test/?rd=1\r\n\
                     Set-Cookie: state=1\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nlogin";

#[tokio::test(flavor = "multi_thread")]
async fn the_service_decides_about_every_request_before_a_wake() {
    let (service, mut auth_requests) = auth_service(&[LOGIN, YES, YES, LOGIN]).await;
    let (backend, mut requests) = Backend::answering(OK).await;
    let auth = Some(forward(service.address, Duration::from_secs(10)));
    let router = Plan { auth, ..Plan::new(backend.address) }.run();

    let redirect = router.ask(&get("/write?title=a", "Cookie: session=1\r\n")).await;
    assert_eq!(status(&redirect), 302, "{redirect}");
    assert!(redirect.contains("location: https://login.test/?rd=1\r\n"), "{redirect}");
    assert!(redirect.contains("set-cookie: state=1\r\n") && redirect.ends_with("login"));
    assert!(!redirect.contains("keep-alive"), "{redirect}");
    assert_eq!(router.fake.starts(), 0);
    let auth_request = auth_requests.recv().await.unwrap();
    assert!(auth_request.starts_with("GET /verify?x=1 HTTP/1.1\r\n"), "{auth_request}");
    for line in [
        "x-forwarded-method: GET",
        "x-forwarded-uri: /write?title=a",
        "x-forwarded-host: app.test",
        "x-forwarded-for: 127.0.0.1",
        "cookie: session=1",
    ] {
        assert!(auth_request.contains(&format!("{line}\r\n")), "{line} in {auth_request}");
    }

    let forged = "Remote-User: root\r\nConnection: remote-user\r\n";
    let request =
        format!("POST / HTTP/1.1\r\nHost: app.test\r\n{forged}Content-Length: 3\r\n\r\nabc");
    let mut wire = router.connect().await;
    wire.send(&request).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    let seen = requests.recv().await.unwrap();
    assert!(seen.contains("remote-user: alice\r\n") && !seen.contains("root"), "{seen}");
    let auth_request = auth_requests.recv().await.unwrap();
    assert!(auth_request.contains("x-forwarded-method: POST\r\n"), "{auth_request}");
    assert!(
        !auth_request.contains("content-length: 3") && !auth_request.contains("root"),
        "{auth_request}"
    );

    // The service is asked for an awake workload as well, on its idle connection.
    assert_eq!(status(&router.ask(LAST_GET).await), 200);
    assert_eq!(status(&router.ask(LAST_GET).await), 302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_session_cookie_reaches_the_client_with_every_response() {
    const RENEWED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nRemote-User: alice\r\n\
                           Set-Cookie: session=2; HttpOnly\r\nSet-Cookie: other=1\r\n\r\n";
    let (service, _auth_requests) = auth_service(&[RENEWED]).await;
    let (backend, mut requests) =
        Backend::answering("HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 0\r\n\r\n")
            .await;
    let auth = Some(forward(service.address, HOUR));
    let plan = Plan { auth, eager: false, waiting: Waiting::Page, ..Plan::new(backend.address) };
    let router = plan.run();
    let page = router.ask(LAST_GET).await;
    assert!(page.starts_with("HTTP/1.1 503") && page.contains("set-cookie: session=2; HttpOnly"));
    router.fake.may_start.add_permits(1);
    router.phase(Phase::Ready).await;
    let answer = router.ask(LAST_GET).await;
    for cookie in ["own=1", "session=2; HttpOnly", "other=1"] {
        assert!(answer.contains(&format!("set-cookie: {cookie}\r\n")), "{cookie}: {answer}");
    }
    let seen = requests.recv().await.unwrap();
    assert!(seen.contains("remote-user: alice") && !seen.contains("session=2"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_credentials_reach_the_service_and_the_services_reach_the_workload() {
    const TOKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAuthorization: Bearer new\r\n\r\n";
    let (service, mut auth_requests) = auth_service(&[TOKEN]).await;
    let (backend, mut requests) = Backend::answering(OK).await;
    let Auth { name, kind: AuthKind::Forward(settings) } = forward(service.address, HOUR) else {
        unreachable!()
    };
    let headers = vec!["authorization".to_owned(), "remote-user".to_owned()];
    let kind = AuthKind::Forward(ForwardAuth { headers: headers.clone(), ..settings });
    let auth = Some(Auth { name, kind });
    let router =
        Plan { auth, identity_headers: headers.clone(), ..Plan::new(backend.address) }.run();
    let lines = "Authorization: Bearer old\r\nRemote-User: root\r\n";
    assert_eq!(status(&router.ask(&get("/", lines)).await), 200);
    let auth_request = auth_requests.recv().await.unwrap();
    assert!(auth_request.contains("authorization: Bearer old") && !auth_request.contains("root"));
    let seen = requests.recv().await.unwrap();
    assert!(seen.contains("authorization: Bearer new") && !seen.contains("old"), "{seen}");

    // On a route without authentication the client's credentials reach the workload.
    let router = Plan { identity_headers: headers, ..Plan::new(backend.address) }.run();
    assert_eq!(status(&router.ask(&get("/", lines)).await), 200);
    let seen = requests.recv().await.unwrap();
    assert!(seen.contains("authorization: Bearer old") && !seen.contains("root"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_the_service_is_retried_if_the_idle_connection_was_closed() {
    // Every connection serves one request and is closed under the next.
    let service = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(YES).await;
        let _ = wire.0.peek(&mut [0]).await;
    })
    .await;
    let (backend, _requests) = Backend::answering(OK).await;
    let auth = Some(forward(service.address, HOUR));
    let router = Plan { auth, threads: 1, ..Plan::new(backend.address) }.run();
    for connections in 1..=5 {
        let answer = router.ask(LAST_GET).await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(service.accepted(), connections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_refused_while_the_service_does_not_respond() {
    let silent = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.closed().await;
    })
    .await;
    let (backend, _requests) = Backend::answering(OK).await;
    let auth = Some(forward(silent.address, Duration::from_millis(200)));
    let router = Plan { auth, ..Plan::new(backend.address) }.run();
    let answer = router.ask(LAST_GET).await;
    assert_eq!(status(&answer), 504, "{answer}");

    let nowhere = common::Refusing::new();
    let auth = Some(forward(nowhere.address, Duration::from_secs(10)));
    let router = Plan { auth, ..Plan::new(backend.address) }.run();
    let answer = router.ask(LAST_GET).await;
    assert_eq!(status(&answer), 502, "{answer}");
    assert!(
        !answer.contains("127.0.0.1"),
        "the service's address is not shown to visitors: {answer}"
    );
    assert_eq!(router.fake.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_client_ends_its_authentication() {
    let silent = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.closed().await;
    })
    .await;
    let (backend, _requests) = Backend::answering(OK).await;
    let auth = Some(forward(silent.address, HOUR));
    let router = Plan { auth, waiting: Waiting::Hold, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    until(|| silent.accepted() == 1).await;
    wire.0.shutdown().await.unwrap();
    wire.closed().await;
    assert!(within(router.shutdown(HOUR)).await, "nothing is left to wait for");
}
