//! Addresses that change hands during requests: no byte of a request reaches another backend.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use common::{Backend, GET, OK, Plan, Router, Wire, until, within};
use drowse_core::{Phase, Status};
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;

/// Longer than a provider's report takes, and shorter than the kernel's first SYN retransmission.
const AT_ONCE: Duration = Duration::from_millis(900);

const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\
                      Content-Length: 8\r\n\r\nprecious";

/// An address that does not answer: its accept queue is full, and the kernel drops further SYNs.
struct Silent {
    listener: TcpListener,
    address: SocketAddr,
    queued: Vec<TcpStream>,
}

// === impl Silent ===

impl Silent {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let queued = std::iter::from_fn(connect).collect();
        Self { listener: socket.into(), address, queued }
    }

    /// Passes the address to another backend, which accepts connections for this time. Returns the
    /// bytes that it received, without those of the queued connections.
    async fn hand_over(self, time: Duration) -> Vec<u8> {
        drop(self.queued);
        let other_backend = move || {
            let (end, mut received) = (Instant::now() + time, Vec::new());
            self.listener.set_nonblocking(true).unwrap();
            let mut streams = Vec::new();
            while Instant::now() < end {
                if let Ok((stream, _)) = self.listener.accept() {
                    stream.set_nonblocking(true).unwrap();
                    streams.push(stream);
                }
                for mut stream in &streams {
                    // The connection may be closed or silent.
                    let _ = stream.read_to_end(&mut received);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            received
        };
        tokio::task::spawn_blocking(other_backend).await.unwrap()
    }
}

/// A backend that responds after it has received the upload.
async fn taking_uploads() -> Backend {
    Backend::new(|mut wire| async move {
        wire.head().await;
        wire.expect("precious").await;
        wire.send(OK).await;
    })
    .await
}

fn queries(router: &Router) -> usize {
    router.fake.looks.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_ends_with_the_instance_it_was_made_for() {
    let (silent, next) = (Silent::new(), taking_uploads().await);
    let router = Plan::new(silent.address).run();
    let mut wire = router.connect().await;
    wire.send(UPLOAD).await;
    until(|| router.visits() == 1).await;
    let begun = Instant::now();
    router.fake.ends(next.address);
    router.fake.report().await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    let heard = silent.hand_over(Duration::from_millis(1500)).await;
    assert_eq!(String::from_utf8_lossy(&heard), "", "the dial outlived its instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_connection_gets_no_bytes_before_the_provider_has_confirmed_the_address() {
    let (silent, next) = (Silent::new(), taking_uploads().await);
    let router = Plan::new(silent.address).run();
    let mut wire = router.connect().await;
    let before = queries(&router);
    wire.send(UPLOAD).await;
    // The unanswered dial causes a query.
    until(|| queries(&router) > before).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Without an event.
    router.fake.ends(next.address);
    let other_backend = tokio::spawn(silent.hand_over(Duration::from_secs(3)));
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(String::from_utf8_lossy(&other_backend.await.unwrap()), "");
    assert_eq!(router.fake.starts(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_dial_causes_a_query_of_the_provider() {
    let (silent, next) = (Silent::new(), taking_uploads().await);
    let router = Plan::new(silent.address).run();
    router.engine.wake("app", drowse_core::Cause::new(drowse_core::Trigger::Cli)).unwrap();
    router.phase(Phase::Ready).await;
    router.fake.ends(next.address);
    let begun = Instant::now();
    assert!(router.ask(UPLOAD).await.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_when_its_address_has_changed() {
    let (closed, mut closes) = mpsc::channel(1);
    let first = Backend::new(move |mut wire| {
        let closed = closed.clone();
        async move {
            wire.head().await;
            wire.send(OK).await;
            // Reports a second request.
            let _ = closed.send(wire.try_head().await).await;
        }
    })
    .await;
    let second = taking_uploads().await;
    let router = Plan { threads: 1, ..Plan::new(first.address) }.run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    wire.expect("hi").await;
    *router.fake.address.lock().unwrap() = second.address;
    let begun = Instant::now();
    router.fake.report().await;
    assert_eq!(within(closes.recv()).await.unwrap(), None, "a request went to the old address");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    wire.send(UPLOAD).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!((first.accepted(), second.accepted()), (1, 1));
}

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn responses_end_when_the_backend_becomes_unreachable() {
    // Request, start and last bytes of the response, and whether the backend has closed its side.
    for (request, begin, last, closes) in [
        (GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nlast.\r\n", false),
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "last.", false),
        (GET, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "last.", false),
        (UPGRADE, SWITCH, "last.", false),
        (UPGRADE, SWITCH, "last.", true),
    ] {
        let backend = Backend::new(move |mut wire| async move {
            wire.head().await;
            wire.send(begin).await;
            wire.send(last).await;
            if closes {
                tokio::io::AsyncWriteExt::shutdown(&mut wire.0).await.unwrap();
            }
            std::future::pending::<()>().await;
        })
        .await;
        let router = Plan::new(backend.address).run();
        let mut wire = router.connect().await;
        wire.send(request).await;
        wire.head().await;
        let mut heard = String::new();
        while !heard.contains("last.") {
            heard += &wire.exactly(1).await;
        }
        assert_eq!(router.visits(), 1);
        router.fake.unreachable.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        router.fake.report().await;
        let rest = rest(&mut wire).await;
        assert!(begun.elapsed() < AT_ONCE, "{begin:?}: {:?}", begun.elapsed());
        assert!(!rest.contains("0\r\n\r\n"), "{begin:?} must not look complete");
        until(|| router.visits() == 0).await;
    }
}

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";

/// All bytes until the peer closes or resets the connection.
async fn rest(wire: &mut Wire) -> String {
    let mut heard = Vec::new();
    let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut wire.0, &mut heard)).await;
    String::from_utf8(heard).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_with_the_instance_and_its_client_gets_502() {
    let (sender, mut received) = mpsc::channel(1);
    let backend = Backend::new(move |mut wire| {
        let sender = sender.clone();
        async move {
            wire.head().await;
            wire.expect("half").await;
            sender.send(String::new()).await.unwrap();
            sender.send(rest(&mut wire).await).await.unwrap();
        }
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 8\r\n\r\nhalf").await;
    within(received.recv()).await.unwrap();
    *router.fake.status.lock().unwrap() = Status::Stopped;
    let begun = Instant::now();
    router.fake.report().await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    let _ = tokio::io::AsyncWriteExt::write_all(&mut wire.0, b"rest").await;
    assert_eq!(
        within(received.recv()).await.unwrap(),
        "",
        "no bytes after the end of the instance"
    );
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_at_once_cause_a_query_of_the_provider() {
    let (together, _) = tokio::sync::broadcast::channel::<()>(1);
    let (end, arrive) = (together.clone(), std::sync::Arc::new(tokio::sync::Barrier::new(4)));
    let backend = Backend::new(move |mut wire| {
        let (mut end, arrive) = (end.subscribe(), arrive.clone());
        async move {
            wire.head().await;
            arrive.wait().await;
            wire.send(OK).await;
            let _ = end.recv().await;
        }
    })
    .await;
    let router = Plan { threads: 1, ..Plan::new(backend.address) }.run();
    let mut wires = Vec::new();
    for _ in 0..4 {
        let mut wire = router.connect().await;
        wire.send(GET).await;
        wires.push(wire);
    }
    for wire in &mut wires {
        wire.head().await;
        wire.expect("hi").await;
    }
    until(|| router.visits() == 0).await;
    let before = queries(&router);
    *router.fake.status.lock().unwrap() = Status::Stopped;
    drop(together.send(()));
    // No client sends a request meanwhile.
    router.phase(Phase::Asleep).await;
    assert!(queries(&router) - before <= 2, "{} times", queries(&router) - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_closed_idle_connection_causes_no_query() {
    let (closes, closed) = (mpsc::channel::<()>(1), mpsc::channel::<()>(1));
    let (close, mut close_now) = closes;
    let (report, mut reports) = closed;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = tokio::spawn(async move {
        let mut wire = Wire(listener.accept().await.unwrap().0);
        wire.head().await;
        wire.send(OK).await;
        close_now.recv().await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut wire.0).await.unwrap();
        wire.closed().await;
        report.send(()).await.unwrap();
    });
    let router = Plan { threads: 1, ..Plan::new(address) }.run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    wire.expect("hi").await;
    let before = queries(&router);
    close.send(()).await.unwrap();
    within(reports.recv()).await.unwrap();
    assert_eq!(queries(&router), before);
    backend.await.unwrap();
}
