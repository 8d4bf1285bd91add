//! Who is let in, and who may wake.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{path::PathBuf, time::Duration};

use common::{Backend, GET, LAST_GET, OK, Plan, Router, Wire, until, within};
use drowse_core::{Cause, Force, Kind, Phase, Source};
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

async fn guarded(wake: WakeRules) -> (Backend, mpsc::Receiver<String>, Router) {
    let (backend, told) = Backend::answering(OK).await;
    let router = Plan { wake, ..Plan::new(backend.address) }.run();
    (backend, told, router)
}

async fn put_to_sleep(router: &Router) {
    let cause = Cause::new(Source::Cli);
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
async fn whoever_may_not_wake_is_refused_while_it_sleeps_and_comes_in_while_it_is_awake() {
    let paths = vec![PathGlob::parse("/login").unwrap()];
    let (_backend, _told, router) = guarded(WakeRules { paths, ..WakeRules::default() }).await;
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
async fn whoever_may_not_wake_may_wait_for_a_wake_that_is_under_way() {
    let methods = vec!["POST".to_owned()];
    let wake = WakeRules { methods, ..WakeRules::default() };
    let (backend, _told) = Backend::answering(OK).await;
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
async fn a_probe_is_answered_for_a_sleeping_backend_and_reaches_one_that_is_awake() {
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
    assert!(router.ask(&get("/healthz", "")).await.ends_with("hi"), "the backend's own answer");
    // Probes that come much more often than the idle time is long do not keep it awake.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut asleep = router.workload.watch();
    let slept = async { asleep.wait_for(|now| now.phase == Phase::Asleep).await.map(drop) };
    tokio::pin!(slept);
    let probe = get("/healthz", "");
    within(async {
        loop {
            tokio::select! {
                biased;
                slept = &mut slept => return slept.unwrap(),
                _ = pace.tick() => {
                    let answer = router.ask(&probe).await;
                    assert!([200, 204].contains(&status(&answer)), "{answer}");
                }
            }
        }
    })
    .await;
    assert_eq!(router.fake.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_browsers_and_crawlers_ask_for_by_themselves_wakes_nobody() {
    let (_backend, _told, router) =
        guarded(WakeRules { bots: Bots::Ignore, ..WakeRules::default() }).await;
    let icon = router.ask(&get("/favicon.ico", "Sec-Fetch-Mode: no-cors\r\n")).await;
    assert_eq!(status(&icon), 404);
    let robots = router.ask(&get("/robots.txt", "")).await;
    assert_eq!(status(&robots), 503);
    assert!(robots.contains("retry-after: "), "{robots}");
    let bot = router.ask(&get("/", "User-Agent: Googlebot/2.1\r\n")).await;
    assert_eq!(status(&bot), 503);
    assert_eq!(router.fake.starts(), 0);
    // A person goes there.
    let person = router.ask(&get("/robots.txt", "Sec-Fetch-Mode: navigate\r\n")).await;
    assert_eq!(status(&person), 200, "{person}");
    router.phase(Phase::Ready).await;
    assert!(router.ask(&get("/favicon.ico", "")).await.ends_with("hi"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wakes_too_often_is_told_when_to_come_back() {
    let limits = WakeLimits { all: None, client: Some(Rate { count: 1, per: HOUR }) };
    let (backend, _told) = Backend::answering(OK).await;
    let wake = WakeRules { limits, ..WakeRules::default() };
    let trust = loopback_trusted();
    let router = Plan { wake, trust, ..Plan::new(backend.address) }.run();
    let by = |client: &str| get("/", &format!("X-Forwarded-For: {client}\r\n"));
    for _ in 0..5 {
        assert_eq!(status(&router.ask(&by("192.0.2.1")).await), 200, "awake, nothing is counted");
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
    assert_eq!(status(&router.ask(&by("192.0.2.2")).await), 200, "another client may");
    assert_eq!(router.fake.starts(), 2);
    assert_eq!(status(&router.ask(&by("192.0.2.1")).await), 200, "it is awake now");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_come_at_once_one_pays_for_the_wake() {
    let rate = Some(Rate { count: 1, per: HOUR });
    let limits = WakeLimits { all: rate, client: rate };
    let wake = WakeRules { limits, ..WakeRules::default() };
    let (backend, _told) = Backend::answering(OK).await;
    let router = Plan { wake, eager: false, ..Plan::new(backend.address) }.run();
    let mut visitors = JoinSet::new();
    for _ in 0..50 {
        let mut wire = router.connect().await;
        visitors.spawn(async move {
            wire.send(LAST_GET).await;
            wire.rest().await
        });
    }
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
async fn rules_look_at_the_client_behind_trusted_proxies_and_believe_nobody_else() {
    let (backend, _told) = Backend::answering(OK).await;
    let wake = only_from("192.0.2.0/24");
    let plan = Plan { wake: wake.clone(), trust: loopback_trusted(), ..Plan::new(backend.address) };
    let router = plan.run();
    let by = |chain: &str| get("/", &format!("X-Forwarded-For: {chain}\r\n"));
    assert_eq!(status(&router.ask(LAST_GET).await), 403);
    assert_eq!(status(&router.ask(&by("192.0.2.1, 203.0.113.9")).await), 403);
    assert_eq!(router.fake.starts(), 0);
    assert_eq!(status(&router.ask(&by("203.0.113.9, 192.0.2.1, 127.0.0.3")).await), 200);

    let router = Plan { wake, ..Plan::new(backend.address) }.run();
    assert_eq!(status(&router.ask(&by("192.0.2.1")).await), 403, "nobody is trusted here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_tells_by_the_proxy_protocol_who_the_client_is() {
    let (backend, mut told) = Backend::answering(OK).await;
    let proxy_protocol = loopback_trusted();
    let wake = only_from("192.0.2.0/24");
    let router = Plan { wake, proxy_protocol, ..Plan::new(backend.address) }.run();
    let line = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 4711 80\r\n{LAST_GET}");
    assert_eq!(status(&router.ask(&line("203.0.113.9")).await), 403);
    assert_eq!(status(&router.ask(&line("192.0.2.1")).await), 200);
    assert!(told.recv().await.unwrap().contains("x-forwarded-for: 192.0.2.1\r\n"));

    // Version 2, in the smallest pieces, with an extension and the request right behind it.
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
    assert!(told.recv().await.unwrap().contains("x-forwarded-for: 192.0.2.7\r\n"));

    // The proxy looks for itself whether we are there.
    let own = router.ask(&format!("PROXY UNKNOWN\r\n{LAST_GET}")).await;
    assert_eq!(status(&own), 200);
    assert!(told.recv().await.unwrap().contains("x-forwarded-for: 127.0.0.1\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_is_required_of_those_who_speak_it_and_refused_from_others() {
    let (backend, _told) = Backend::answering(OK).await;
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
async fn whoever_may_not_wake_does_not_wake_when_the_wake_that_it_waits_for_comes_to_nothing() {
    let methods = vec!["POST".to_owned()];
    let wake = WakeRules { methods, ..WakeRules::default() };
    let (backend, _told) = Backend::answering(OK).await;
    let router = Plan { wake, eager: false, ..Plan::new(backend.address) }.run();
    router.engine.wake("app", Cause::new(Source::Cli)).unwrap();
    router.phase(Phase::Waking).await;
    let mut joiner = router.connect().await;
    joiner.send(LAST_GET).await;
    until(|| router.workload.waiting() == 1).await;
    put_to_sleep(&router).await;
    let answer = joiner.rest().await;
    assert_eq!(status(&answer), 403, "{answer}");
    assert_eq!(router.workload.snapshot().phase, Phase::Asleep);
    assert_eq!(router.fake.starts(), 1, "the operator's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_asked_again_when_the_wake_that_was_joined_comes_to_nothing() {
    let limits = WakeLimits { all: Some(Rate { count: 1, per: HOUR }), client: None };
    let wake = WakeRules { limits, ..WakeRules::default() };
    let (backend, _told) = Backend::answering(OK).await;
    let router = Plan { wake, eager: false, ..Plan::new(backend.address) }.run();
    let mut visitors = Vec::new();
    router.engine.wake("app", Cause::new(Source::Cli)).unwrap();
    router.phase(Phase::Waking).await;
    for _ in 0..2 {
        let mut wire = router.connect().await;
        wire.send(LAST_GET).await;
        visitors.push(wire);
    }
    until(|| router.workload.waiting() == 2).await;
    let cause = Cause::new(Source::Cli);
    router.engine.sleep("app", cause, Force::Drain).unwrap();
    // One of them pays for the next wake, and the other one joins it.
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
async fn a_wake_that_was_asked_for_while_it_drained_is_paid_for_once() {
    let (backend, mut requests) = (
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
    router.engine.sleep("app", Cause::new(Source::Cli), Force::Drain).unwrap();
    router.phase(Phase::Draining).await;
    // The first one pays while it drains, the second one comes while it stops.
    for waiting in 1..=2 {
        let mut wire = router.connect().await;
        requests.spawn(async move {
            wire.send(LAST_GET).await;
            wire.rest().await
        });
        until(|| router.workload.waiting() == waiting).await;
    }
    drop(download);
    while let Some(answer) = within(requests.join_next()).await {
        let answer = answer.unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert_eq!(router.fake.starts(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_says_what_woke_it_where_wakes_are_counted() {
    let limits = WakeLimits { all: Some(Rate { count: 1, per: HOUR }), client: None };
    let (_backend, _told, router) = guarded(WakeRules { limits, ..WakeRules::default() }).await;
    assert_eq!(status(&router.ask(LAST_GET).await), 200);
    let entries = router.engine.journal().recent(Some("app"), 10);
    let woken = entries.iter().find(|entry| entry.kind == Kind::Wake).unwrap();
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
async fn without_the_password_nothing_wakes_and_nobody_comes_in() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut told) = Backend::answering(OK).await;
    let router = Plan { auth: Some(family(&directory)), ..Plan::new(backend.address) }.run();
    let refused = router.ask(LAST_GET).await;
    assert_eq!(status(&refused), 401);
    assert!(refused.contains("www-authenticate: Basic realm=\"home\""), "{refused}");
    let wrong = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";
    assert_eq!(status(&router.ask(&get("/", wrong)).await), 401);
    assert_eq!(router.fake.starts(), 0);

    // What a client says of itself, and what it would have taken away on the way, changes nothing.
    let lies = "Remote-User: root\r\nRemote_User: root\r\nConnection: remote-user\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: app.test\r\n{ALICE}{lies}\r\n");
    let mut wire = router.connect().await;
    wire.send(&request).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    let seen = told.recv().await.unwrap();
    assert!(seen.contains("remote-user: alice\r\n"), "{seen}");
    assert!(!seen.contains("root") && !seen.contains("authorization"), "{seen}");

    assert_eq!(status(&router.ask(LAST_GET).await), 401, "awake or not");
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_authentication_lets_nobody_say_who_they_are() {
    let (backend, mut told) = Backend::answering(OK).await;
    let identity_headers = vec!["remote-user".to_owned()];
    let router = Plan { identity_headers, ..Plan::new(backend.address) }.run();
    let request = get("/", "Remote-User: root\r\nREMOTE_USER: root\r\nX-Other: kept\r\n");
    assert_eq!(status(&router.ask(&request).await), 200);
    let seen = told.recv().await.unwrap();
    assert!(!seen.contains("root") && seen.contains("x-other: kept"), "{seen}");
}

/// A client behind a trusted proxy that sends these credentials.
fn with_password(client: &str, text: &str) -> String {
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
    get("/", &format!("X-Forwarded-For: {client}\r\nAuthorization: Basic {encoded}\r\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_passwords_delays_only_the_client_that_sends_it() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, _told) = Backend::answering(OK).await;
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
async fn nobody_tries_more_passwords_by_claiming_other_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, _told) = Backend::answering(OK).await;
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
async fn a_protected_path_in_another_spelling_does_not_take_the_open_route() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut told) = Backend::answering(OK).await;
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
    assert_eq!(router.fake.starts(), 0, "none of them wakes");
    assert_eq!(status(&router.ask(&get("/administrator", "")).await), 200);
    assert_eq!(status(&router.ask(&get("/admin/x", ALICE)).await), 200);
    for path in ["/administrator", "/admin/x"] {
        assert!(told.recv().await.unwrap().starts_with(&format!("GET {path} HTTP/1.1\r\n")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_any_form_is_authenticated_and_reaches_what_was_authenticated() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, mut told) = Backend::answering(OK).await;
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
    let seen = told.recv().await.unwrap();
    assert!(seen.starts_with("GET /?x=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("host: app.test\r\n") && !seen.contains("b.test"), "{seen}");
    let open = get("/", "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n");
    assert_eq!(status(&router.ask(&open).await), 200);
    let seen = told.recv().await.unwrap();
    assert!(!seen.contains("admin"), "some backends would serve it: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_is_not_answered_because_it_would_show_what_is_added_for_the_workload() {
    let (backend, _told) = Backend::answering(OK).await;
    let router = Plan::new(backend.address).run();
    let answer =
        router.ask("TRACE / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 405, "{answer}");
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    assert_eq!((router.fake.starts(), backend.accepted()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_says_in_trailers_who_they_are() {
    let (tell, mut told) = mpsc::channel(1);
    let backend = Backend::new(move |mut wire| {
        let tell = tell.clone();
        async move {
            wire.head().await;
            wire.expect("1\r\na\r\n").await;
            let trailers = wire.head().await;
            wire.send(OK).await;
            let _ = tell.send(trailers).await;
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
    assert_eq!(told.recv().await.unwrap(), "0\r\nx-kept: 1\r\n\r\n");
}

/// Answers every question with the next of these, and tells what it was asked.
async fn judge(answers: &'static [&'static str]) -> (Backend, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel(100);
    let turn = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let backend = Backend::new(move |mut wire: Wire| {
        let (tell, turn) = (tell.clone(), turn.clone());
        async move {
            while let Some(head) = wire.try_head().await {
                let turn = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                // The test may not want to know.
                let _ = tell.send(head).await;
                wire.send(answers[turn % answers.len()]).await;
            }
        }
    })
    .await;
    (backend, told)
}

fn forward(judge: std::net::SocketAddr, timeout: Duration) -> Auth {
    let settings = ForwardAuth {
        host: judge.ip().to_string(),
        port: judge.port(),
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
async fn a_service_decides_about_every_request_before_anything_wakes() {
    let (judge, mut asked) = judge(&[LOGIN, YES, YES, LOGIN]).await;
    let (backend, mut told) = Backend::answering(OK).await;
    let auth = Some(forward(judge.address, Duration::from_secs(10)));
    let router = Plan { auth, ..Plan::new(backend.address) }.run();

    let sent_away = router.ask(&get("/write?title=a", "Cookie: session=1\r\n")).await;
    assert_eq!(status(&sent_away), 302, "{sent_away}");
    assert!(sent_away.contains("location: https://login.test/?rd=1\r\n"), "{sent_away}");
    assert!(sent_away.contains("set-cookie: state=1\r\n") && sent_away.ends_with("login"));
    assert!(!sent_away.contains("keep-alive"), "{sent_away}");
    assert_eq!(router.fake.starts(), 0);
    let question = asked.recv().await.unwrap();
    assert!(question.starts_with("GET /verify?x=1 HTTP/1.1\r\n"), "{question}");
    for line in [
        "x-forwarded-method: GET",
        "x-forwarded-uri: /write?title=a",
        "x-forwarded-host: app.test",
        "x-forwarded-for: 127.0.0.1",
        "cookie: session=1",
    ] {
        assert!(question.contains(&format!("{line}\r\n")), "{line} in {question}");
    }

    let lies = "Remote-User: root\r\nConnection: remote-user\r\n";
    let request =
        format!("POST / HTTP/1.1\r\nHost: app.test\r\n{lies}Content-Length: 3\r\n\r\nabc");
    let mut wire = router.connect().await;
    wire.send(&request).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    let seen = told.recv().await.unwrap();
    assert!(seen.contains("remote-user: alice\r\n") && !seen.contains("root"), "{seen}");
    let question = asked.recv().await.unwrap();
    assert!(question.contains("x-forwarded-method: POST\r\n"), "{question}");
    assert!(!question.contains("content-length: 3") && !question.contains("root"), "{question}");

    // Awake, it is asked as well, and on the connection that it has.
    assert_eq!(status(&router.ask(LAST_GET).await), 200);
    assert_eq!(status(&router.ask(LAST_GET).await), 302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_service_renews_reaches_the_client_whatever_the_answer_is() {
    const RENEWED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nRemote-User: alice\r\n\
                           Set-Cookie: session=2; HttpOnly\r\nSet-Cookie: other=1\r\n\r\n";
    let (judge, _asked) = judge(&[RENEWED]).await;
    let (backend, mut told) =
        Backend::answering("HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 0\r\n\r\n")
            .await;
    let auth = Some(forward(judge.address, HOUR));
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
    let seen = told.recv().await.unwrap();
    assert!(seen.contains("remote-user: alice") && !seen.contains("session=2"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_reach_the_service_though_it_gives_the_workload_others() {
    const TOKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAuthorization: Bearer new\r\n\r\n";
    let (judge, mut asked) = judge(&[TOKEN]).await;
    let (backend, mut told) = Backend::answering(OK).await;
    let Auth { name, kind: AuthKind::Forward(settings) } = forward(judge.address, HOUR) else {
        unreachable!()
    };
    let headers = vec!["authorization".to_owned(), "remote-user".to_owned()];
    let kind = AuthKind::Forward(ForwardAuth { headers: headers.clone(), ..settings });
    let auth = Some(Auth { name, kind });
    let router =
        Plan { auth, identity_headers: headers.clone(), ..Plan::new(backend.address) }.run();
    let lines = "Authorization: Bearer old\r\nRemote-User: root\r\n";
    assert_eq!(status(&router.ask(&get("/", lines)).await), 200);
    let question = asked.recv().await.unwrap();
    assert!(question.contains("authorization: Bearer old") && !question.contains("root"));
    let seen = told.recv().await.unwrap();
    assert!(seen.contains("authorization: Bearer new") && !seen.contains("old"), "{seen}");

    // On a route without authentication they are the client's and the workload's affair.
    let router = Plan { identity_headers: headers, ..Plan::new(backend.address) }.run();
    assert_eq!(status(&router.ask(&get("/", lines)).await), 200);
    let seen = told.recv().await.unwrap();
    assert!(seen.contains("authorization: Bearer old") && !seen.contains("root"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_idle_connection_has_died_is_asked_once_more() {
    // Every connection is good for one answer and closed under the next question.
    let judge = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(YES).await;
        let _ = wire.0.peek(&mut [0]).await;
    })
    .await;
    let (backend, _told) = Backend::answering(OK).await;
    let auth = Some(forward(judge.address, HOUR));
    let router = Plan { auth, threads: 1, ..Plan::new(backend.address) }.run();
    for connections in 1..=5 {
        let answer = router.ask(LAST_GET).await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(judge.accepted(), connections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_lets_nobody_in() {
    let silent = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.closed().await;
    })
    .await;
    let (backend, _told) = Backend::answering(OK).await;
    let auth = Some(forward(silent.address, Duration::from_millis(200)));
    let router = Plan { auth, ..Plan::new(backend.address) }.run();
    let answer = router.ask(LAST_GET).await;
    assert_eq!(status(&answer), 504, "{answer}");

    let nowhere = common::Refusing::new();
    let auth = Some(forward(nowhere.address, Duration::from_secs(10)));
    let router = Plan { auth, ..Plan::new(backend.address) }.run();
    let answer = router.ask(LAST_GET).await;
    assert_eq!(status(&answer), 502, "{answer}");
    assert!(!answer.contains("127.0.0.1"), "visitors are not told where it is: {answer}");
    assert_eq!(router.fake.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_leaves_is_not_waited_with() {
    let silent = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.closed().await;
    })
    .await;
    let (backend, _told) = Backend::answering(OK).await;
    let auth = Some(forward(silent.address, HOUR));
    let router = Plan { auth, waiting: Waiting::Hold, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    until(|| silent.accepted() == 1).await;
    wire.0.shutdown().await.unwrap();
    wire.closed().await;
    assert!(within(router.shutdown(HOUR)).await, "nothing is left to wait for");
}
