//! Peers that stall in the middle of an exchange: each side has its own time limit.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{Backend, GET, OK, Plan, Router, Wire, until, within};
use drowse_proxy::HttpLimits;
use socket2::SockRef;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    time::timeout,
};

const SHORT: Duration = Duration::from_millis(300);
/// Long enough for every short limit to pass, and for a sweep to notice.
const PAUSE: Duration = Duration::from_millis(1200);

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\n\r\n";

fn router(backend: &Backend, limits: HttpLimits) -> Router {
    Plan { limits, ..Plan::new(backend.address) }.run()
}

/// Writes until the peer no longer reads.
async fn flood(writer: &mut (impl AsyncWriteExt + Unpin)) {
    let piece = vec![b'x'; 64 << 10];
    while writer.write_all(&piece).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stalls_in_its_request_body_gets_408() {
    let (closed, mut closes) = tokio::sync::mpsc::channel(1);
    let backend = Backend::new(move |mut wire| {
        let closed = closed.clone();
        async move {
            wire.head().await;
            wire.expect("part").await;
            wire.closed().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let router = router(&backend, HttpLimits { body_timeout: SHORT, ..HttpLimits::default() });
    let mut wire = router.connect().await;
    let begun = Instant::now();
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\npart").await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 408 Request Timeout"), "{head}");
    assert!(begun.elapsed() >= SHORT);
    within(closes.recv()).await.unwrap();
    until(|| router.visits() == 0).await;
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_body_that_makes_progress_arrives() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.expect("slowly").await;
        wire.send(OK).await;
    })
    .await;
    let limits = HttpLimits { body_timeout: 4 * SHORT, ..HttpLimits::default() };
    let router = router(&backend, limits);
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 6\r\n\r\n").await;
    for byte in b"slowly" {
        tokio::time::sleep(SHORT).await;
        wire.send([*byte]).await;
    }
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_read_the_upload_is_504() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let router = router(&backend, HttpLimits { response_timeout: SHORT, ..HttpLimits::default() });
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 500000000\r\n\r\n").await;
    let (reader, mut writer) = wire.0.into_split();
    let upload = tokio::spawn(async move { flood(&mut writer).await });
    let mut status = String::new();
    within(BufReader::new(reader).read_line(&mut status)).await.unwrap();
    assert!(status.starts_with("HTTP/1.1 504 Gateway Timeout"), "{status}");
    until(|| router.visits() == 0).await;
    upload.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_visit_of_a_disconnected_client_ends_although_the_backend_does_not_read() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let router = router(&backend, HttpLimits::default());
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 500000000\r\n\r\n").await;
    assert!(timeout(PAUSE, flood(&mut wire.0)).await.is_err(), "all buffers are full");
    assert_eq!(router.visits(), 1);
    // It resets the connection: a FIN would wait behind the unread bytes.
    SockRef::from(&wire.0).set_linger(Some(Duration::ZERO)).unwrap();
    drop(wire);
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n").await;
        flood(&mut wire.0).await;
    })
    .await;
    let router = router(&backend, HttpLimits { send_timeout: SHORT, ..HttpLimits::default() });
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    until(|| router.visits() == 0).await;
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stalls_in_its_response_body_is_disconnected() {
    let (closed, mut closes) = tokio::sync::mpsc::channel(1);
    let backend = Backend::new(move |mut wire| {
        let closed = closed.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            wire.send("5\r\nhello\r\n").await;
            wire.closed().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let router = router(&backend, HttpLimits { read_timeout: SHORT, ..HttpLimits::default() });
    let answer = router.ask(GET).await;
    assert!(answer.ends_with("5\r\nhello\r\n"), "not made to look whole: {answer}");
    within(closes.recv()).await.unwrap();
    until(|| router.visits() == 0).await;
}

/// Step in bytes by which the test finds out how much the router buffers for a client that does
/// not read.
const STEP: usize = 32 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_every_byte_of_an_incomplete_response() {
    let (closed, mut closes) = tokio::sync::mpsc::channel(1);
    let backend = Backend::new(move |mut wire| {
        let closed = closed.clone();
        async move {
            let head = wire.head().await;
            let size = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n").await;
            wire.send(vec![b'x'; size]).await;
            wire.0.shutdown().await.unwrap();
            wire.closed().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let router = router(&backend, HttpLimits::default());
    for size in (0..).step_by(STEP) {
        let mut wire = router.connect().await;
        wire.send(format!("GET /{size} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        // Once the router closes the connection to the backend, it has read every byte.
        let held = timeout(PAUSE, closes.recv()).await.is_ok();
        wire.head().await;
        let mut body = Vec::new();
        // The stream may end with an error; the bytes before it count.
        let _ = within(wire.0.read_to_end(&mut body)).await;
        assert_eq!(body.len(), size);
        if !held {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_still_being_read_is_not_closed_by_the_next_requests_deadline() {
    let backend = Backend::new(|mut wire| async move {
        while let Some(head) = wire.try_head().await {
            let size: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")).await;
            wire.send(vec![b'x'; size]).await;
        }
    })
    .await;
    let limits = HttpLimits { head_timeout: SHORT, keep_alive: SHORT, ..HttpLimits::default() };
    let router = router(&backend, limits);
    let ask = async |size: usize| {
        let mut wire = router.connect().await;
        wire.send(format!("GET /{size} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        within(wire.0.peek(&mut [0])).await.unwrap();
        wire
    };
    // The visit ends with the last byte that the router received.
    let held = async || timeout(PAUSE, until(|| router.visits() == 0)).await.is_ok();
    let mut size = 0;
    loop {
        let wire = ask(size).await;
        let held = held().await;
        drop(wire);
        until(|| router.visits() == 0).await;
        if !held {
            break;
        }
        size += STEP;
    }
    // The sockets buffer a different amount on each connection.
    let mut wire = loop {
        size -= STEP;
        let wire = ask(size).await;
        if held().await {
            break wire;
        }
        drop(wire);
        until(|| router.visits() == 0).await;
    };
    // The next request begins and stalls. For the time that it would have had, the client reads
    // nothing of the response.
    wire.send("GET").await;
    tokio::time::sleep(PAUSE).await;
    wire.head().await;
    let mut body = vec![0; size];
    within(wire.0.read_exact(&mut body)).await.unwrap();
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_and_the_request_body_beside_it_may_be_silent() {
    let backend = Backend::new(|mut wire| async move {
        let head = wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
        if head.starts_with("POST") {
            wire.expect("part").await;
            wire.expect("rest").await;
        } else {
            tokio::time::sleep(PAUSE).await;
        }
        wire.send("3\r\ntwo\r\n0\r\n\r\n").await;
    })
    .await;
    let limits = HttpLimits {
        body_timeout: SHORT,
        response_timeout: SHORT,
        send_timeout: SHORT,
        head_timeout: SHORT,
        keep_alive: SHORT,
        ..HttpLimits::default()
    };
    let router = router(&backend, limits);
    let mut events = router.connect().await;
    events.send(GET).await;
    events.head().await;
    events.expect("3\r\none\r\n").await;
    let mut both = router.connect().await;
    both.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 8\r\n\r\npart").await;
    both.head().await;
    both.expect("3\r\none\r\n").await;
    tokio::time::sleep(PAUSE).await;
    both.send("rest").await;
    for wire in [&mut events, &mut both] {
        wire.expect("3\r\ntwo\r\n0\r\n\r\n").await;
    }
}

/// Opens a tunnel through a router with these limits.
async fn tunnel(limits: HttpLimits) -> (Router, Backend, Wire) {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(SWITCH).await;
        let asked = wire.exactly(5).await;
        wire.send(&asked).await;
        if asked == "flood" {
            flood(&mut wire.0).await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let router = router(&backend, limits);
    let mut wire = router.connect().await;
    wire.send(UPGRADE).await;
    wire.head().await;
    (router, backend, wire)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_tunnel_stays_open_unless_tunnel_idle_is_set() {
    let short = HttpLimits {
        body_timeout: SHORT,
        response_timeout: SHORT,
        send_timeout: SHORT,
        read_timeout: SHORT,
        head_timeout: SHORT,
        keep_alive: SHORT,
        ..HttpLimits::default()
    };
    let (_router, _backend, mut open) = tunnel(short).await;
    let limits = HttpLimits { tunnel_idle: Some(SHORT), ..HttpLimits::default() };
    let (router, _other, mut idle) = tunnel(limits).await;
    idle.closed().await;
    until(|| router.visits() == 0).await;
    tokio::time::sleep(PAUSE).await;
    open.send("hello").await;
    open.expect("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_whose_client_does_not_read_is_closed() {
    let limits = HttpLimits { send_timeout: SHORT, ..HttpLimits::default() };
    let (router, _backend, mut wire) = tunnel(limits).await;
    wire.send("flood").await;
    wire.expect("flood").await;
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_whose_backend_does_not_read_is_closed() {
    let limits = HttpLimits { response_timeout: SHORT, ..HttpLimits::default() };
    let (router, _backend, mut wire) = tunnel(limits).await;
    wire.send("hello").await;
    wire.expect("hello").await;
    within(flood(&mut wire.0)).await;
    until(|| router.visits() == 0).await;
}
