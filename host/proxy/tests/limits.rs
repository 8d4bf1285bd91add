//! Limits on slow, greedy and silent peers, and a shutdown that loses no request.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    net::TcpListener as StdListener,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use common::{Backend, GET, LAST_GET, LONG, OK, Plan, until, within};
use drowse_proxy::{HttpLimits, ListenerSettings, Protocol, Proxy, Tables};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

const SHORT: Duration = Duration::from_millis(300);

fn limits() -> HttpLimits {
    HttpLimits::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_finish_its_request_head_is_disconnected() {
    let (backend, _requests) = Backend::answering(OK).await;
    let limits = HttpLimits { head_timeout: SHORT, ..limits() };
    let router = Plan { limits, ..Plan::new(backend.address) }.run();
    let mut silent = router.connect().await;
    let mut slow = router.connect().await;
    slow.send("GET / HTTP/1.1\r\nHost: a").await;
    silent.closed().await;
    slow.closed().await;
    // The head timeout begins with the head's first byte, on a reused connection too.
    let mut used = router.connect().await;
    used.send(GET).await;
    used.head().await;
    used.expect("hi").await;
    used.send("GET /").await;
    used.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_is_disconnected_and_a_waiting_one_is_not() {
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let backend = Backend::new(move |mut wire| {
        let gate = gate.clone();
        async move {
            while let Some(head) = wire.try_head().await {
                if head.contains("/slow") {
                    gate.notified().await;
                }
                wire.send(OK).await;
            }
        }
    })
    .await;
    let limits = HttpLimits { keep_alive: SHORT, head_timeout: SHORT, ..limits() };
    let router = Plan { limits, ..Plan::new(backend.address) }.run();
    let mut waiting = router.connect().await;
    waiting.send("GET /slow HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let mut idle = router.connect().await;
    idle.send(GET).await;
    idle.head().await;
    idle.expect("hi").await;
    idle.closed().await;
    go_on.notify_one();
    assert!(waiting.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_head_that_is_too_large_is_431() {
    let (backend, _requests) = Backend::answering(OK).await;
    let limits = HttpLimits { head_bytes: 8 << 10, ..limits() };
    let router = Plan { limits, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    let long = "y".repeat(9000);
    wire.send(format!("GET / HTTP/1.1\r\nHost: app.test\r\nX: {long}\r\n\r\n")).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 431 "));
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_answer_is_504_and_its_connection_closed() {
    let (closed, mut closes) = tokio::sync::mpsc::channel(10);
    let backend = Backend::new(move |mut wire| {
        let closed = closed.clone();
        async move {
            let head = wire.head().await;
            if head.starts_with("POST") {
                wire.expect("body").await;
            }
            wire.closed().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let limits = HttpLimits { response_timeout: SHORT, ..limits() };
    let router = Plan { limits, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    for request in [GET, "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody", GET]
    {
        let begun = Instant::now();
        wire.send(request).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 504 Gateway Timeout"), "{head}");
        assert!(begun.elapsed() >= SHORT);
        let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
        wire.exactly(length.parse().unwrap()).await;
        within(closes.recv()).await.unwrap();
    }
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_in_the_backlog() {
    let (backend, _requests) = Backend::answering(OK).await;
    let limits = HttpLimits { connections: 2, ..limits() };
    let router = Plan { limits, threads: 1, ..Plan::new(backend.address) }.run();
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut wire = router.connect().await;
        wire.send(GET).await;
        wire.head().await;
        wire.expect("hi").await;
        inside.push(wire);
    }
    let mut third = router.connect().await;
    third.send(GET).await;
    let mut byte = [0];
    let early = tokio::time::timeout(SHORT, third.0.read(&mut byte)).await;
    assert!(early.is_err(), "the third connection waits while two are open");
    inside.pop();
    assert!(third.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_completes_requests_and_refuses_new_ones() {
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let backend = Backend::new(move |mut wire| {
        let gate = gate.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
            gate.notified().await;
            wire.send("cd").await;
        }
    })
    .await;
    let mut router = Plan::new(backend.address).run();
    let mut idle = router.connect().await;
    idle.send("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n").await;
    assert!(idle.head().await.starts_with("HTTP/1.1 404"));
    let mut busy = router.connect().await;
    busy.send(GET).await;
    busy.head().await;
    busy.expect("ab").await;
    let running = router.take_running();
    let stopped = tokio::spawn(running.shutdown(LONG));
    idle.closed().await;
    within(async { while tokio::net::TcpStream::connect(router.address).await.is_ok() {} }).await;
    assert!(!stopped.is_finished());
    go_on.notify_one();
    busy.expect("cd").await;
    busy.closed().await;
    assert!(within(stopped).await.unwrap(), "no connection was closed early");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_sent_before_shutdown_is_served() {
    let (backend, _requests) = Backend::answering(OK).await;
    let mut router = Plan::new(backend.address).run();
    // Awake before the test, so that the response does not depend on the wake.
    router.ask(LAST_GET).await;
    let mut early = router.connect().await;
    early.send(GET).await;
    let running = router.take_running();
    let stopped = tokio::spawn(running.shutdown(LONG));
    let head = early.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    early.expect("hi").await;
    early.closed().await;
    assert!(within(stopped).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_arrived_on_an_open_connection_before_shutdown_is_served() {
    let (backend, _requests) = Backend::answering(OK).await;
    let mut router = Plan { threads: 1, ..Plan::new(backend.address) }.run();
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut wire = router.connect().await;
        wire.send(GET).await;
        wire.head().await;
        wire.expect("hi").await;
        open.push(wire);
    }
    // More than the one thread can have read when it notices the shutdown.
    for wire in &open {
        assert_eq!(wire.0.try_write(GET.as_bytes()).unwrap(), GET.len());
    }
    let running = router.take_running();
    let stopped = tokio::spawn(running.shutdown(LONG));
    for wire in &mut open {
        let head = wire.try_head().await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        wire.expect("hi").await;
        wire.closed().await;
    }
    assert!(within(stopped).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_closes_connections_that_outlast_the_deadline() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.closed().await;
    })
    .await;
    let mut router = Plan::new(backend.address).run();
    let mut stuck = router.connect().await;
    stuck.send(GET).await;
    until(|| router.visits() == 1).await;
    let running = router.take_running();
    assert!(!within(running.shutdown(SHORT)).await);
    stuck.closed().await;
    assert_eq!(router.visits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_cannot_be_bound_does_not_affect_the_others() {
    let taken = StdListener::bind("127.0.0.1:0").unwrap();
    let listener = |name: &str, bind| ListenerSettings {
        name: name.into(),
        bind,
        protocol: Protocol::Http,
        trust: Vec::new(),
        proxy_protocol: Vec::new(),
        limits: limits(),
    };
    let settings = vec![
        listener("taken", taken.local_addr().unwrap()),
        listener("free", "127.0.0.1:0".parse().unwrap()),
    ];
    let (proxy, failed) = Proxy::bind(settings, 2);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].listener, "taken");
    assert_eq!(proxy.listening().len(), 1);
    let address = proxy.listening()[0].address;
    let running = proxy.run(Arc::new(ArcSwap::from_pointee(Tables::default()))).unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(LAST_GET.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(within(running.shutdown(LONG)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_table_is_used_by_the_next_request_of_an_open_connection() {
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan::new(backend.address).run();
    let settings = ListenerSettings {
        name: "web".into(),
        bind: "127.0.0.1:0".parse().unwrap(),
        protocol: Protocol::Http,
        trust: Vec::new(),
        proxy_protocol: Vec::new(),
        limits: limits(),
    };
    let (proxy, _) = Proxy::bind(vec![settings], 2);
    let address = proxy.listening()[0].address;
    let tables = Arc::new(ArcSwap::from_pointee(Tables::default()));
    let _running = proxy.run(tables.clone()).unwrap();
    let mut wire = common::Wire(tokio::net::TcpStream::connect(address).await.unwrap());
    wire.send("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 404"));
    let route = drowse_routes::Route {
        listener: "web".into(),
        host: drowse_routes::HostMatch::Any,
        path: "/".into(),
        workload: router.workload.name().clone(),
        port: 80,
        waiting: drowse_routes::Waiting::Hold,
        hold_timeout: LONG,
        wake: Arc::default(),
        auth: None,
        similar_paths: None,
        identity_headers: Arc::default(),
    };
    tables.store(Arc::new(Tables::build([(route, router.workload.clone())]).unwrap()));
    wire.send(GET).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
}
