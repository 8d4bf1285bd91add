//! One thread of the data path: its clients, its pool and its sweep.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use arc_swap::{ArcSwap, Cache};
use drowse_core::Workload;
use drowse_routes::{Entry, NoRoute};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Tables,
    access::{AccessControl, ForwardAuthClient},
    client::{Client, TooSlow, socket::ClientIo},
    clock::{Clock, TICK},
    door::Door,
    headers::trusts,
    pool::Pool,
    settings::{IDLE_UPSTREAMS, ListenerSettings},
    via::{LoopGuard, Pseudonym},
    waiting::{ProgressStreams, WaitingRoom},
};

/// Ticks between two looks at the pool.
const POOL_TICKS: u32 = 4;
/// A client that has connected or begun to speak when we stop gets so long to say what it wants.
pub(crate) const FIRST_WORD: Duration = Duration::from_millis(500);
/// When the kernel cannot give us a connection, it is asked again after so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the tasks of one thread share.
pub(crate) struct Worker {
    pub(crate) pool: Rc<Pool>,
    /// Clients and tunnels; stopping waits for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) streams: Rc<ProgressStreams>,
    pub(crate) access: Arc<AccessControl>,
    pub(crate) forward_auth: ForwardAuthClient,
    pub(crate) loops: LoopGuard,
    tables: RefCell<Cache<Arc<ArcSwap<Tables>>, Arc<Tables>>>,
    clock: Clock,
    clients: RefCell<HashMap<u64, Served>>,
    next: Cell<u64>,
    /// There is something to sweep.
    active: Notify,
    pub(crate) stop: CancellationToken,
}

/// A listening socket of this thread.
pub(crate) struct Entrance {
    pub(crate) settings: ListenerSettings,
    pub(crate) listener: std::net::TcpListener,
    /// Connections that the listener may still have, over all threads.
    pub(crate) room: Arc<Semaphore>,
    /// Visitors that it may still hold, over all threads.
    pub(crate) held: Arc<Semaphore>,
}

/// A client's connection and the task that serves it.
struct Served {
    client: Rc<Client>,
    door: Rc<Door>,
    task: AbortHandle,
}

/// Takes a client off the books when its task ends, however it ends.
struct Booked {
    worker: Rc<Worker>,
    id: u64,
}

/// Serves until `stop`, then until every client and tunnel has ended, or until `kill`.
pub(crate) async fn run(
    entrances: Vec<Entrance>,
    tables: Arc<ArcSwap<Tables>>,
    (room, access, pseudonym): (Arc<WaitingRoom>, Arc<AccessControl>, Pseudonym),
    threads: usize,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let clock = Clock::new();
    // As many as there can be clients, so that backends which they have left leave room for others.
    let clients = entrances.iter().map(|entrance| entrance.settings.limits.connections);
    let most_idle = clients.fold(0, usize::saturating_add).min(IDLE_UPSTREAMS);
    let most_idle = most_idle.div_ceil(threads.max(1)).max(1);
    let worker = Rc::new(Worker {
        pool: Pool::new(&clock, threads, most_idle),
        tasks: TaskTracker::new(),
        streams: ProgressStreams::new(&room, &stop),
        access,
        forward_auth: ForwardAuthClient::new(),
        loops: LoopGuard::new(pseudonym),
        tables: RefCell::new(Cache::new(tables)),
        clock,
        clients: RefCell::default(),
        next: Cell::new(0),
        active: Notify::new(),
        stop: stop.clone(),
    });
    for entrance in entrances {
        let door = Door::new(entrance.settings.clone(), entrance.held.clone(), &worker);
        worker.tasks.spawn_local(accept(door, entrance));
    }
    // Ends with the runtime.
    let sweep = tokio::task::spawn_local(sweep(worker.clone()));
    let ended = async {
        stop.cancelled().await;
        worker.tasks.close();
        worker.tasks.wait().await;
    };
    tokio::select! {
        () = ended => {}
        () = kill.cancelled() => {}
    }
    sweep.abort();
}

