//! The program in the containers of the chaos run: it answers with its own name and records requests for
//! other workloads.

use std::{
    convert::Infallible,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

use crate::soak::{backend::receive, headers::now};

/// The intended workload of a request.
pub(super) const EXPECT: HeaderName = HeaderName::from_static("x-expect");
/// Id of a request, unique in a run.
pub(super) const REQUEST: HeaderName = HeaderName::from_static("x-request");
/// The workload that answered.
pub(super) const BACKEND: HeaderName = HeaderName::from_static("x-backend");

/// Record file of misdelivered requests. Each line has the time, the request id, the intended workload,
/// the actual workload, and the method.
pub(super) const MISDELIVERED: &str = "misdelivered";
/// Record file of all `POST` requests, in the same format.
pub(super) const POSTS: &str = "posts";

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Options of the backend.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The workload's name.
    #[arg(long)]
    name: String,
    /// Directory of the record files.
    #[arg(long)]
    notes: PathBuf,
}

struct Backend {
    name: String,
    misdelivered: File,
    posts: File,
}

/// Serves port 80 until SIGTERM.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<()> {
    // Process 1 of a container does not get signals without a handler.
    let mut asked = signal(SignalKind::terminate())?;
    let file = |name| {
        let path = options.notes.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.with_context(|| format!("open {}", path.display()))
    };
    let backend = Arc::new(Backend {
        name: options.name.clone(),
        misdelivered: file(MISDELIVERED)?,
        posts: file(POSTS)?,
    });
    let listener = match TcpListener::bind("[::]:80").await {
        Ok(listener) => listener,
        // IPv6 may be unavailable.
        Err(_) => TcpListener::bind("0.0.0.0:80").await.context("listen on port 80")?,
    };
    loop {
        tokio::select! {
            _ = asked.recv() => return Ok(()),
            accepted = listener.accept() => {
                tokio::spawn(backend.clone().connection(accepted?.0));
            }
        }
    }
}

// === impl Backend ===

impl Backend {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let backend = self.clone();
            async move { Ok::<_, Infallible>(backend.answer(request).await) }
        });
        // The client detects broken connections.
        let _ = stream.set_nodelay(true);
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let recorded = self.record(request.method(), request.headers());
        let mut response = match (request.method(), request.uri().path()) {
            _ if recorded.is_err() => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be recorded\n")
            }
            (&Method::POST, _) => match receive(request).await {
                Ok(length) => text(StatusCode::OK, format!("{} {length}\n", self.name)),
                Err(fault) => text(StatusCode::BAD_REQUEST, format!("{fault}\n")),
            },
            (_, "/stream") => self.stream(request.uri().query().unwrap_or_default()),
            _ => text(StatusCode::OK, format!("{}\n", self.name)),
        };
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert(BACKEND, name);
        }
        response
    }

    /// `/stream?LINES`: sends lines with the name, one every 50 ms.
    fn stream(&self, lines: &str) -> Answer {
        let (name, lines) = (self.name.clone(), lines.parse().unwrap_or(20_u32));
        let lines = stream::unfold(0, move |number| {
            let line = format!("{name} {number}\n");
            async move {
                if number == lines {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok(Frame::data(Bytes::from(line))), number + 1))
            }
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }

    /// Records a request for the evaluation of the run. One write per line, so that lines of several
    /// containers are not interleaved.
    fn record(&self, method: &Method, headers: &HeaderMap) -> std::io::Result<()> {
        let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (Some(request), Some(expected)) = (header(REQUEST), header(EXPECT)) else {
            // Probes of the router have no id.
            return Ok(());
        };
        let line = format!("{} {request} {expected} {} {method}\n", now(), self.name);
        if expected != self.name {
            (&self.misdelivered).write_all(line.as_bytes())?;
        }
        if method == Method::POST {
            (&self.posts).write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    response
}
