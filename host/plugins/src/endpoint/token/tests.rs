#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::settings::{Secret, Transport};

/// An HTTP server with this response function, stopped with the test.
struct Server {
    port: u16,
    _serving: JoinSet<()>,
}

impl Server {
    async fn new(
        answer: impl Fn(&Request<Incoming>) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let response = answer(&request);
                    async move { Ok::<_, std::convert::Infallible>(response) }
                });
                connections
                    .spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { port, _serving: serving }
    }

    fn grant(&self, base: &str) -> EndpointGrant {
        EndpointGrant {
            transport: Transport::Http { host: "127.0.0.1".into(), port: self.port },
            base: base.into(),
            headers: Vec::new(),
            rules: None,
            token: None,
            timeout: Duration::from_secs(60),
        }
    }
}

fn authorization(request: &Request<Incoming>) -> &str {
    request.headers().get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap())
}

fn status(code: u16, body: String) -> Response<String> {
    Response::builder().status(code).body(body).unwrap()
}

/// A registry that serves `/a` and `/b` with the matching token, a token server that issues
/// numbered tokens, and an endpoint that uses both.
struct Stage {
    endpoint: Endpoint,
    /// Number of issued tokens.
    issued: Arc<AtomicUsize>,
    /// Tokens up to this number are revoked.
    revoked: Arc<AtomicUsize>,
    _servers: [Server; 2],
}

impl Stage {
    async fn new(realm: Option<&str>, answer: fn(usize) -> Response<String>) -> Self {
        let (issued, revoked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let numbers = issued.clone();
        let token_server = Server::new(move |request| {
            assert_eq!(authorization(request), "Basic czNjcmV0");
            let query = request.uri().query().unwrap();
            let scope = query.strip_prefix("service=the%20registry&scope=repository%3A");
            let scope = scope.unwrap().strip_suffix("%3Apull").unwrap();
            assert!(request.uri().path() == "/token" && ["a", "b"].contains(&scope), "{query}");
            answer(numbers.fetch_add(1, Relaxed) + 1)
        })
        .await;
        let realm = realm.map(str::to_owned);
        let realm =
            realm.unwrap_or_else(|| format!("http://127.0.0.1:{}/token", token_server.port));
        let (bar, numbers) = (revoked.clone(), issued.clone());
        let scopes = std::sync::Mutex::new(std::collections::BTreeMap::new());
        let registry = Server::new(move |request| {
            let scope = request.uri().path().trim_start_matches('/').to_owned();
            let shown = authorization(request).strip_prefix("Bearer t");
            let shown: Option<usize> = shown.and_then(|number| number.parse().ok());
            let mut scopes = scopes.lock().unwrap();
            // A token is valid for the scope of the last request before it was issued.
            if let Some(number) = shown.filter(|number| *number == numbers.load(Relaxed)) {
                scopes.entry(number).or_insert_with(|| scope.clone());
            }
            match shown {
                Some(number)
                    if scopes.get(&number) == Some(&scope) && number > bar.load(Relaxed) =>
                {
                    status(200, format!("{scope} for t{number}"))
                }
                _ => {
                    let challenge = format!(
                        "Bearer realm=\"{realm}\", service=\"the registry\",\
                         scope=\"repository:{scope}:pull\""
                    );
                    let mut refused = status(401, String::new());
                    let challenge = HeaderValue::from_str(&challenge).unwrap();
                    refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                    refused
                }
            }
        })
        .await;
        let mut giving = token_server.grant("/token");
        giving.headers.push(("authorization".into(), Secret::Literal("Basic czNjcmV0".into())));
        let grant = EndpointGrant { token: Some(Box::new(giving)), ..registry.grant("") };
        let endpoint = Endpoint::new("registry", &grant);
        Self { endpoint, issued, revoked, _servers: [registry, token_server] }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let outgoing = OutgoingRequest {
            method: "GET".into(),
            path: path.into(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            timeout: None,
        };
        let response = self.endpoint.send(outgoing).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn issued(&self) -> usize {
        self.issued.load(Relaxed)
    }
}

fn token(number: usize) -> Response<String> {
    status(200, format!("{{\"token\":\"t{number}\",\"expires_in\":300}}"))
}

#[tokio::test]
async fn a_token_is_fetched_per_scope_and_reused() {
    let stage = Stage::new(None, token).await;
    assert!(stage.endpoint.sets(&header::AUTHORIZATION), "guests cannot set it");
    for _ in 0..3 {
        assert_eq!(stage.get("/a").await, (200, "a for t1".into()));
    }
    assert_eq!(stage.issued(), 1);
    assert_eq!(stage.get("/b").await, (200, "b for t2".into()));
    assert_eq!(stage.get("/a").await, (200, "a for t1".into()), "the first token is cached");
    assert_eq!(stage.issued(), 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let stage = Stage::new(None, token).await;
    assert_eq!(stage.get("/a").await.0, 200);
    stage.revoked.store(1, Relaxed);
    assert_eq!(stage.get("/a").await, (200, "a for t2".into()));
    stage.revoked.store(99, Relaxed);
    assert_eq!(stage.get("/a").await.0, 401, "the response is passed to the guest");
    assert_eq!(stage.issued(), 3, "and not retried again");
}

#[tokio::test]
async fn an_expired_token_is_not_used() {
    let short =
        |number| status(200, format!("{{\"access_token\":\"t{number}\",\"expires_in\":0}}"));
    let stage = Stage::new(None, short).await;
    assert_eq!(stage.get("/a").await, (200, "a for t1".into()));
    assert_eq!(stage.get("/a").await, (200, "a for t2".into()));
}

#[tokio::test]
async fn an_ungranted_realm_is_not_contacted() {
    for realm in ["http://127.0.0.1:1/token", "https://elsewhere.example/token", "nonsense"] {
        let stage = Stage::new(Some(realm), token).await;
        assert_eq!(stage.get("/a").await.0, 401);
        assert_eq!(stage.issued(), 0);
    }
}

#[tokio::test]
async fn invalid_token_responses_are_refused() {
    let answers: [fn(usize) -> Response<String>; 5] = [
        |_| status(403, String::new()),
        |_| status(200, "{}".into()),
        |_| status(200, "no".into()),
        |_| status(200, "{\"token\":\"a\\nb\"}".into()),
        |_| status(200, format!("{{\"token\":\"{}\"}}", "x".repeat(ANSWER))),
    ];
    for answer in answers {
        let stage = Stage::new(None, answer).await;
        assert_eq!(stage.get("/a").await.0, 401);
        assert_eq!(stage.issued(), 1);
    }
}

#[test]
fn realms_are_compared_without_default_ports() {
    assert_eq!(normalized("https://Auth.docker.io:443/token/"), "https://auth.docker.io/token");
    assert_eq!(normalized("http://[::1]:80"), "http://[::1]");
    assert_ne!(normalized("https://a:8443/token"), normalized("https://a/token"));
    assert_ne!(normalized("http://a:443/token"), normalized("https://a/token"));
}

proptest! {
    #[test]
    fn arbitrary_challenges_parse_or_are_ignored(text in "(Bearer )?(realm=)?[ -~]{0,60}") {
        if let Some((realm, _)) = challenge(&HeaderValue::from_str(&text).unwrap()) {
            prop_assert!(text.len() >= realm.len());
        }
    }
}
