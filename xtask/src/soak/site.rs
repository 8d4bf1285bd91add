//! A workload as seen by its clients, and a client's connection to it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    headers::{Nanos, ProcessInfo, now},
    tally::Tally,
};

/// A request's body.
pub(crate) type Upload = UnsyncBoxBody<Bytes, Infallible>;

/// Timeout after which a request is lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// One workload behind the router.
pub(super) struct Site {
    pub(super) router: SocketAddr,
    pub(super) host: String,
    pub(super) idle: Duration,
    pub(super) tally: Arc<Tally>,
    /// Set when no new requests are to be sent.
    pub(super) closing: Arc<AtomicBool>,
    /// Time of the last response of the workload.
    heard: AtomicU64,
}

/// A keep-alive connection, replaced when it is closed.
pub(super) struct Line<'a> {
    site: &'a Site,
    requests: Option<SendRequest<Upload>>,
}

// === impl Site ===

impl Site {
    pub(super) fn new(
        router: SocketAddr,
        host: String,
        idle: Duration,
        tally: Arc<Tally>,
        closing: Arc<AtomicBool>,
    ) -> Self {
        Self { router, host, idle, tally, closing, heard: AtomicU64::new(now()) }
    }

    /// Returns whether to send further requests.
    pub(super) fn open(&self) -> bool {
        !self.closing.load(Ordering::Relaxed)
    }

    /// Sleeps for an exponentially distributed time with a mean of `idle_times` idle times.
    pub(super) async fn pause(&self, idle_times: f64) {
        let share = -fastrand::f64().max(1e-3).ln();
        tokio::time::sleep(self.idle.mul_f64(idle_times * share)).await;
    }

    /// Waits until the workload has had no response for about its idle time, when it goes to sleep. Gives
    /// up after five attempts.
    pub(super) async fn quiet(&self) {
        let wanted = self.idle.mul_f64(0.9 + 0.8 * fastrand::f64());
        for _ in 0..5 {
            let quiet = now().saturating_sub(self.heard.load(Ordering::Relaxed));
            let Some(left) = wanted.checked_sub(Duration::from_nanos(quiet)) else { return };
            tokio::time::sleep(left).await;
        }
    }

    /// Checks the headers of a response, which must come from a backend that is not stopping.
    pub(super) fn check(
        &self,
        status: StatusCode,
        expected: StatusCode,
        headers: &HeaderMap,
        sent: Nanos,
    ) -> Result<()> {
        let Some(info) = ProcessInfo::read(headers) else {
            bail!("{status} from the router itself: {headers:?}");
        };
        ensure!(!info.stopping, "answered by a backend that was stopping: {info:?}");
        ensure!(status == expected, "the backend answered {status}: {info:?}");
        self.tally.admitted(info.gate_state(sent), sent);
        Ok(())
    }

    /// Records the outcome of a visit.
    pub(super) fn end(&self, kind: &str, outcome: Result<()>) {
        self.heard.fetch_max(now(), Ordering::Relaxed);
        match outcome {
            Ok(()) => self.tally.answered(),
            Err(error) => self.tally.lost(format!("{kind} at {}: {error:#}", self.host)),
        }
    }
}

// === impl Line ===

impl<'a> Line<'a> {
    pub(super) fn new(site: &'a Site) -> Self {
        Self { site, requests: None }
    }

    /// A request for a path of this site.
    pub(super) fn request(&self, path: &str) -> http::request::Builder {
        Request::builder().uri(path).header(HOST, &self.site.host)
    }

    /// Sends a request and waits for the response of a running backend.
    pub(super) async fn ask(&mut self, request: Request<Upload>) -> Result<Response<Incoming>> {
        let sent = now();
        let asked = async {
            let mut requests = match self.requests.take().filter(|line| !line.is_closed()) {
                Some(requests) => requests,
                None => connect(self.site.router).await.context("connect")?,
            };
            requests.ready().await.context("the connection is closed")?;
            let response = requests.send_request(request).await.context("no answer")?;
            anyhow::Ok((requests, response))
        };
        let (requests, response) = timeout(PATIENCE, asked).await.context("timeout")??;
        self.site.check(response.status(), StatusCode::OK, response.headers(), sent)?;
        self.requests = Some(requests);
        Ok(response)
    }

    /// The complete body as text.
    pub(super) async fn text(&mut self, response: Response<Incoming>) -> Result<String> {
        let body = timeout(PATIENCE, response.into_body().collect()).await;
        let body = body.context("the body does not end")?.context("the body broke off")?;
        Ok(String::from_utf8(body.to_bytes().to_vec())?)
    }
}

async fn connect(router: SocketAddr) -> Result<SendRequest<Upload>> {
    let stream = TcpStream::connect(router).await?;
    stream.set_nodelay(true)?;
    let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with its requests. Pending requests get the error as well.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(requests)
}
