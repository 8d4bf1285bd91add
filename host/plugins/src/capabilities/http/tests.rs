use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    task::JoinHandle,
};

use super::*;
use crate::{
    bindings::http::Host as _,
    context::{Grants, ProviderContext, SharedResources},
    guest_memory::GuestMemory,
    info::EndpointWish,
    settings::{EndpointGrant, Limits, ProviderSettings, Secret, Transport},
};

/// The header value that the grant adds to each request.
const SECRET: &str = "c2VjcmV0";

/// A provider with one endpoint, `registry`, that adds credentials, and a server behind it that
/// records the head of each request and echoes it in its response.
struct Registry {
    state: HostState,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn new(rules: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = heads.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let length = head.len();
                kept.lock().unwrap().push(head.clone());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{head}"
                );
                // The client may have closed the connection already.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let grant = EndpointGrant {
            transport: Transport::Unix(socket),
            base: String::new(),
            headers: vec![("X-Registry-Auth".into(), Secret::Literal(SECRET.into()))],
            rules: Some(rules.iter().map(|rule| (*rule).to_owned()).collect()),
            token: None,
            timeout: Duration::from_secs(10),
        };
        let settings = ProviderSettings {
            name: "docker".to_owned().try_into().unwrap(),
            plugin: "docker".into(),
            settings: serde_json::json!({}),
            endpoints: [("registry".to_owned(), grant)].into(),
            commands: Default::default(),
            networks: Default::default(),
            reach: None,
            limits: Limits::default(),
        };
        let shared = SharedResources {
            memory: Arc::new(GuestMemory::new(64 << 20)),
            ..SharedResources::default()
        };
        let context = Arc::new(ProviderContext::new(&settings, &shared).unwrap());
        let wishes: &[EndpointWish] = &[];
        let grants = Arc::new(Grants::new(context, wishes));
        let mut state = HostState::new(grants, "start", None);
        state.initializing = false;
        Self { state, heads, task, _dir: dir }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        header: Option<(&str, &str)>,
        body: &str,
    ) -> Result<Resource<IncomingResponse>, types::Error> {
        let headers = header.map(|(name, value)| attribute(name, value));
        let request = wit::Request {
            endpoint: "registry".into(),
            method: method.into(),
            path: path.into(),
            headers: headers.into_iter().collect(),
            body: body.into(),
            timeout_ms: None,
        };
        self.state.send(request).await.unwrap()
    }

    /// The request heads that the server received.
    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn credentials_are_sent_only_with_requests_that_the_rules_allow() {
    let rules =
        ["GET /*/distribution/ghcr.io/**", "POST /*/images/create?fromImage=ghcr.io/*&tag=*"];
    let mut registry = Registry::new(&rules);
    for path in [
        "/v1.41/images/create?fromImage=attacker%3A5000%2Fx",
        "/v1.41/images/create?fromImage=attacker:5000/x&tag=latest",
        "/v1.41/images/create?fromSrc=http%3A%2F%2Fattacker%2Fx",
        "/v1.41/images/create?fromImage=ghcr.io/x&fromSrc=http://attacker/x",
        "/v1.41/images/create?fromImage=ghcr.io/x&fromImage=attacker:5000/x",
        "/v1.41/images/create?fromImage=attacker:5000/x&fromImage=ghcr.io/x",
        "/v1.41/images/create?fromImage=ghcr.io/x;fromSrc=http://attacker/x",
        "/v1.41/images/create?fromImage=ghcr.io/x&%66romSrc=http://attacker/x",
        "/v1.41/images/create?fromImage=ghcr.io.attacker/x",
        "/v1.41/images/create?fromImage=ghcr.io%252F..%252F..%252Fattacker/x",
        "/v1.41/images/create?fromImage=ghcr.io/../attacker:5000/x",
        "/v1.41/images/create;fromSrc=http:?fromImage=ghcr.io/x",
        "/v1.41/images/create?",
        "/v1.41/images/create?fromImage=ghcr.io/x?fromSrc=http://attacker/x",
    ] {
        let error = registry.send("POST", path, None, "").await.expect_err(path);
        assert!(matches!(error.code, types::ErrorCode::Denied), "{path}: {error:?}");
    }
    for path in [
        "/v1.41/distribution/attacker:5000/x/json",
        "/v1.41/distribution/ghcr.io/../attacker:5000/x/json",
        "/v1.41/distribution/ghcr.io%2F..%2Fattacker/x/json",
        "/v1.41/distribution/ghcr.io/x/json?x=y",
    ] {
        let error = registry.send("GET", path, None, "").await.expect_err(path);
        assert!(matches!(error.code, types::ErrorCode::Denied), "{path}: {error:?}");
    }
    assert_eq!(registry.heads(), [""; 0], "nothing was sent");

    let path = "/v1.41/images/create?fromImage=ghcr.io%2Fteam%2Fapp&tag=1";
    registry.send("POST", path, None, "").await.unwrap();
    let [head] = registry.heads().try_into().unwrap();
    assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains(&format!("x-registry-auth: {SECRET}\r\n")), "{head}");
}