async fn accept(door: Rc<Door>, entrance: Entrance) {
    let listener = match TcpListener::from_std(entrance.listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(listener = door.settings.name, %error, "cannot listen");
            return;
        }
    };
    let stop = door.worker.stop.clone();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                failing = false;
                door.welcome(stream, address, &entrance.room).await;
            }
            Err(error) if concerns_one(&error) => {}
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        listener = door.settings.name, %error,
                        "no connection accepted, trying again; when the limit of open files is \
                         reached, raise it or lower the listener's `max-connections`"
                    );
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever the kernel has connected already is served. It is asked directly: the runtime may
    // not have heard of the last ones yet.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, address)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            door.welcome(stream, address, &entrance.room).await;
        }
    }
}

/// The error is about the connection that would have been accepted.
fn concerns_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks: u32 = 0;
    loop {
        if worker.clients.borrow().is_empty() && worker.pool.is_empty() {
            worker.active.notified().await;
        }
        tokio::time::sleep(TICK).await;
        worker.clock.advance();
        for served in worker.clients.borrow().values() {
            if let Err(TooSlow(why)) = served.client.sweep(&served.door.limits) {
                let listener = &served.door.settings.name;
                tracing::debug!(listener, why, "client too slow, connection closed");
                served.task.abort();
            }
        }
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(POOL_TICKS) {
            worker.pool.sweep();
        }
    }
}

/// Serves one client until its connection ends.
async fn serve(door: Rc<Door>, client: Rc<Client>) {
    let service = service_fn(|request| door.clone().serve(client.clone(), request));
    let io = TokioIo::new(ClientIo(client.socket.clone()));
    let connection = door.http.serve_connection(io, service).with_upgrades();
    tokio::pin!(connection);
    let stop = &door.worker.stop;
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
    };
    let stopped = ended.is_none();
    let ended = match ended {
        // What it says, or is about to say, would be lost: that one request is served.
        None if client.is_speaking() => {
            let before = client.requests.get();
            let one_more = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if client.requests.get() > before => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            tokio::time::timeout(FIRST_WORD, one_more).await.unwrap_or(None)
        }
        ended => ended,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let early = stopped || ended.is_err();
    let refused = ended.as_ref().is_err_and(hyper::Error::is_parse);
    if let Err(error) = &ended {
        tracing::debug!(listener = door.settings.name, %error, "client connection ended");
    }
    // Closed with bytes unread, a connection is reset, and the answer before them may be lost.
    if refused || client.cut_short.get() || (early && client.socket.has_unread()) {
        client.socket.linger().await;
    }
}

// === impl Worker ===

impl Worker {
    /// The route for this host and path, in the table as it is now.
    pub(crate) fn route(
        &self,
        listener: &str,
        host: &str,
        path: &str,
    ) -> Result<Arc<Entry<Arc<Workload>>>, NoRoute> {
        self.tables.borrow_mut().load().listener(listener).lookup(host, path).cloned()
    }

    /// Serves a client that comes from this address, by a task of its own.
    pub(crate) fn seat(
        self: &Rc<Self>,
        door: &Rc<Door>,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        self.clock.advance();
        let trusted = |address| trusts(&door.settings.trust, address);
        let client = Client::new(stream, address, trusted, &self.clock, permit);
        let id = self.next.get();
        self.next.set(id + 1);
        let booked = Booked { worker: self.clone(), id };
        let serving = serve(door.clone(), client.clone());
        let task = self.tasks.spawn_local(async move {
            let _booked = booked;
            serving.await;
        });
        let served = Served { client, door: door.clone(), task: task.abort_handle() };
        self.clients.borrow_mut().insert(id, served);
        self.active.notify_one();
    }
}

// === impl Booked ===

impl Drop for Booked {
    fn drop(&mut self) {
        // The entry holds the client: it is dropped after the books are closed.
        let served = self.worker.clients.borrow_mut().remove(&self.id);
        drop(served);
    }
}
