//! A visit is held until the last byte of its exchange, and no longer.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use common::{Backend, GET, LAST_GET, OK, Plan, Refusing, Router, until, within};
use drowse_core::{Phase, Status};
use drowse_proxy::HttpLimits;
use socket2::{Domain, Socket, Type};
use tokio::sync::Notify;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\n\r\n";

/// A router whose workload sleeps soon after the last visit.
fn drowsy(backend: &Backend) -> Router {
    Plan { idle: Some(Duration::from_millis(50)), ..Plan::new(backend.address) }.run()
}

/// Waits for several idle times: long enough for a wrong stop.
async fn several_idle_times() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_workload_sleeps_during_a_slow_download() {
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let backend = Backend::new(move |mut wire| {
        let gate = gate.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
            gate.notified().await;
            wire.send("final").await;
        }
    })
    .await;
    let router = drowsy(&backend);
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    wire.expect("first").await;
    let stops = router.fake.stops();
    several_idle_times().await;
    assert_eq!((router.visits(), router.fake.stops()), (1, stops));
    go_on.notify_one();
    wire.expect("final").await;
    router.phase(Phase::Asleep).await;
    assert_eq!(router.fake.stops(), stops + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_workload_sleeps_during_a_slow_upload() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.expect("firstfinal").await;
        wire.send(OK).await;
    })
    .await;
    let router = drowsy(&backend);
    let mut wire = router.connect().await;
    wire.send("PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nfirst").await;
    until(|| router.visits() == 1).await;
    let stops = router.fake.stops();
    several_idle_times().await;
    assert_eq!((router.visits(), router.fake.stops()), (1, stops));
    wire.send("final").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    router.phase(Phase::Asleep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_workload_sleeps_while_one_half_of_a_tunnel_is_open() {
    let backend = Backend::new(|mut wire| async move {
        let head = wire.head().await;
        assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket"));
        // The first bytes arrive together with the switch.
        wire.send(format!("{SWITCH}hello")).await;
        wire.expect("to the end").await;
        let rest = wire.rest().await;
        wire.send(format!("you said {rest}")).await;
    })
    .await;
    let router = drowsy(&backend);
    let mut wire = router.connect().await;
    wire.send(UPGRADE).await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"));
    wire.expect("hello").await;
    wire.send("to the end").await;
    let stops = router.fake.stops();
    several_idle_times().await;
    assert_eq!((router.visits(), router.fake.stops()), (1, stops));
    wire.send("bye").await;
    tokio::io::AsyncWriteExt::shutdown(&mut wire.0).await.unwrap();
    assert_eq!(wire.rest().await, "you said bye");
    router.phase(Phase::Asleep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_the_client_resets_ends_its_visit() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(SWITCH).await;
        wire.closed().await;
    })
    .await;
    let router = drowsy(&backend);
    let mut wire = router.connect().await;
    wire.send(UPGRADE).await;
    wire.head().await;
    assert_eq!(router.visits(), 1);
    drop(wire);
    router.phase(Phase::Asleep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_still_send_in_a_tunnel_whose_backend_has_closed_its_side() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(SWITCH).await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    wire.send(UPGRADE).await;
    wire.head().await;
    within(async {
        use tokio::io::AsyncWriteExt;
        while wire.0.write_all(b"is anybody there?").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_to_a_refused_upgrade_is_relayed() {
    let (backend, _requests) =
        Backend::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    for _ in 0..2 {
        wire.send(UPGRADE).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 403"));
        wire.expect("no").await;
    }
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_a_client_that_disconnects_ends() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(10);
    let (left, mut leaves) = tokio::sync::mpsc::channel(10);
    let backend = Backend::new(move |mut wire| {
        let (arrived, left) = (arrived.clone(), left.clone());
        async move {
            let head = wire.head().await;
            arrived.send(()).await.unwrap();
            if head.contains("/begun") {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun").await;
            }
            wire.closed().await;
            left.send(()).await.unwrap();
        }
    })
    .await;
    let router = Plan::new(backend.address).run();
    for request in [
        "GET /silent HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET /begun HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "POST /silent HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\npart",
        "POST /begun HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\npart",
        // The next request has already arrived.
        "GET /silent HTTP/1.1\r\nHost: app.test\r\n\r\nGET /next HTTP/1.1\r\n",
        "GET /begun HTTP/1.1\r\nHost: app.test\r\n\r\nGET /next HTTP/1.1\r\n",
    ] {
        let mut wire = router.connect().await;
        wire.send(request).await;
        if request.contains("/begun") {
            wire.head().await;
        }
        within(arrivals.recv()).await.unwrap();
        assert_eq!(router.visits(), 1);
        if request.starts_with("GET") {
            // The next request begins while this one is served.
            wire.send("GET").await;
        }
        drop(wire);
        within(leaves.recv()).await.unwrap();
        until(|| router.visits() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_idle_connection_is_replaced_without_an_error() {
    // Closes each connection after one response without `Connection: close`, and reports when the
    // router has closed it too.
    let (closed, mut closes) = tokio::sync::mpsc::channel(20);
    let backend = Backend::new(move |mut wire| {
        let closed = closed.clone();
        async move {
            let head = wire.head().await;
            if head.starts_with("POST") {
                wire.expect("body").await;
            }
            wire.send(OK).await;
            tokio::io::AsyncWriteExt::shutdown(&mut wire.0).await.unwrap();
            wire.closed().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let router = Plan { threads: 1, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    let mut seen = 0;
    for n in 0..20 {
        if n % 2 == 0 {
            wire.send(GET).await;
        } else {
            wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody").await;
        }
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "request {n}: {head}");
        wire.expect("hi").await;
        until(|| backend.accepted() == n + 1).await;
        // A GET must succeed whether or not the pool has noticed the close; a POST only if it has.
        if n % 2 == 0 {
            for _ in seen..=n {
                within(closes.recv()).await.unwrap();
            }
            seen = n + 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_on_a_reused_connection_that_closes_is_sent_again() {
    // Every connection serves one request and closes at the second, unread.
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(OK).await;
        let _ = wire.0.peek(&mut [0]).await;
    })
    .await;
    let router = Plan { threads: 1, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    for n in 1..=10 {
        wire.send(GET).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        wire.expect("hi").await;
        assert_eq!(backend.accepted(), n);
    }
    assert_eq!(router.fake.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_backend_is_woken_again_and_the_upload_arrives() {
    let port = Refusing::new();
    let first = Backend::on(port.listen(), |mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").await;
    });
    let router = Plan::new(port.address).run();
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 200"));

    drop(first);
    until(|| std::net::TcpStream::connect(port.address).is_err()).await;
    let second = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.expect("precious").await;
        wire.send(OK).await;
    })
    .await;
    *router.fake.address.lock().unwrap() = second.address;
    *router.fake.status.lock().unwrap() = Status::Stopped;

    let answer = router
        .ask(
            "POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 8\r\n\r\n\
             precious",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(router.fake.starts(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_backend_that_refuses_connections_is_502() {
    let refusing = Refusing::new();
    let router = Plan::new(refusing.address).run();
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway"), "{answer}");
    assert!(
        !answer.contains("127.0.0.1") && !answer.contains(&refusing.address.port().to_string())
    );
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_instance_has_its_own_time_limit_to_be_reachable() {
    let (old, new) = (Refusing::new(), Refusing::new());
    let router = Plan { eager: false, ..Plan::new(old.address) }.run();
    router.fake.may_start.add_permits(1);
    router.engine.wake("app", drowse_core::Cause::new(drowse_core::Trigger::Cli)).unwrap();
    router.phase(Phase::Ready).await;
    *router.fake.status.lock().unwrap() = Status::Stopped;
    *router.fake.address.lock().unwrap() = new.address;

    let mut wire = router.connect().await;
    wire.send(LAST_GET).await;
    until(|| router.fake.starts() == 2).await;
    // Longer than the limit for an unreachable upstream.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let looks = router.fake.looks.load(Ordering::SeqCst);
    router.fake.may_start.add_permits(1);
    until(|| router.fake.looks.load(Ordering::SeqCst) > looks).await;
    let _backend = Backend::on(new.listen(), |mut wire| async move {
        wire.head().await;
        wire.send(OK).await;
    });
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_visitor_does_not_start_a_workload_repeatedly_that_ends_once_ready() {
    let nowhere = Refusing::new();
    let router = Plan { eager: false, ..Plan::new(nowhere.address) }.run();
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhi").await;
    router.fake.ends_at_once.store(true, Ordering::SeqCst);
    router.fake.may_start.add_permits(100);
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert_eq!(router.fake.starts(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_connect_counts_against_the_limit() {
    // The accept queue is full: the kernel drops further connections.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let try_it = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let _queued: Vec<_> = std::iter::from_fn(|| try_it().ok()).collect();

    let connect_timeout = Duration::from_secs(3);
    let limits = HttpLimits { connect_timeout, ..HttpLimits::default() };
    let router = Plan { limits, ..Plan::new(address) }.run();
    let begun = Instant::now();
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(begun.elapsed() < 2 * connect_timeout, "one attempt and one status query");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_closes_a_new_connection_is_not_sent_to_the_same_instance_again() {
    for answer in ["", "HTTP/1.1 200 O", "SSH-2.0-x\r\n\r\n"] {
        let backend = Backend::new(move |mut wire| async move {
            wire.head().await;
            wire.send(answer).await;
        })
        .await;
        let router = Plan::new(backend.address).run();
        let response = router.ask(LAST_GET).await;
        assert!(response.starts_with("HTTP/1.1 502 Bad Gateway"), "{answer:?}: {response}");
        assert_eq!(backend.accepted(), 1, "{answer:?}");
        assert_eq!(router.fake.starts(), 1);
        until(|| router.visits() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_with_a_malformed_response_on_an_idle_connection_is_not_sent_again() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(OK).await;
        wire.head().await;
        wire.send("SSH-2.0-x\r\n\r\n").await;
    })
    .await;
    let router = Plan { threads: 1, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    wire.expect("hi").await;
    wire.send(GET).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 502"));
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_whose_instance_ends_is_served_by_the_next_instance() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(1);
    let dies = Arc::new(Notify::new());
    let death = dies.clone();
    let first = Backend::new(move |mut wire| {
        let (arrived, death) = (arrived.clone(), death.clone());
        async move {
            wire.head().await;
            arrived.send(()).await.unwrap();
            death.notified().await;
        }
    })
    .await;
    let router = Plan::new(first.address).run();
    let mut wire = router.connect().await;
    wire.send(LAST_GET).await;
    within(arrivals.recv()).await.unwrap();
    let (second, _requests) = Backend::answering(OK).await;
    // Longer than the limit for an unreachable upstream.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let looks = router.fake.looks.load(Ordering::SeqCst);
    dies.notify_one();
    // The provider notices the end later than the visitor.
    until(|| router.fake.looks.load(Ordering::SeqCst) > looks).await;
    {
        let mut status = router.fake.status.lock().unwrap();
        *router.fake.address.lock().unwrap() = second.address;
        *status = Status::Stopped;
    }
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!((first.accepted(), second.accepted(), router.fake.starts()), (1, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_a_workload_that_falls_asleep_are_closed() {
    let (closed, mut closes) = tokio::sync::mpsc::channel(1);
    let backend = Backend::new(move |mut wire| {
        let closed = closed.clone();
        async move {
            wire.head().await;
            wire.send(OK).await;
            wire.closed().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    wire.expect("hi").await;
    let cause = drowse_core::Cause::new(drowse_core::Trigger::Cli);
    router.engine.sleep("app", cause, drowse_core::Force::Drain).unwrap();
    router.phase(Phase::Asleep).await;
    within(closes.recv()).await.unwrap();
}
