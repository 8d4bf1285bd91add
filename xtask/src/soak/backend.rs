//! The backend of the soak: this program itself, started by the router's process provider.
//!
//! It records its start and stop in a journal. After SIGTERM it answers every request with an error and
//! records it, because no request may be sent to a stopping backend.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE, USER_AGENT,
    },
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use self::reply::Reply;
use super::{
    content::Content,
    headers::{self, ProcessInfo, RUDE, SEED},
    journal::{Note, Pen, last_end},
};

mod reply;

/// Options of the backend.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Loopback port on which it listens.
    #[arg(long)]
    port: u16,
    /// Path of its journal.
    #[arg(long)]
    journal: PathBuf,
    /// Delay in milliseconds before it listens.
    #[arg(long)]
    boot: u64,
    /// Time in milliseconds between SIGTERM and its exit, during which it still listens.
    #[arg(long)]
    linger: u64,
}

struct Backend {
    info: ProcessInfo,
    ready: AtomicU64,
    stopping: AtomicBool,
    /// Requests in progress, except those of clients that break off.
    inside: AtomicU64,
    pen: Pen,
}

/// Counts a request while it is in progress.
struct ActiveRequest(Arc<Backend>);

/// Runs the backend until it exits.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(live(options))
}

async fn live(options: &Options) -> Result<()> {
    // Install the handler first, so that a stop is always recorded.
    let mut asked = signal(SignalKind::terminate())?;
    let before = last_end(&options.journal);
    let pen = Pen::new(&options.journal)
        .with_context(|| format!("open {}", options.journal.display()))?;
    let started = pen.note(&Note::Started)?;
    let backend = Arc::new(Backend {
        info: ProcessInfo { started, ready: 0, before, stopping: false },
        ready: AtomicU64::new(0),
        stopping: AtomicBool::new(false),
        inside: AtomicU64::new(0),
        pen,
    });
    let serving = backend.clone().listen(options);
    tokio::pin!(serving);
    tokio::select! {
        _ = asked.recv() => {}
        ended = &mut serving => {
            ended.context("serve")?;
        }
    }
    backend.stopping.store(true, Ordering::SeqCst);
    let inside = backend.inside.load(Ordering::SeqCst);
    backend.pen.note(&Note::Asked(inside))?;
    let linger = tokio::time::sleep(Duration::from_millis(options.linger));
    tokio::select! {
        () = linger => {}
        ended = &mut serving => {
            ended.context("serve to the end")?;
        }
    }
    backend.pen.note(&Note::Ended)?;
    Ok(())
}

// === impl Backend ===

impl Backend {
    async fn listen(self: Arc<Self>, options: &Options) -> Result<Infallible> {
        tokio::time::sleep(Duration::from_millis(options.boot)).await;
        let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(self.clone().serve(stream));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let backend = self.clone();
            async move { Ok::<_, Infallible>(backend.answer(request).await) }
        });
        // Clients detect broken connections themselves.
        let _ = stream.set_nodelay(true);
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Reply> {
        let stopping = self.stopping.load(Ordering::SeqCst);
        let probe = request.headers().get(USER_AGENT).is_some_and(|who| who == "drowse-probe");
        if probe && !stopping && self.ready.load(Ordering::SeqCst) == 0 {
            self.ready.store(headers::now(), Ordering::SeqCst);
        }
        let mut response = if stopping {
            if !probe {
                let path = request.uri().path();
                // If this fails, the response still reports it.
                let _ = self.pen.note(&Note::Late(path.to_owned()));
            }
            plain(StatusCode::INTERNAL_SERVER_ERROR, "I am stopping\n", None)
        } else {
            let counts = !probe && !request.headers().contains_key(RUDE);
            let inside = counts.then(|| ActiveRequest::begin(&self));
            respond(request, inside).await
        };
        let info = ProcessInfo { ready: self.ready.load(Ordering::SeqCst), stopping, ..self.info };
        info.put(response.headers_mut());
        response
    }
}

async fn respond(request: Request<Incoming>, inside: Option<ActiveRequest>) -> Response<Reply> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/" | "/hello") => plain(StatusCode::OK, "Hello!\n", inside),
        (&Method::GET, "/download") => download(&request, inside),
        (&Method::POST, "/upload") => upload(request, inside).await,
        (&Method::GET, "/echo") => echo(request, inside),
        _ => plain(StatusCode::NOT_FOUND, "no such place\n", inside),
    }
}

/// `/download?bytes=N&pause=MILLISECONDS`; with a pause the response is chunked.
fn download(request: &Request<Incoming>, inside: Option<ActiveRequest>) -> Response<Reply> {
    let query = request.uri().query().unwrap_or_default();
    let number = |key: &str| -> u64 {
        let found = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut found = found.filter(|(name, _)| *name == key);
        found.next().and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    };
    let pause = Duration::from_millis(number("pause"));
    let content = content(request.headers());
    Response::new(Reply::content(content, number("bytes"), pause, inside))
}

/// Answers with the length of the body, or an error if it is not the announced content.
async fn upload(request: Request<Incoming>, inside: Option<ActiveRequest>) -> Response<Reply> {
    match receive(request).await {
        Ok(length) => plain(StatusCode::OK, format!("{length}\n"), inside),
        Err(fault) => plain(StatusCode::BAD_REQUEST, format!("{fault}\n"), inside),
    }
}

/// Reads the body of a request to its end. Returns its length, or its difference from the announced
/// content.
pub(crate) async fn receive(request: Request<Incoming>) -> Result<u64, String> {
    let content = content(request.headers());
    let announced = request.headers().get(CONTENT_LENGTH).cloned();
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                return Err(format!("broke off after {length} of {announced:?} bytes: {error}"));
            }
        };
        let Some(data) = frame.data_ref() else { continue };
        if let Some(at) = content.first_wrong(length, data) {
            return Err(format!("byte {at} is wrong"));
        }
        length += data.len() as u64;
    }
    Ok(length)
}

/// A WebSocket echo server.
fn echo(mut request: Request<Incoming>, inside: Option<ActiveRequest>) -> Response<Reply> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return plain(StatusCode::BAD_REQUEST, "no WebSocket\n", inside);
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(talk(upgrade, inside));
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "", None);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn talk(upgrade: OnUpgrade, inside: Option<ActiveRequest>) {
    let Ok(upgraded) = upgrade.await else { return };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() {
            // The next poll sends the reply.
            continue;
        }
        if socket.send(message).await.is_err() {
            break;
        }
    }
    // Before the connection is closed, which the client can observe.
    drop(inside);
    drop(socket);
}

fn content(headers: &HeaderMap) -> Content {
    let seed = headers.get(SEED).and_then(|seed| seed.to_str().ok()?.parse().ok());
    Content { seed: seed.unwrap_or(0) }
}

fn plain(
    status: StatusCode,
    text: impl Into<Bytes>,
    inside: Option<ActiveRequest>,
) -> Response<Reply> {
    let mut response = Response::new(Reply::text(text, inside));
    *response.status_mut() = status;
    response
}

// === impl ActiveRequest ===

impl ActiveRequest {
    fn begin(backend: &Arc<Backend>) -> Self {
        backend.inside.fetch_add(1, Ordering::SeqCst);
        Self(backend.clone())
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}
