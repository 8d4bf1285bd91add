use std::time::Instant;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{limit::LIMIT, *};
use crate::dial::tests::{Anywhere, Nowhere};

/// Responds to one connection with these bytes and returns the request's head.
async fn backend(response: &'static str) -> (Vec<Address>, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let address = Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(80) };
    (vec![address], request)
}

fn http(status: Option<std::ops::RangeInclusive<u16>>, host: Option<&str>) -> ReadyCheck {
    ReadyCheck::Http {
        port: 80,
        method: "GET".into(),
        path: "/health?x".into(),
        status,
        host: host.map(str::to_owned),
        header: None,
    }
}

fn with_header(name: &str, value: Option<&str>) -> ReadyCheck {
    match http(None, None) {
        ReadyCheck::Http { port, method, path, status, host, .. } => {
            let header = Some((name.to_owned(), value.map(str::to_owned)));
            ReadyCheck::Http { port, method, path, status, host, header }
        }
        other => other,
    }
}

async fn probe(response: &'static str, check: ReadyCheck) -> Result<(), String> {
    let (addresses, _request) = backend(response).await;
    NetProber::new().probe(&check, &addresses, &Anywhere).await
}

#[tokio::test]
async fn a_workload_is_ready_when_its_status_is_expected() {
    let ok = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(probe(ok, http(None, None)).await, Ok(()));
    assert_eq!(probe(ok, http(Some(200..=299), None)).await, Ok(()));
    let error = probe(ok, http(Some(200..=200), None)).await.unwrap_err();
    assert_eq!(error, "GET /health?x: 204 No Content");
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(probe(missing, http(None, None)).await, Ok(()));
    for status in ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"] {
        let response: &'static str = format!("HTTP/1.1 {status}\r\n\r\n").leak();
        let error = probe(response, http(None, None)).await.unwrap_err();
        assert_eq!(error, format!("GET /health?x: {status}"));
    }
}

#[tokio::test]
async fn a_response_without_a_length_is_accepted() {
    assert_eq!(probe("HTTP/1.0 200 OK\r\n\r\n", http(None, None)).await, Ok(()));
}

#[tokio::test]
async fn a_backend_that_does_not_speak_http_is_not_ready() {
    let error = probe("SSH-2.0-OpenSSH_9\r\n", http(None, None)).await.unwrap_err();
    assert!(error.starts_with("GET /health?x: "), "{error}");
}

#[tokio::test]
async fn the_probe_sends_the_configured_host() {
    let (addresses, request) = backend("HTTP/1.1 200 OK\r\n\r\n").await;
    NetProber::new()
        .probe(&http(None, Some("blog.example.org")), &addresses, &Anywhere)
        .await
        .unwrap();
    let head = request.await.unwrap();
    assert!(head.starts_with("GET /health?x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: blog.example.org\r\n"), "{head}");
}

#[tokio::test]
async fn a_refused_connection_fails_at_once() {
    // Bound and not listening: the port refuses connections and stays reserved.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: None, target_port: None }];
    let begun = Instant::now();
    let error =
        NetProber::new().probe(&ReadyCheck::Tcp { port }, &addresses, &Anywhere).await.unwrap_err();
    assert!(error.contains("refused") && error.contains(&port.to_string()), "{error}");
    assert!(begun.elapsed() < LIMIT);
}

#[tokio::test]
async fn a_probe_without_response_fails_after_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(80) }];
    let error = NetProber::new().probe(&http(None, None), &addresses, &Anywhere).await.unwrap_err();
    assert_eq!(error, "GET /health?x: no answer within 1 s");
    assert_eq!(
        NetProber::new().probe(&ReadyCheck::Tcp { port: 80 }, &addresses, &Anywhere).await,
        Ok(())
    );
}

#[tokio::test]
async fn a_port_without_address_is_an_error() {
    let addresses = [Address { host: "127.0.0.1".into(), port: Some(1), target_port: Some(80) }];
    let error = NetProber::new()
        .probe(&ReadyCheck::Tcp { port: 81 }, &addresses, &Anywhere)
        .await
        .unwrap_err();
    assert!(error.contains("no address for port 81"), "{error}");
    assert_eq!(NetProber::new().probe(&ReadyCheck::Started, &[], &Anywhere).await, Ok(()));
}

#[tokio::test]
async fn a_header_and_its_value_may_be_required() {
    let ok = "HTTP/1.1 200 OK\r\nX-Role: replica\r\nX-Role: primary\r\n\r\n";
    assert_eq!(probe(ok, with_header("x-role", None)).await, Ok(()));
    assert_eq!(probe(ok, with_header("X-Role", Some("primary"))).await, Ok(()));
    let error = probe(ok, with_header("x-role", Some("Primary"))).await.unwrap_err();
    assert_eq!(error, "GET /health?x: 200 OK with x-role: \"replica\" instead of \"Primary\"");
    let error = probe(ok, with_header("x-ready", None)).await.unwrap_err();
    assert_eq!(error, "GET /health?x: 200 OK without the header x-ready");
    let unready = "HTTP/1.1 503 Service Unavailable\r\nX-Role: primary\r\n\r\n";
    let error = probe(unready, with_header("x-role", None)).await.unwrap_err();
    assert_eq!(error, "GET /health?x: 503 Service Unavailable");
}

#[tokio::test]
async fn a_minecraft_server_is_ready_when_it_sends_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses =
        [Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(25565) }];
    // A fake server that ignores the request.
    let json = br#"{"players":{"online":5}}"#;
    let length = u8::try_from(json.len()).unwrap();
    let response = [&[length + 2, 0, length], &json[..]].concat();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 256]).await.unwrap();
            stream.write_all(&response).await.unwrap();
        }
    });
    let prober = NetProber::new();
    let check = ReadyCheck::Minecraft { port: 25565 };
    assert_eq!(prober.probe(&check, &addresses, &Anywhere).await, Ok(()));
    assert_eq!(prober.players(&addresses, 25565, &Anywhere).await, Ok(5));
    let error = prober.players(&addresses, 25566, &Anywhere).await.unwrap_err();
    assert_eq!(error, "the provider knows no address for port 25566");
    serving.abort();
}

#[tokio::test]
async fn a_probe_of_a_frozen_minecraft_server_fails_after_a_second() {
    // The kernel accepts the connection.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: None, target_port: None }];
    let check = ReadyCheck::Minecraft { port };
    let error = NetProber::new().probe(&check, &addresses, &Anywhere).await.unwrap_err();
    assert_eq!(error, "minecraft status: no answer within 1 s");
}

#[tokio::test]
async fn checks_of_the_provider_are_not_probed() {
    for check in [ReadyCheck::Health, ReadyCheck::Completed] {
        let error = NetProber::new().probe(&check, &[], &Anywhere).await.unwrap_err();
        assert!(error.contains("only the provider"), "{error}");
    }
}

#[tokio::test]
async fn no_probe_connects_to_an_address_that_policy_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(80) }];
    let prober = NetProber::new();
    let minecraft = ReadyCheck::Minecraft { port: 80 };
    for check in [ReadyCheck::Tcp { port: 80 }, http(None, None), minecraft] {
        let error = prober.probe(&check, &addresses, &Nowhere).await.unwrap_err();
        assert!(error.contains("no connection may be made"), "{error}");
    }
    let error = prober.players(&addresses, 80, &Nowhere).await.unwrap_err();
    assert!(error.contains("no connection may be made"), "{error}");
    let accepted = listener.into_std().unwrap().accept().unwrap_err();
    assert_eq!(accepted.kind(), std::io::ErrorKind::WouldBlock, "nothing was connected");
}
