use std::{convert::Infallible, path::PathBuf, pin::Pin, sync::Arc};

use futures_util::{
    future::{BoxFuture, pending},
    stream::{self, Stream, StreamExt as _},
};
use http::{HeaderName, HeaderValue};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::generate_simple_self_signed;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tonic::{
    Response,
    server::{self, ServerStreamingService, UnaryService},
};

use super::*;
use crate::settings::{EndpointGrant, Secret, Transport, Trust};

/// A tonic server, stopped with the test.
struct Server {
    transport: Transport,
    /// Receives a message for each dropped call.
    dropped: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
    _dir: TempDir,
}

#[derive(Clone)]
struct Service(mpsc::UnboundedSender<()>);

/// Sends a message when dropped.
struct Held(mpsc::UnboundedSender<()>);

impl Drop for Held {
    fn drop(&mut self) {
        // The test may not receive it.
        let _ = self.0.send(());
    }
}

impl UnaryService<Bytes> for Service {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let held = Held(self.0.clone());
        Box::pin(async move {
            match request.get_ref().as_ref() {
                b"refuse" => Err(Status::not_found("no such\ntask")),
                b"limit" => {
                    let limit = request.metadata().get("grpc-timeout").unwrap();
                    Ok(Response::new(limit.as_bytes().to_vec().into()))
                }
                b"large" => Ok(Response::new(vec![0; 2 << 20].into())),
                b"hang" => {
                    pending::<()>().await;
                    drop(held);
                    Err(Status::unknown("never"))
                }
                message => {
                    let metadata = |name: &str| {
                        let value = request.metadata().get(name);
                        value.and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
                    };
                    let names = [metadata("test-name"), metadata("authorization")].join(" ");
                    Ok(Response::new([message, b" ", names.as_bytes()].concat().into()))
                }
            }
        })
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl ServerStreamingService<Bytes> for Service {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = BoxFuture<'static, Result<Response<Replies>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let held = Held(self.0.clone());
        Box::pin(async move {
            let three = stream::iter(["one", "two", "three"].map(|it| Ok(Bytes::from(it))));
            let replies: Replies = match request.get_ref().as_ref() {
                b"refuse" => return Err(Status::failed_precondition("not now")),
                b"break" => Box::pin(three.chain(stream::iter([Err(Status::aborted("torn"))]))),
                b"silent" => Box::pin(stream::once(async move {
                    pending::<()>().await;
                    drop(held);
                    Ok(Bytes::new())
                })),
                _ => Box::pin(three),
            };
            Ok(Response::new(replies))
        })
    }
}

