use std::time::Instant;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::upstream::tests::{Anywhere, Nowhere};

/// Answers one connection with these bytes and returns what it was asked.
async fn backend(answer: &'static str) -> (Vec<Address>, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let address = Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(80) };
    (vec![address], asked)
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

async fn look(answer: &'static str, check: ReadyCheck) -> Result<(), String> {
    let (addresses, _asked) = backend(answer).await;
    NetProber::new().probe(&check, &addresses, &Anywhere).await
}

#[tokio::test]
async fn a_workload_is_ready_when_its_status_is_expected() {
    let ok = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(look(ok, http(None, None)).await, Ok(()));
    assert_eq!(look(ok, http(Some(200..=299), None)).await, Ok(()));
    let seen = look(ok, http(Some(200..=200), None)).await.unwrap_err();
    assert_eq!(seen, "GET /health?x: 204 No Content");
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(look(missing, http(None, None)).await, Ok(()));
    for status in ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"] {
        let answer: &'static str = format!("HTTP/1.1 {status}\r\n\r\n").leak();
        let seen = look(answer, http(None, None)).await.unwrap_err();
        assert_eq!(seen, format!("GET /health?x: {status}"));
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_seen() {
    assert_eq!(look("HTTP/1.0 200 OK\r\n\r\n", http(None, None)).await, Ok(()));
}

#[tokio::test]
async fn what_is_no_http_is_not_ready() {
    let seen = look("SSH-2.0-OpenSSH_9\r\n", http(None, None)).await.unwrap_err();
    assert!(seen.starts_with("GET /health?x: "), "{seen}");
}

#[tokio::test]
async fn the_probe_names_the_host_it_was_told() {
    let (addresses, asked) = backend("HTTP/1.1 200 OK\r\n\r\n").await;
    NetProber::new()
        .probe(&http(None, Some("blog.example.org")), &addresses, &Anywhere)
        .await
        .unwrap();
    let head = asked.await.unwrap();
    assert!(head.starts_with("GET /health?x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: blog.example.org\r\n"), "{head}");
}

#[tokio::test]
async fn a_refused_connection_is_known_at_once() {
    // Bound and not listening: refuses, and nobody else gets the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: None, target_port: None }];
    let begun = Instant::now();
    let seen =
        NetProber::new().probe(&ReadyCheck::Tcp { port }, &addresses, &Anywhere).await.unwrap_err();
    assert!(seen.contains("refused") && seen.contains(&port.to_string()), "{seen}");
    assert!(begun.elapsed() < LIMIT);
}

#[tokio::test]
async fn a_silent_backend_is_given_up_after_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(80) }];
    let seen = NetProber::new().probe(&http(None, None), &addresses, &Anywhere).await.unwrap_err();
    assert_eq!(seen, "GET /health?x: no answer within 1 s");
    assert_eq!(
        NetProber::new().probe(&ReadyCheck::Tcp { port: 80 }, &addresses, &Anywhere).await,
        Ok(())
    );
}

#[tokio::test]
async fn a_port_that_leads_nowhere_is_said() {
    let addresses = [Address { host: "127.0.0.1".into(), port: Some(1), target_port: Some(80) }];
    let seen = NetProber::new()
        .probe(&ReadyCheck::Tcp { port: 81 }, &addresses, &Anywhere)
        .await
        .unwrap_err();
    assert!(seen.contains("no address for port 81"), "{seen}");
    assert_eq!(NetProber::new().probe(&ReadyCheck::Started, &[], &Anywhere).await, Ok(()));
}

#[tokio::test]
async fn a_header_may_have_to_be_there_and_to_have_a_value() {
    let ok = "HTTP/1.1 200 OK\r\nX-Role: replica\r\nX-Role: primary\r\n\r\n";
    assert_eq!(look(ok, with_header("x-role", None)).await, Ok(()));
    assert_eq!(look(ok, with_header("X-Role", Some("primary"))).await, Ok(()));
    let seen = look(ok, with_header("x-role", Some("Primary"))).await.unwrap_err();
    assert_eq!(seen, "GET /health?x: 200 OK with x-role: \"replica\" instead of \"Primary\"");
    let seen = look(ok, with_header("x-ready", None)).await.unwrap_err();
    assert_eq!(seen, "GET /health?x: 200 OK without the header x-ready");
    let unready = "HTTP/1.1 503 Service Unavailable\r\nX-Role: primary\r\n\r\n";
    let seen = look(unready, with_header("x-role", None)).await.unwrap_err();
    assert_eq!(seen, "GET /health?x: 503 Service Unavailable");
}

#[tokio::test]
async fn a_minecraft_server_is_ready_when_it_answers_with_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses =
        [Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(25565) }];
    // A server in miniature: it does not look at what it is asked.
    let json = br#"{"players":{"online":5}}"#;
    let length = u8::try_from(json.len()).unwrap();
    let answer = [&[length + 2, 0, length], &json[..]].concat();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 256]).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    let prober = NetProber::new();
    let check = ReadyCheck::Minecraft { port: 25565 };
    assert_eq!(prober.probe(&check, &addresses, &Anywhere).await, Ok(()));
    assert_eq!(prober.players(&addresses, 25565, &Anywhere).await, Ok(5));
    let seen = prober.players(&addresses, 25566, &Anywhere).await.unwrap_err();
    assert_eq!(seen, "the provider knows no address for port 25566");
    serving.abort();
}

#[tokio::test]
async fn a_frozen_minecraft_server_is_given_up_after_a_second() {
    // The kernel accepts for it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: None, target_port: None }];
    let check = ReadyCheck::Minecraft { port };
    let seen = NetProber::new().probe(&check, &addresses, &Anywhere).await.unwrap_err();
    assert_eq!(seen, "minecraft status: no answer within 1 s");
}

#[tokio::test]
async fn what_the_provider_alone_can_tell_is_not_looked_at() {
    for check in [ReadyCheck::Health, ReadyCheck::Completed] {
        let seen = NetProber::new().probe(&check, &[], &Anywhere).await.unwrap_err();
        assert!(seen.contains("only the provider"), "{seen}");
    }
}

#[tokio::test]
async fn no_look_goes_to_an_address_that_policy_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = [Address { host: "127.0.0.1".into(), port: Some(port), target_port: Some(80) }];
    let prober = NetProber::new();
    let minecraft = ReadyCheck::Minecraft { port: 80 };
    for check in [ReadyCheck::Tcp { port: 80 }, http(None, None), minecraft] {
        let seen = prober.probe(&check, &addresses, &Nowhere).await.unwrap_err();
        assert!(seen.contains("no connection may be made"), "{seen}");
    }
    let seen = prober.players(&addresses, 80, &Nowhere).await.unwrap_err();
    assert!(seen.contains("no connection may be made"), "{seen}");
    let accepted = listener.into_std().unwrap().accept().unwrap_err();
    assert_eq!(accepted.kind(), io::ErrorKind::WouldBlock, "nothing was connected");
}
