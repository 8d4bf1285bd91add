//! Constant (open-loop) load: requests are sent on schedule, independently of earlier responses.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use http::{Method, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    runtime::Runtime,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    backend::{BACKEND, EXPECT, REQUEST},
    ledger::{Kind, Ledger, Outcome, Record, next_id},
    timeline::{BEYOND, Timeline},
};
use crate::soak::{
    content::Content,
    headers::{SEED, now},
    site::Upload,
    visitors::{chunked, empty, length},
};

/// Timeout after which a request is lost.
const ANSWER: Duration = Duration::from_secs(60);
/// Time for requests in flight after the end of the load.
const LAST: Duration = Duration::from_secs(6);
/// Maximum idle connections per workload.
const IDLE: usize = 64;
/// Interval of connection attempts while the router is down.
const RETRY: Duration = Duration::from_millis(20);
/// Number of lines of a stream: 2 to 8 seconds.
const LINES: std::ops::Range<u32> = 40..160;
/// Interval of the timer that detects stalls of this machine.
const BEAT: Duration = Duration::from_millis(20);
/// Timer delay that counts as a stall.
const STALL: Duration = Duration::from_millis(80);

/// The load on the workloads of a run.
pub(super) struct Load {
    pub(super) ledger: Arc<Ledger>,
    pub(super) timeline: Arc<Timeline>,
    router: SocketAddr,
    names: Vec<String>,
    /// Container that answers for each workload: its own, unless two have swapped their names.
    answerers: Mutex<Vec<String>>,
    /// Whether each workload has periods without requests, in which it sleeps.
    breaks: bool,
    closing: watch::Sender<bool>,
    /// Whether the router is intentionally down.
    down: AtomicBool,
    idle: Vec<Mutex<Vec<SendRequest<Upload>>>>,
}

/// A running load generator.
pub(super) struct Running {
    pub(super) load: Arc<Load>,
    runtime: Runtime,
    tasks: JoinSet<()>,
}

/// One request.
struct Call {
    id: u64,
    workload: usize,
    kind: Kind,
    sent: u64,
}

// === impl Running ===

