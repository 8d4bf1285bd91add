//! A router with a fake provider and scripted backends, all on loopback.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use drowse_core::{
    Address, Engine, EngineDeps, Failure, MemoryJournal, Observation, Phase, Provider,
    ProviderEvent, ProviderName, ProviderState, Status, StopOptions, Target, Workload,
    WorkloadName, WorkloadSpec,
};
use drowse_proxy::{
    HttpLimits, ListenerSettings, NetProber, Protocol, Proxy, Running, Tables, WaitingSettings,
};
use drowse_routes::{Auth, HostMatch, Route, Waiting, WakeRules};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
};

/// Longer than any step of a test takes.
pub const LONG: Duration = Duration::from_secs(20);

/// A fake platform with one target.
pub struct Fake {
    name: ProviderName,
    /// The target's address after its next start.
    pub address: Mutex<SocketAddr>,
    pub status: Mutex<Status>,
    /// The target runs without an address.
    pub unreachable: AtomicBool,
    events: mpsc::Sender<ProviderEvent>,
    reported: Mutex<Option<mpsc::Receiver<ProviderEvent>>>,
    /// Number of status queries.
    pub looks: AtomicUsize,
    /// One permit for each start that may complete.
    pub may_start: Semaphore,
    /// Starts succeed, and the target has exited at the next query.
    pub ends_at_once: AtomicBool,
    /// The failure of the next starts.
    pub refusal: Mutex<Option<Failure>>,
    pub starts: AtomicUsize,
    pub stops: AtomicUsize,
    /// The target's log lines, and the number of requests for them.
    pub logs: Mutex<Vec<String>>,
    /// The provider's report of its own progress.
    pub said: Mutex<Option<String>>,
    pub asked: AtomicUsize,
    /// The reported host, in place of the address.
    pub host: Mutex<Option<String>>,
    /// The address that the dial policy refuses.
    pub refused: Mutex<Option<SocketAddr>>,
    /// The dials that were checked: reported host and address.
    pub dials: Mutex<Vec<(String, SocketAddr)>>,
}

/// A router with one workload named `app`.
pub struct Router {
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    pub workload: Arc<Workload>,
    pub fake: Arc<Fake>,
    running: Option<Running>,
}

pub struct Plan {
    pub backend: SocketAddr,
    pub waiting: Waiting,
    pub hold_timeout: Duration,
    pub idle: Option<Duration>,
    pub limits: HttpLimits,
    pub waiting_settings: WaitingSettings,
    pub trust: Vec<ipnet::IpNet>,
    pub proxy_protocol: Vec<ipnet::IpNet>,
    pub wake: WakeRules,
    pub auth: Option<Auth>,
    pub identity_headers: Vec<String>,
    /// Further routes to the workload, for these paths.
    pub paths: Vec<(&'static str, Option<Auth>)>,
    /// Starts complete at once.
    pub eager: bool,
    pub threads: usize,
}

/// A backend that hands each accepted connection to a script.
pub struct Backend {
    pub address: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A reserved port that refuses connections.
pub struct Refusing {
    pub address: SocketAddr,
    _socket: Socket,
}

/// A raw connection, read in protocol units.
pub struct Wire(pub TcpStream);

// === impl Fake ===

impl Fake {
    fn new(address: SocketAddr, eager: bool) -> Arc<Self> {
        let (events, reported) = mpsc::channel(16);
        Arc::new(Self {
            unreachable: AtomicBool::new(false),
            events,
            reported: Mutex::new(Some(reported)),
            name: ProviderName::parse("fake").unwrap(),
            address: Mutex::new(address),
            status: Mutex::new(Status::Stopped),
            looks: AtomicUsize::new(0),
            may_start: Semaphore::new(if eager { 1000 } else { 0 }),
            ends_at_once: AtomicBool::new(false),
            refusal: Mutex::new(None),
            starts: AtomicUsize::new(0),
            stops: AtomicUsize::new(0),
            logs: Mutex::default(),
            said: Mutex::default(),
            asked: AtomicUsize::new(0),
            host: Mutex::default(),
            refused: Mutex::default(),
            dials: Mutex::default(),
        })
    }

    pub fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    pub fn stops(&self) -> usize {
        self.stops.load(Ordering::SeqCst)
    }

    /// Exits without a stop; the target has another address after its next start.
    pub fn ends(&self, next: SocketAddr) {
        let mut status = self.status.lock().unwrap();
        *self.address.lock().unwrap() = next;
        *status = Status::Stopped;
    }

