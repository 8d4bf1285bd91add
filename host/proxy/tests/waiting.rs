//! Visitors at a closed gate: held requests, the waiting page, rejections and their limits.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Backend, GET, LAST_GET, OK, Plan, until, within};
use drowse_core::{ErrorCode, Failure, Phase};
use drowse_proxy::{HttpLimits, WaitingSettings};
use drowse_routes::Waiting;
use tokio::{io::AsyncWriteExt, task::JoinSet};

async fn asleep(waiting: Waiting) -> (Backend, common::Router) {
    let (backend, _) = Backend::answering(OK).await;
    let router = Plan { waiting, eager: false, ..Plan::new(backend.address) }.run();
    (backend, router)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_visitor_is_answered_by_the_woken_backend() {
    let (backend, mut requests) = Backend::answering(OK).await;
    let router = Plan { eager: false, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    until(|| router.fake.starts() == 1 && router.workload.waiting() == 1).await;
    assert_eq!(router.visits(), 0, "a held request is not a visit");
    router.fake.may_start.add_permits(1);
    assert!(wire.head().await.starts_with("HTTP/1.1 200 OK"));
    wire.expect("hi").await;
    assert!(requests.recv().await.unwrap().starts_with("GET / HTTP/1.1"));
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_held_visitors_cause_one_start() {
    let (_backend, router) = asleep(Waiting::Hold).await;
    let mut visitors = router.ask_at_once(200, LAST_GET).await;
    until(|| router.workload.waiting() == 200).await;
    router.fake.may_start.add_permits(1000);
    while let Some(answer) = within(visitors.join_next()).await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hi"), "{answer}");
    }
    assert_eq!(router.fake.starts(), 1);
}

/// Covers all states in which hyper does or does not read from a client during a request. The last
/// one leaves bytes in the kernel's buffer, few enough for the end of the stream to be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_visitor_that_disconnects_is_released_and_the_wake_continues() {
    let post = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 300000\r\n";
    for request in [
        GET.to_owned(),
        GET.repeat(2),
        format!("{post}\r\nbegin"),
        format!("{post}Expect: 100-continue\r\n\r\n"),
        format!("{post}\r\n{}", "x".repeat(40_000)),
    ] {
        let (_backend, router) = asleep(Waiting::Hold).await;
        let mut wire = router.connect().await;
        wire.send(&request).await;
        until(|| router.workload.waiting() == 1).await;
        drop(wire);
        until(|| router.workload.waiting() == 0).await;
        router.fake.may_start.add_permits(1);
        router.phase(Phase::Ready).await;
        assert_eq!(router.fake.starts(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_body_is_complete_although_the_socket_is_watched_for_a_disconnect() {
    let backend = Backend::new(|mut wire| async move {
        assert!(wire.head().await.contains("content-length: 300000"));
        let body = wire.exactly(300_000).await;
        assert!(body.bytes().enumerate().all(|(n, b)| b == b'a' + (n % 26) as u8));
        wire.send(OK).await;
    })
    .await;
    let router = Plan { eager: false, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 300000\r\n\r\n").await;
    let body: Vec<u8> = (0..300_000).map(|n| b'a' + (n % 26) as u8).collect();
    // In parts, so that the watch sees many arrivals.
    for piece in body[..100_000].chunks(10_000) {
        wire.send(piece).await;
        tokio::task::yield_now().await;
    }
    until(|| router.workload.waiting() == 1).await;
    router.fake.may_start.add_permits(1);
    wire.send(&body[100_000..]).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    wire.expect("hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_visitor_gets_504_after_the_hold_timeout() {
    let (backend, _) = Backend::answering(OK).await;
    let hold_timeout = Duration::from_millis(100);
    let router = Plan { hold_timeout, eager: false, ..Plan::new(backend.address) }.run();
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout"), "{answer}");
    assert!(answer.contains("application/problem+json"));
    assert!(answer.contains("\"phase\":\"waking\"") && answer.contains("\"workload\":\"app\""));
    assert_eq!(router.workload.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_wake_is_reported_without_the_operators_details() {
    let (_backend, router) = asleep(Waiting::Hold).await;
    let message = "connect unix:///var/run/engine.sock 172.17.0.2: refused";
    *router.fake.refusal.lock().unwrap() = Some(Failure::new(ErrorCode::Unavailable, message));
    router.fake.may_start.add_permits(1);
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable"), "{answer}");
    assert!(answer.contains("retry-after: ") && answer.contains("cache-control: no-store"));
    assert!(answer.contains("The platform that runs it cannot be reached."));
    assert!(!answer.contains("172.17") && !answer.contains("engine.sock"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waiting_page_wakes_reloads_and_is_no_visit() {
    let (_backend, router) = asleep(Waiting::Page).await;
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable"), "{answer}");
    assert!(answer.contains("retry-after: 2") && answer.contains("cache-control: no-store"));
    assert!(answer.contains("content-security-policy: default-src 'none'; script-src 'sha256-"));
    assert!(answer.contains("app is waking up"));
    assert_eq!((router.visits(), router.workload.waiting()), (0, 0));
    until(|| router.fake.starts() == 1).await;
    router.fake.may_start.add_permits(1);
    router.phase(Phase::Ready).await;
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_for_head_has_no_body_and_the_connection_stays_usable() {
    let (_backend, router) = asleep(Waiting::Page).await;
    let mut wire = router.connect().await;
    for _ in 0..2 {
        wire.send("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        assert!(wire.head().await.starts_with("HTTP/1.1 503"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_visitor_wakes_too() {
    let (_backend, router) = asleep(Waiting::Reject).await;
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable"), "{answer}");
    assert!(answer.contains("retry-after: 5") && answer.contains("\"phase\":\"waking\""));
    until(|| router.fake.starts() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_shows_browsers_the_page_and_holds_other_clients() {
    let (_backend, router) = asleep(Waiting::Auto).await;
    let browser = |line: &str| {
        format!("GET / HTTP/1.1\r\nHost: app.test\r\n{line}\r\nConnection: close\r\n\r\n")
    };
    for line in ["Sec-Fetch-Mode: navigate", "Accept: text/html,*/*"] {
        let answer = router.ask(&browser(line)).await;
        assert!(answer.contains("<!doctype html>"), "{answer}");
    }
    let mut held = JoinSet::new();
    for line in ["Sec-Fetch-Mode: cors\r\nAccept: text/html", "Accept: */*"] {
        let mut wire = router.connect().await;
        let request = browser(line);
        held.spawn(async move {
            wire.send(request).await;
            wire.rest().await
        });
    }
    until(|| router.workload.waiting() == 2).await;
    router.fake.may_start.add_permits(1);
    while let Some(answer) = within(held.join_next()).await {
        assert!(answer.unwrap().starts_with("HTTP/1.1 200 OK"));
    }
    assert_eq!(router.fake.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_to_a_rejected_upload_arrives_and_the_client_may_finish_sending() {
    let (_backend, router) = asleep(Waiting::Reject).await;
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 8000000\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 503"));
    // Fails with a reset if the router closes the connection during the upload.
    wire.send(vec![b'x'; 8_000_000]).await;
    wire.0.shutdown().await.unwrap();
    wire.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_route_holds_requests_that_a_page_cannot_replace() {
    let backend = Backend::new(|mut wire| async move {
        let head = wire.head().await;
        if head.starts_with("POST") {
            wire.expect("precious").await;
        }
        wire.send(OK).await;
    })
    .await;
    let plan = Plan { waiting: Waiting::Page, eager: false, ..Plan::new(backend.address) };
    let router = plan.run();
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 8\r\n\r\nprecious").await;
    let mut socket = router.connect().await;
    socket
        .send(
            "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
    until(|| router.workload.waiting() == 2).await;
    router.fake.may_start.add_permits(1);
    for wire in [&mut wire, &mut socket] {
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        wire.expect("hi").await;
    }
}

/// A client that sends `Expect: 100-continue` sends its body when the gate opens (RFC 9110 §10.1.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_100_continue_only_after_the_gate_has_opened() {
    let backend = Backend::new(|mut wire| async move {
        assert!(!wire.head().await.contains("expect:"), "the router responds to it");
        assert_eq!(wire.exactly(300_000).await, "x".repeat(300_000));
        wire.send(OK).await;
    })
    .await;
    let router = Plan { eager: false, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send(
        "PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    until(|| router.workload.waiting() == 1 && router.fake.starts() == 1).await;
    let mut early = [0; 1];
    let silent = wire.0.try_read(&mut early).unwrap_err();
    assert_eq!(
        silent.kind(),
        std::io::ErrorKind::WouldBlock,
        "no bytes are sent while the request is held"
    );
    router.fake.may_start.add_permits(1);
    assert_eq!(wire.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("x".repeat(300_000)).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    wire.expect("hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_beyond_the_maximum_gets_queue_full() {
    let (backend, _) = Backend::answering(OK).await;
    let all = WaitingSettings { max_held: 3, ..WaitingSettings::default() };
    let each = HttpLimits { max_held: 3, ..HttpLimits::default() };
    for (waiting_settings, limits) in
        [(all, HttpLimits::default()), (WaitingSettings::default(), each)]
    {
        let router =
            Plan { eager: false, waiting_settings, limits, ..Plan::new(backend.address) }.run();
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut wire = router.connect().await;
            wire.send(LAST_GET).await;
            held.push(wire);
        }
        until(|| router.workload.waiting() == 3).await;
        let answer = router.ask(LAST_GET).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("retry-after: ") && answer.contains("\"code\":\"queue-full\""));
        assert!(answer.contains("the queue of waiting visitors is full"), "{answer}");
        // A released place is free for the next visitor.
        drop(held.pop());
        until(|| router.workload.waiting() == 2).await;
        let mut next = router.connect().await;
        next.send(LAST_GET).await;
        until(|| router.workload.waiting() == 3).await;
        held.push(next);
        router.fake.may_start.add_permits(1);
        for mut wire in held {
            assert!(wire.rest().await.starts_with("HTTP/1.1 200 OK"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_gets_queue_full_still_wakes_the_workload() {
    let (backend, _) = Backend::answering(OK).await;
    let waiting_settings = WaitingSettings { max_held: 0, ..WaitingSettings::default() };
    let router = Plan { eager: false, waiting_settings, ..Plan::new(backend.address) }.run();
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 503"));
    until(|| router.fake.starts() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_response_contains_the_progress_of_the_wake() {
    let (_backend, router) = asleep(Waiting::Reject).await;
    let answer = router.ask(LAST_GET).await;
    assert!(answer.contains("application/problem+json"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], "not-ready");
    assert_eq!(problem["phase"], "waking");
    assert!(problem["stage"].is_string() && problem["elapsed"].is_number(), "{problem}");
    assert_eq!(problem["retry_after"], 5);
}
