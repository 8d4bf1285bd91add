//! Forwarding through the open gate, as seen on the wire.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Backend, GET, LAST_GET, OK, Plan, until, within};

const OLD_GET: &str = "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_forwarded_with_its_host_and_the_clients_address() {
    let (backend, mut requests) = Backend::answering(OK).await;
    let router = Plan::new(backend.address).run();
    let request = "GET /a?b=c HTTP/1.1\r\nHost: App.Test:8080\r\nX-Forwarded-For: 1.2.3.4\r\n\
                   Connection: close, x-gone\r\nX-Gone: 1\r\nCookie: k=v\r\n\r\n";
    let answer = router.ask(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"));
    let head = requests.recv().await.unwrap();
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    for line in [
        "host: App.Test:8080",
        "cookie: k=v",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: App.Test:8080",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    assert!(!head.contains("gone") && !head.contains("1.2.3.4") && !head.contains("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_and_upstream_connections_are_reused() {
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan { threads: 1, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    for _ in 0..5 {
        wire.send(GET).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        wire.expect("hi").await;
    }
    let mut other = router.connect().await;
    other.send(GET).await;
    other.head().await;
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::new(|mut wire| async move {
        while let Some(head) = wire.try_head().await {
            let path = head.split(' ').nth(1).unwrap();
            let length = path.len();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}")).await;
        }
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    let requests: String =
        (0..20).map(|n| format!("GET /{n:02} HTTP/1.1\r\nHost: app.test\r\n\r\n")).collect();
    wire.send(requests).await;
    for n in 0..20 {
        assert!(wire.head().await.contains("content-length: 3"));
        wire.expect(&format!("/{n:02}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_404_and_named() {
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan::new(backend.address).run();
    let answer =
        router.ask("GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found"), "{answer}");
    assert!(answer.contains("other.test") && answer.contains("application/problem+json"));
    assert_eq!(router.fake.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_refused() {
    let (backend, _requests) = Backend::answering(OK).await;
    let router = Plan::new(backend.address).run();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nBad Name: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : app.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nContent-Length: +1\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("CONNECT app.test:80 HTTP/1.1\r\nHost: app.test\r\n\r\n", 501),
    ] {
        let mut wire = router.connect().await;
        wire.send(request).await;
        let head = wire.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {head}");
    }
    assert_eq!(router.fake.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_length_beside_chunked_does_not_frame_the_request() {
    let backend = Backend::new(|mut wire| async move {
        let head = wire.head().await;
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"));
        wire.expect("3\r\nabc\r\n0\r\n\r\n").await;
        wire.send(OK).await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    wire.send(
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\
         \r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    wire.expect("hi").await;
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_length_beside_chunked_does_not_frame_the_response() {
    let (backend, _requests) = Backend::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let router = Plan::new(backend.address).run();
    let answer = router.ask(LAST_GET).await;
    assert!(!answer.contains("content-length"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_with_a_chunked_body_keeps_it() {
    let backend = Backend::new(|mut wire| async move {
        assert!(wire.head().await.contains("transfer-encoding: chunked"));
        wire.expect("3\r\nabc\r\n0\r\n\r\n").await;
        wire.send(OK).await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    wire.send("GET / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    wire.send("3\r\nabc\r\n0\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_are_relayed() {
    for (method, answer, kept) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "content-length: 1000"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 OK"),
        ("GET", "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", "x: y"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nEtag: \"e\"\r\n\r\n", "etag: \"e\""),
        ("GET", "HTTP/1.1 200 Fine By Me\r\nContent-Length: 0\r\n\r\n", "200 Fine By Me"),
    ] {
        let (backend, _requests) = Backend::answering(answer).await;
        let router = Plan::new(backend.address).run();
        let mut wire = router.connect().await;
        for _ in 0..2 {
            wire.send(format!("{method} / HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
            let head = wire.head().await;
            assert!(head.contains(kept) && !head.contains("chunked"), "{answer}: {head}");
        }
        until(|| router.visits() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_an_http_1_0_response() {
    let (backend, mut requests) = Backend::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let router = Plan::new(backend.address).run();
    let answer = router.ask(OLD_GET).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello") && !answer.contains("chunked"), "{answer}");
    assert!(requests.recv().await.unwrap().starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_ends_with_the_upstreams_connection_is_complete() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.0 200 OK\r\nServer: old\r\n\r\nall of it").await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let answer = router.ask(LAST_GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("server: old"), "{answer}");
    assert!(answer.ends_with("9\r\nall of it\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_request_body_arrives_after_a_response_in_http_1_0() {
    let backend = Backend::new(|mut wire| async move {
        while let Some(head) = wire.try_head().await {
            if head.starts_with("POST") {
                assert!(head.contains("transfer-encoding: chunked"), "{head}");
                wire.expect("3\r\nabc\r\n0\r\n\r\n").await;
            }
            wire.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
                .await;
        }
    })
    .await;
    let router = Plan { threads: 1, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send(GET).await;
    wire.head().await;
    wire.expect("hi").await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    wire.send("3\r\nabc\r\n0\r\n\r\n").await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    wire.expect("hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_forwarded_in_both_directions() {
    let backend = Backend::new(|mut wire| async move {
        let head = wire.head().await;
        assert!(head.contains("trailer: x-up") && head.contains("te: trailers"), "{head}");
        wire.expect("1\r\na\r\n0\r\nx-up: 1\r\n\r\n").await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-down\r\n\r\n").await;
        wire.send("1\r\nb\r\n0\r\nx-down: 2\r\n\r\n").await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let answer = router
        .ask(
            "POST / HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nConnection: te, close\r\n\
             Trailer: x-up\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-up: 1\r\n\r\n",
        )
        .await;
    assert!(answer.ends_with("1\r\nb\r\n0\r\nx-down: 2\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_100_continue_when_the_backend_is_ready() {
    let backend = Backend::new(|mut wire| async move {
        assert!(!wire.head().await.contains("expect"));
        wire.expect("body").await;
        wire.send(OK).await;
    })
    .await;
    let router = Plan { eager: false, ..Plan::new(backend.address) }.run();
    let mut wire = router.connect().await;
    wire.send(
        "POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    )
    .await;
    until(|| router.workload.waiting() == 1).await;
    let mut byte = [0];
    let nothing = wire.0.try_read(&mut byte);
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    router.fake.may_start.add_permits(1);
    assert!(wire.head().await.starts_with("HTTP/1.1 100 Continue"));
    wire.send("body").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    wire.expect("hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_response_arrives_during_the_upload() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.exactly(1000).await;
        wire.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!",
        )
        .await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 50000000\r\n\r\n").await;
    let (reader, mut writer) = wire.0.into_split();
    let upload = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let piece = vec![b'x'; 64 << 10];
        while writer.write_all(&piece).await.is_ok() {}
    });
    let mut answer = String::new();
    within(async {
        use tokio::io::{AsyncBufReadExt, BufReader};
        let mut reader = BufReader::new(reader);
        while !answer.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut answer).await.unwrap() > 0);
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    until(|| router.visits() == 0).await;
    upload.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_continues_after_the_response_is_ended() {
    // The upstream responds, keeps its connection open and does not read the rest.
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send(OK).await;
        std::future::pending::<()>().await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let mut wire = router.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 500000000\r\n\r\n").await;
    let (_reader, mut writer) = wire.0.into_split();
    let upload = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let piece = vec![b'x'; 64 << 10];
        while writer.write_all(&piece).await.is_ok() {}
    });
    until(|| router.visits() == 1).await;
    until(|| router.visits() == 0).await;
    upload.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn informational_responses_are_skipped() {
    let (backend, _requests) = Backend::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    let router = Plan::new(backend.address).run();
    assert!(router.ask(LAST_GET).await.ends_with("\r\n\r\nhi"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forwarded_headers_of_a_trusted_proxy_are_kept() {
    let (backend, mut requests) = Backend::answering(OK).await;
    let trust = vec!["127.0.0.0/8".parse().unwrap()];
    let router = Plan { trust, ..Plan::new(backend.address) }.run();
    router
        .ask(
            "GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 198.51.100.7\r\n\
             X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
        )
        .await;
    let head = requests.recv().await.unwrap();
    assert!(head.contains("x-forwarded-for: 198.51.100.7, 127.0.0.1\r\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_not_http_is_502() {
    for garbage in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let (backend, _requests) = Backend::answering(garbage).await;
        let router = Plan::new(backend.address).run();
        let answer = router
            .ask("POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway"), "{garbage:?}: {answer}");
        assert!(!answer.contains("127.0.0.1"), "{answer}");
        until(|| router.visits() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_response_does_not_look_complete() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    let answer = router.ask(LAST_GET).await;
    assert!(answer.ends_with("5\r\nhello\r\n"), "{answer}");
    until(|| router.visits() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_response_arrives_although_its_body_ends_early() {
    let backend = Backend::new(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n").await;
    })
    .await;
    let router = Plan::new(backend.address).run();
    for _ in 0..20 {
        let answer = router.ask(LAST_GET).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden"), "{answer:?}");
    }
}