impl Server {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path: PathBuf = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (service, dropped) = Self::service();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(service.clone(), stream));
            }
        });
        Self { transport: Transport::Unix(path), dropped, task, _dir: dir }
    }

    /// With TLS; a client without HTTP/2 in ALPN is disconnected.
    async fn tls() -> Self {
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let transport = Transport::Https {
            host: "localhost".into(),
            port: listener.local_addr().unwrap().port(),
            trust: Trust::Fingerprints(vec![Sha256::digest(made.cert.der()).into()]),
            identity: None,
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (service, dropped) = Self::service();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    tokio::spawn(serve(service.clone(), stream));
                }
            }
        });
        Self { transport, dropped, task, _dir: TempDir::new().unwrap() }
    }

    fn service() -> (Service, mpsc::UnboundedReceiver<()>) {
        let (sender, dropped) = mpsc::unbounded_channel();
        (Service(sender), dropped)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new("daemon", &grant(self.transport.clone()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(service: Service, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move {
            let mut grpc = server::Grpc::new(Opaque);
            Ok::<_, Infallible>(match request.uri().path() {
                "/test.v1.Echo/Say" => grpc.unary(service, request).await,
                "/test.v1.Echo/Tell" => grpc.server_streaming(service, request).await,
                _ => Status::unimplemented("unknown method").into_http(),
            })
        }
    });
    // The client may close the connection.
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

fn grant(transport: Transport) -> EndpointGrant {
    EndpointGrant {
        transport,
        base: String::new(),
        headers: vec![("authorization".into(), Secret::Literal("token".into()))],
        rules: None,
        token: None,
        timeout: Duration::from_secs(60),
    }
}

fn calling(method: &str, message: &str) -> GrpcCall {
    let name = HeaderName::from_static("test-name");
    GrpcCall {
        method: method.into(),
        metadata: [(name, HeaderValue::from_static("value"))].into_iter().collect(),
        message: message.into(),
        timeout: None,
        limit: 1 << 20,
    }
}

fn status_error(code: Code, method: &str, words: &str) -> SendError {
    SendError::Status { code, message: format!("{method} on endpoint \"daemon\": {words}") }
}

#[tokio::test]
async fn a_call_carries_its_metadata_and_the_grant_s_headers() {
    for server in [Server::new(), Server::tls().await] {
        let endpoint = server.endpoint();
        for _ in 0..2 {
            let answer = endpoint.unary(calling("/test.v1.Echo/Say", "hello")).await;
            assert_eq!(answer, Ok("hello value token".into()));
        }
    }
}

#[tokio::test]
async fn a_status_keeps_its_code_and_a_one_line_message() {
    let server = Server::new();
    let endpoint = server.endpoint();
    let refused = endpoint.unary(calling("/test.v1.Echo/Say", "refuse")).await.unwrap_err();
    let SendError::Status { code: Code::NotFound, message } = refused else {
        panic!("{refused:?}")
    };
    assert!(message.starts_with("/test.v1.Echo/Say on endpoint \"daemon\": no such"), "{message}");
    assert!(!message.contains('\n'), "{message}");
    let unknown = endpoint.unary(calling("/test.v1.Echo/Shout", "x")).await.unwrap_err();
    assert_eq!(unknown, status_error(Code::Unimplemented, "/test.v1.Echo/Shout", "unknown method"));
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let server = Server::new();
    let refused = server.endpoint().unary(calling("/test.v1.Echo/Say", "large")).await;
    let Err(SendError::Status { message, .. }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("length too large"), "{message}");
    let more = GrpcCall { limit: 4 << 20, ..calling("/test.v1.Echo/Say", "large") };
    assert_eq!(server.endpoint().unary(more).await.map(|it| it.len()), Ok(2 << 20));
}

#[tokio::test]
async fn a_dropped_or_late_call_is_cancelled_at_the_server() {
    let mut server = Server::new();
    let endpoint = server.endpoint();
    let late = GrpcCall {
        timeout: Some(Duration::from_millis(50)),
        ..calling("/test.v1.Echo/Say", "hang")
    };
    let late = endpoint.unary(late).await.unwrap_err();
    assert!(
        matches!(&late, SendError::Timeout(message) if message.contains("within 50 ms")),
        "{late:?}"
    );
    server.dropped.recv().await.unwrap();

    let mut messages = endpoint.stream(calling("/test.v1.Echo/Tell", "silent")).await.unwrap();
    messages.timeout = Some(Duration::from_millis(50));
    for _ in 0..2 {
        let late = messages.next(&endpoint).await.unwrap_err();
        assert!(matches!(late, SendError::Timeout(_)), "{late:?}");
    }
    drop(messages);
    server.dropped.recv().await.unwrap();
}

#[tokio::test]
async fn the_server_s_deadline_is_later_than_the_client_s() {
    let asked = GrpcCall {
        timeout: Some(Duration::from_secs(20)),
        ..calling("/test.v1.Echo/Say", "limit")
    };
    let server = Server::new();
    let timeout = server.endpoint().unary(asked).await.unwrap();
    assert_eq!(timeout, "21000000u", "microseconds");
}

#[tokio::test]
async fn a_stream_is_read_to_its_end() {
    let server = Server::new();
    let endpoint = server.endpoint();
    for (how, end) in [("three", None), ("break", Some(Code::Aborted))] {
        let mut messages = endpoint.stream(calling("/test.v1.Echo/Tell", how)).await.unwrap();
        for word in ["one", "two", "three"] {
            assert_eq!(messages.next(&endpoint).await, Ok(Some(word.into())));
        }
        match (messages.next(&endpoint).await, end) {
            (Ok(None), None) => {}
            (Err(SendError::Status { code, .. }), Some(wanted)) => assert_eq!(code, wanted),
            (other, _) => panic!("{other:?}"),
        }
        assert_eq!(messages.next(&endpoint).await, Ok(None));
    }
    let mut refused = endpoint.stream(calling("/test.v1.Echo/Tell", "refuse")).await.unwrap();
    let error = refused.next(&endpoint).await.unwrap_err();
    assert_eq!(error, status_error(Code::FailedPrecondition, "/test.v1.Echo/Tell", "not now"));
}

#[tokio::test]
async fn the_address_of_an_unreachable_endpoint_is_shown_to_the_operator_only() {
    let endpoint = Endpoint::new("daemon", &grant(Transport::Unix("/nowhere/socket".into())));
    let error = SendError::Unavailable("endpoint \"daemon\" cannot be reached".into());
    assert_eq!(endpoint.unary(calling("/test.v1.Echo/Say", "x")).await, Err(error));
    let cause = endpoint.label().unreached_because();
    assert!(cause.contains("unix:///nowhere/socket cannot be reached: No such file"), "{cause}");
}