#[tokio::test]
async fn no_rule_lets_a_plugin_read_headers_that_the_router_adds() {
    let mut registry = Registry::new(&["* /**?*", "*+body /**?*"]);
    for method in ["TRACE", "TRACK", "CONNECT", "trace", "TRACE ", "TRACE\r\nX: y"] {
        let error = registry.send(method, "/", None, "").await.expect_err(method);
        assert!(matches!(error.code, types::ErrorCode::Denied), "{method}: {error:?}");
    }
    for target in [
        "http://attacker/x",
        "//attacker/x",
        "attacker:80",
        "*",
        "/a//b",
        "/a/..;x/b",
        "/a;jsessionid=1",
        "/a%2f..%2fb",
        "/a\\..\\b",
        "/a HTTP/1.1\r\nHost: attacker\r\n\r\nGET /b",
        "/a%0d%0aHost:%20attacker",
        "/a#b",
    ] {
        let error = registry.send("GET", target, None, "").await.expect_err(target);
        assert!(matches!(error.code, types::ErrorCode::Denied), "{target}: {error:?}");
    }
    assert_eq!(registry.heads(), [""; 0], "nothing was sent");
}

#[tokio::test]
async fn a_plugin_sets_no_header_that_changes_routing_or_framing() {
    let mut registry = Registry::new(&["* /**?*", "*+body /**?*"]);
    for name in [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "origin",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-registry-auth",
        "x-registry-config",
        "x-rewrite-url",
    ] {
        let sent = registry.send("POST", "/a", Some((name, "attacker")), "{}").await;
        let error = sent.expect_err(name);
        assert!(matches!(error.code, types::ErrorCode::Denied), "{name}: {error:?}");
        let error = registry.send("GET", "/a", Some((&name.to_uppercase(), "x")), "").await;
        assert!(error.is_err(), "{name}");
    }
    let smuggled = Some(("accept", "a\r\nhost: attacker"));
    assert!(registry.send("GET", "/a", smuggled, "").await.is_err());
    assert_eq!(registry.heads(), [""; 0], "nothing was sent");
}

#[tokio::test]
async fn messages_mask_query_values() {
    let mut registry = Registry::new(&["GET /a?token=*"]);
    registry.task.abort();
    let _ = (&mut registry.task).await;
    let error = registry.send("GET", "/a?token=s3cret", None, "").await.unwrap_err();
    assert!(!error.message.contains("s3cret"), "{error:?}");
    let error = registry.send("GET", "/b?token=s3cret", None, "").await.unwrap_err();
    assert!(error.message.contains("GET /b?token=<masked>"), "{error:?}");
    assert!(!error.message.contains("s3cret"), "{error:?}");
}

fn reason_phrase(words: Option<&str>) -> Option<String> {
    let mut response = http::Response::new(());
    if let Some(words) = words {
        let words = ReasonPhrase::try_from(words.as_bytes()).unwrap();
        response.extensions_mut().insert(words);
    }
    reason(&response.into_parts().0)
}

#[test]
fn a_reason_phrase_is_passed_on_and_truncated() {
    assert_eq!(reason_phrase(None), None, "the standard reason phrase");
    assert_eq!(reason_phrase(Some("")), None);
    assert_eq!(reason_phrase(Some("CT 100 already running")).unwrap(), "CT 100 already running");
    let long = "é".repeat(REASON);
    assert_eq!(reason_phrase(Some(&long)).unwrap(), "é".repeat(REASON / 2));
}