    /// Sends an event with the current observation.
    pub async fn report(&self) {
        let target = Target { handle: "app".into(), settings: "{}".into() };
        self.events.send(ProviderEvent::Changed(self.observe(&target))).await.unwrap();
    }

    fn observe(&self, target: &Target) -> Observation {
        let status = self.status.lock().unwrap().clone();
        let address = *self.address.lock().unwrap();
        let addresses = match status {
            Status::Running if !self.unreachable.load(Ordering::SeqCst) => vec![Address {
                host: self.host.lock().unwrap().clone().unwrap_or(address.ip().to_string()),
                port: Some(address.port()),
                target_port: Some(80),
            }],
            _ => Vec::new(),
        };
        Observation {
            handle: target.handle.clone(),
            native_status: format!("{status:?}"),
            status,
            native_id: None,
            health: Default::default(),
            addresses,
            labels: Default::default(),
            detail: None,
            attributes: Default::default(),
        }
    }
}

#[async_trait]
impl Provider for Fake {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        self.may_start.acquire().await.unwrap().forget();
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        *self.status.lock().unwrap() = Status::Running;
        let started = self.observe(target);
        if self.ends_at_once.load(Ordering::SeqCst) {
            *self.status.lock().unwrap() = Status::Stopped;
        }
        Ok(started)
    }

    async fn stop(&self, target: &Target, _: &StopOptions) -> Result<Observation, Failure> {
        self.stops.fetch_add(1, Ordering::SeqCst);
        *self.status.lock().unwrap() = Status::Stopped;
        Ok(self.observe(target))
    }

    async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        Ok(self.observe(target))
    }

    async fn resume(&self, target: &Target) -> Result<Observation, Failure> {
        Ok(self.observe(target))
    }

    async fn kill(&self, target: &Target, _: Option<&str>) -> Result<Observation, Failure> {
        Ok(self.observe(target))
    }

    async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(self.observe(target))
    }

    async fn list(&self, _: Option<&str>) -> Result<(Vec<Observation>, Option<String>), Failure> {
        Ok((Vec::new(), None))
    }

    async fn logs(&self, _: &Target, _: u32) -> Result<Vec<String>, Failure> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.logs.lock().unwrap().clone())
    }

    async fn check_dial(&self, _: &Target, host: &str, address: SocketAddr) -> Result<(), String> {
        self.dials.lock().unwrap().push((host.to_owned(), address));
        match *self.refused.lock().unwrap() {
            Some(refused) if refused == address => Err(format!("{address} is refused")),
            _ => Ok(()),
        }
    }

    fn progress(&self, _: &Target) -> Option<String> {
        self.said.lock().unwrap().clone()
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        self.reported.lock().unwrap().take().expect("watched once")
    }

    fn state(&self) -> ProviderState {
        ProviderState {
            plugin: None,
            origin: None,
            usable: true,
            cause: None,
            abilities: Vec::new(),
            faults: 0,
        }
    }
}

// === impl Plan ===

impl Plan {
    pub fn new(backend: SocketAddr) -> Self {
        Self {
            backend,
            waiting: Waiting::Hold,
            hold_timeout: 10 * LONG,
            idle: None,
            limits: HttpLimits::default(),
            waiting_settings: WaitingSettings::default(),
            trust: Vec::new(),
            proxy_protocol: Vec::new(),
            wake: WakeRules::default(),
            auth: None,
            identity_headers: Vec::new(),
            paths: Vec::new(),
            eager: true,
            threads: 2,
        }
    }

    pub fn run(self) -> Router {
        let engine = Engine::new(EngineDeps {
            runtime: tokio::runtime::Handle::current(),
            prober: Arc::new(NetProber::new()),
            journal: Arc::new(MemoryJournal::new(100)),
            clock: Arc::new(std::time::SystemTime::now),
        });
        let fake = Fake::new(self.backend, self.eager);
        engine.add_provider(fake.clone());
        let name = WorkloadName::parse("app").unwrap();
        let workload = engine
            .add_workload(WorkloadSpec {
                idle: self.idle,
                ..WorkloadSpec::new(
                    name.clone(),
                    ProviderName::parse("fake").unwrap(),
                    Target { handle: "app".into(), settings: "{}".into() },
                )
            })
            .unwrap();
        let route = Route {
            listener: "web".into(),
            host: HostMatch::Exact("app.test".into()),
            path: "/".into(),
            workload: name,
            port: 80,
            waiting: self.waiting,
            hold_timeout: self.hold_timeout,
            wake: Arc::new(self.wake),
            auth: self.auth.map(Arc::new),
            similar_paths: None,
            identity_headers: self.identity_headers.into(),
        };
        let mut routes = vec![(route.clone(), workload.clone())];
        for (path, auth) in self.paths {
            let route = Route { path: path.into(), auth: auth.map(Arc::new), ..route.clone() };
            routes.push((route, workload.clone()));
        }
        let tables = Tables::build(routes).unwrap();
        let settings = ListenerSettings {
            name: "web".into(),
            bind: "127.0.0.1:0".parse().unwrap(),
            protocol: Protocol::Http,
            trust: self.trust,
            proxy_protocol: self.proxy_protocol,
            limits: self.limits,
        };
        let (mut proxy, failed) = Proxy::bind(vec![settings], self.threads);
        proxy.waiting(self.waiting_settings).unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        let address = proxy.listening()[0].address;
        let running = proxy.run(Arc::new(ArcSwap::from_pointee(tables))).unwrap();
        Router { address, engine, workload, fake, running: Some(running) }
    }
}