impl Running {
    /// Starts `rate` requests per second, distributed over these workloads, and one stream to each.
    pub(super) fn begin(
        router: SocketAddr,
        names: &[String],
        rate: u32,
        breaks: bool,
        timeline: Timeline,
    ) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build()?;
        let load = Arc::new(Load {
            ledger: Arc::new(Ledger::new(names.len())),
            timeline: Arc::new(timeline),
            router,
            names: names.to_vec(),
            answerers: Mutex::new(names.to_vec()),
            breaks,
            closing: watch::Sender::new(false),
            down: AtomicBool::new(false),
            idle: (0..=names.len()).map(|_| Mutex::default()).collect(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn_on(load.clone().requests(rate), runtime.handle());
        tasks.spawn_on(load.clone().beats(), runtime.handle());
        for workload in 0..names.len() {
            tasks.spawn_on(load.clone().streams(workload), runtime.handle());
        }
        Ok(Self { load, runtime, tasks })
    }

    /// Stops sending requests and waits for those in flight.
    pub(super) fn end(mut self) -> Arc<Load> {
        self.load.closing.send_replace(true);
        self.runtime.block_on(async { while self.tasks.join_next().await.is_some() {} });
        self.load
    }

    /// Sends one request to a workload that is not under load.
    pub(super) fn ask(&self, name: &str) {
        let load = self.load.clone();
        let call = Call { id: next_id(), workload: load.names.len(), kind: Kind::Get, sent: now() };
        let outcome = self.runtime.block_on(load.limited(load.exchange(&call, name)));
        load.ledger.add(call.ended(outcome));
    }
}

// === impl Load ===

impl Load {
    /// Sets whether the router is intentionally down; refused connections are then retried.
    pub(super) fn down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Records that two containers have swapped their names.
    pub(super) fn swap(&self, one: usize, other: usize) {
        self.answerers.lock().unwrap_or_else(PoisonError::into_inner).swap(one, other);
    }

    /// The container name that is expected in the response.
    fn answerer(&self, call: &Call, name: &str) -> String {
        let answerers = self.answerers.lock().unwrap_or_else(PoisonError::into_inner);
        answerers.get(call.workload).map_or(name, String::as_str).to_owned()
    }

    fn open(&self) -> bool {
        !*self.closing.borrow()
    }

    /// Waits until the time for requests in flight is over.
    async fn closed(&self) {
        // `self` owns the sender, so this cannot fail.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
        sleep(LAST).await;
    }

    /// Waits for an outcome, with a timeout.
    async fn limited(&self, outcome: impl Future<Output = Outcome>) -> Outcome {
        tokio::select! {
            outcome = outcome => outcome,
            () = sleep(ANSWER) => Outcome::Lost(format!("no answer in {ANSWER:?}")),
            () = self.closed() => Outcome::Lost("no answer until the end of the run".to_owned()),
        }
    }

    /// Returns whether this workload gets requests at present.
    fn visited(&self, workload: usize, begin: Instant) -> bool {
        let turn = begin.elapsed().as_secs() / 8 + workload as u64;
        !self.breaks || !turn.is_multiple_of(4)
    }

    async fn requests(self: Arc<Self>, rate: u32) {
        let begin = Instant::now();
        let mut tick = interval(Duration::from_secs(1) / rate.max(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        let workloads = self.names.len();
        for number in 0_usize.. {
            tick.tick().await;
            while under_way.try_join_next().is_some() {}
            if !self.open() {
                break;
            }
            let workload = number % workloads;
            if !self.visited(workload, begin) {
                continue;
            }
            let kind = if number / workloads % 4 == 3 { Kind::Post } else { Kind::Get };
            under_way.spawn(self.clone().request(workload, kind));
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn request(self: Arc<Self>, workload: usize, kind: Kind) {
        let call = Call { id: next_id(), workload, kind, sent: now() };
        let outcome = self.limited(self.exchange(&call, &self.names[workload])).await;
        self.ledger.add(call.ended(outcome));
    }

    async fn exchange(&self, call: &Call, name: &str) -> Outcome {
        let right = self.answerer(call, name);
        loop {
            let kept = self.take(call.workload);
            let fresh = kept.is_none();
            let mut requests = match kept {
                Some(requests) => requests,
                None => match self.connect().await {
                    Ok(requests) => requests,
                    Err(error) => return Outcome::Lost(format!("connect: {error}")),
                },
            };
            let (request, text) = self.make(call, name, &right);
            match requests.send_request(request).await {
                Ok(response) => {
                    let outcome = self.judge(response, &right, Some(&text)).await;
                    if requests.ready().await.is_ok() {
                        self.put(call.workload, requests);
                    }
                    return outcome;
                }
                // The router has closed an idle connection; nothing was sent.
                Err(error) if error.is_canceled() && !fresh => {}
                Err(error) => return Outcome::Lost(describe(&error)),
            }
        }
    }

    /// The request and its expected response text.
    fn make(&self, call: &Call, name: &str, right: &str) -> (Request<Upload>, String) {
        if call.kind != Kind::Post {
            return (self.get(call, name, right, "/hello"), format!("{right}\n"));
        }
        let (content, length) = (Content { seed: call.id }, length());
        let whole = content.piece(0, length);
        let body = if call.id.is_multiple_of(2) {
            Full::new(whole).boxed_unsync()
        } else {
            chunked(whole).boxed_unsync()
        };
        let mut request = self.get(call, name, right, "/upload");
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(SEED, content.seed.into());
        *request.body_mut() = body;
        (request, format!("{right} {length}\n"))
    }

    fn get(&self, call: &Call, name: &str, right: &str, path: &str) -> Request<Upload> {
        let mut request = Request::new(empty());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let host = format!("{name}.chaos");
        for (header, value) in [(HOST, host.as_str()), (EXPECT, right)] {
            if let Ok(value) = value.parse() {
                request.headers_mut().insert(header, value);
            }
        }
        request.headers_mut().insert(REQUEST, call.id.into());
        request
    }

    /// Reads a response to its end and judges it.
    async fn judge(
        &self,
        response: Response<Incoming>,
        name: &str,
        expected: Option<&str>,
    ) -> Outcome {
        let status = response.status();
        let backend = backend(&response);
        let text = match response.into_body().collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Err(error) => return Outcome::Lost(format!("{status}, then {}", describe(&error))),
        };
        match backend {
            Some(other) if other != name => Outcome::Wrong(other),
            None => Outcome::Refused(format!("{status}: {}", brief(&text))),
            Some(_) if status != StatusCode::OK => {
                Outcome::Lost(format!("the backend answered {status}: {}", brief(&text)))
            }
            Some(_) if expected.is_some_and(|expected| text != expected) => {
                Outcome::Lost(format!("the backend answered {:?}", brief(&text)))
            }
            Some(_) => Outcome::Answered,
        }
    }

    /// Opens streams to a workload, one after the other.
    async fn streams(self: Arc<Self>, workload: usize) {
        let begin = Instant::now();
        while self.open() {
            if !self.visited(workload, begin) {
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            // Until the response begins it is an ordinary request.
            let mut call = Call { id: next_id(), workload, kind: Kind::Get, sent: now() };
            let mut heard = call.sent;
            let outcome = tokio::select! {
                outcome = self.stream(&mut call, &mut heard) => outcome,
                () = self.closed() => Outcome::Lost("silent until the end of the run".to_owned()),
            };
            let failed = outcome != Outcome::Answered;
            self.ledger.add(Record { sent: heard, ..call.ended(outcome) });
            if failed {
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Reads one stream. `heard` is the time of the last received data.
    async fn stream(&self, call: &mut Call, heard: &mut u64) -> Outcome {
        let name = &self.names[call.workload];
        let lines = fastrand::u32(LINES);
        let mut requests = match self.connect().await {
            Ok(requests) => requests,
            Err(error) => return Outcome::Lost(format!("connect: {error}")),
        };
        let right = self.answerer(call, name);
        let request = self.get(call, name, &right, &format!("/stream?{lines}"));
        let response = match requests.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Outcome::Lost(describe(&error)),
        };
        let status = response.status();
        match backend(&response) {
            Some(other) if other != right => return Outcome::Wrong(other),
            Some(_) if status == StatusCode::OK => {}
            _ => return self.judge(response, &right, None).await,
        }
        let (mut body, mut text) = (response.into_body(), Vec::new());
        self.hear(call, heard);
        call.kind = Kind::Stream;
        while self.open() {
            let data = match body.frame().await {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Outcome::Lost(describe(&error)),
                None => break,
            };
            self.hear(call, heard);
            text.extend_from_slice(&data);
        }
        if !self.open() {
            return Outcome::Answered;
        }
        let right: String = (0..lines).map(|number| format!("{right} {number}\n")).collect();
        if text == right.as_bytes() {
            Outcome::Answered
        } else {
            Outcome::Lost(format!("{} of {} bytes of a stream are right", text.len(), right.len()))
        }
    }

    /// Records that a stream has received data. A long silence before it is kept to be judged.
    fn hear(&self, call: &Call, heard: &mut u64) {
        let silence = Record { sent: *heard, ..call.ended(Outcome::Answered) };
        if silence.done.saturating_sub(silence.sent) > BEYOND {
            self.ledger.keep(silence);
        }
        *heard = now();
    }

    /// Detects when this machine delays a runnable thread.
    async fn beats(self: Arc<Self>) {
        while self.open() {
            let before = now();
            sleep(BEAT).await;
            let due = before + BEAT.as_nanos() as u64;
            let late = now().saturating_sub(due);
            if late > STALL.as_nanos() as u64 {
                self.timeline.stalled(due, due + late);
            }
        }
    }

    /// Connects to the router; retries while it is intentionally down.
    async fn connect(&self) -> Result<SendRequest<Upload>> {
        loop {
            let down = self.down.load(Ordering::SeqCst);
            match TcpStream::connect(self.router).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
                    // Ends with the connection. Its requests get the error as well.
                    tokio::spawn(async move {
                        let _ = connection.await;
                    });
                    return Ok(requests);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && down => {
                    self.ledger.repeat();
                    sleep(RETRY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// An idle connection of an earlier request.
    fn take(&self, workload: usize) -> Option<SendRequest<Upload>> {
        let mut idle = self.idle[workload].lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(requests) = idle.pop() {
            if !requests.is_closed() {
                return Some(requests);
            }
        }
        None
    }

    fn put(&self, workload: usize, requests: SendRequest<Upload>) {
        let mut idle = self.idle[workload].lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(requests);
        }
    }
}

// === impl Call ===

impl Call {
    /// The record of this request, which ends now.
    fn ended(&self, outcome: Outcome) -> Record {
        let Self { id, workload, kind, sent } = *self;
        Record { id, workload, kind, sent, done: now(), outcome }
    }
}

fn backend(response: &Response<Incoming>) -> Option<String> {
    Some(response.headers().get(BACKEND)?.to_str().ok()?.to_owned())
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The first 160 characters of a text, on one line.
fn brief(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(160).collect()
}