// === impl Router ===

impl Router {
    pub async fn connect(&self) -> Wire {
        Wire(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends one request on a new connection and returns all bytes of the response.
    pub async fn ask(&self, request: &str) -> String {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.rest().await
    }

    /// Sends the same request on so many new connections at once; the tasks return the responses.
    pub async fn ask_at_once(&self, count: usize, request: &'static str) -> JoinSet<String> {
        let mut visitors = JoinSet::new();
        for _ in 0..count {
            let mut wire = self.connect().await;
            visitors.spawn(async move {
                wire.send(request).await;
                wire.rest().await
            });
        }
        visitors
    }

    pub async fn phase(&self, phase: Phase) {
        let mut watch = self.workload.watch();
        let seen = tokio::time::timeout(LONG, watch.wait_for(|now| now.phase == phase)).await;
        assert!(seen.is_ok(), "not {phase} but {:?}", self.engine.status());
    }

    pub fn visits(&self) -> u64 {
        self.engine.status()[0].visits
    }

    pub async fn shutdown(mut self, deadline: Duration) -> bool {
        let running = self.running.take().unwrap();
        running.shutdown(deadline).await
    }

    pub fn take_running(&mut self) -> Running {
        self.running.take().unwrap()
    }
}

// === impl Backend ===

impl Backend {
    pub async fn new<F>(script: impl Fn(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    pub fn on<F>(listener: TcpListener, script: impl Fn(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(script(Wire(stream)));
            }
        });
        Self { address, accepted, task }
    }

    /// Responds to every request without a body with these bytes, and reports the requests.
    pub async fn answering(response: &'static str) -> (Self, mpsc::Receiver<String>) {
        let (sender, requests) = mpsc::channel(1000);
        let backend = Self::new(move |mut wire| {
            let sender = sender.clone();
            async move {
                while let Some(head) = wire.try_head().await {
                    // The test may ignore the requests.
                    let _ = sender.send(head).await;
                    wire.send(response).await;
                }
            }
        })
        .await;
        (backend, requests)
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Refusing ===

impl Refusing {
    pub fn new() -> Self {
        let socket = Self::bound("127.0.0.1:0".parse().unwrap());
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, _socket: socket }
    }

    /// Accepts connections on the port until the listener is dropped.
    pub fn listen(&self) -> TcpListener {
        let socket = Self::bound(self.address);
        socket.set_nonblocking(true).unwrap();
        socket.listen(128).unwrap();
        TcpListener::from_std(socket.into()).unwrap()
    }

    fn bound(address: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket
    }
}

// === impl Wire ===

impl Wire {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The head of a message with its empty line. None if the peer closes before it.
    pub async fn try_head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match within(self.0.read_u8()).await {
                Ok(byte) => head.push(byte),
                Err(_) if head.is_empty() => return None,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        Some(String::from_utf8(head).unwrap())
    }

    pub async fn head(&mut self) -> String {
        self.try_head().await.expect("a head")
    }

    pub async fn exactly(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        within(self.0.read_exact(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub async fn expect(&mut self, text: &str) {
        assert_eq!(self.exactly(text.len()).await, text);
    }

    /// All bytes until the peer closes.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        within(self.0.read_to_end(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until the peer closes or resets the connection.
    pub async fn closed(&mut self) {
        let mut scrap = [0; 1024];
        loop {
            match within(self.0.read(&mut scrap)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

/// Fails the test if the future takes longer than [`LONG`].
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("done in time")
}

/// Polls a condition that has no event to wait for.
pub async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// A GET whose response closes the connection.
pub const LAST_GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
