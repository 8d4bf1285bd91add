//! One thread of the data path: its listeners' services, and the sweep of its deadlines.

use std::{net::TcpListener, rc::Rc, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Tables,
    accept::Acceptor,
    access::{AccessControl, ForwardAuthClient},
    admission::Admission,
    clock::TICK,
    http::{pool::ConnectionPool, service::HttpService, shared::HttpShared},
    settings::{IDLE_UPSTREAMS, ListenerSettings, Protocol},
    via::{LoopGuard, Pseudonym},
    waiting::{ProgressStreams, WaitingRoom},
    worker::Worker,
};

/// Ticks between two sweeps of the upstream connections.
const POOL_TICKS: u32 = 4;

/// A listening socket of one thread.
pub(crate) struct BoundListener {
    pub(crate) settings: ListenerSettings,
    pub(crate) socket: TcpListener,
    /// One permit for each connection that the listener may have, over all threads.
    pub(crate) connections: Arc<Semaphore>,
    /// One permit for each visitor that the listener may hold, over all threads.
    pub(crate) held: Arc<Semaphore>,
}

/// State that all threads share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) tables: Arc<ArcSwap<Tables>>,
    pub(crate) waiting_room: Arc<WaitingRoom>,
    pub(crate) access: Arc<AccessControl>,
    pub(crate) pseudonym: Pseudonym,
    /// How many threads there are.
    pub(crate) threads: usize,
    /// Cancelled to shut down gracefully.
    pub(crate) stop: CancellationToken,
    /// Cancelled to close every connection.
    pub(crate) kill: CancellationToken,
}

/// Serves until `stop`, then until every connection and tunnel has ended, or until `kill`.
pub(crate) async fn run(listeners: Vec<BoundListener>, shared: Shared) {
    let (stop, kill) = (shared.stop.clone(), shared.kill.clone());
    let worker = Worker::new(stop.clone());
    let most_idle = idle_connections(&listeners, shared.threads);
    let pool = ConnectionPool::new(&worker.clock, shared.threads, most_idle);
    let Shared { tables, waiting_room, access, pseudonym, .. } = shared;
    let http = Rc::new(HttpShared {
        worker: worker.clone(),
        pool: pool.clone(),
        streams: ProgressStreams::new(&waiting_room, &stop),
        admission: Admission::new(tables, access, waiting_room),
        forward_auth: ForwardAuthClient::new(),
        loops: LoopGuard::new(pseudonym),
    });
    for BoundListener { settings, socket, connections, held } in listeners {
        let settings = Rc::new(settings);
        let acceptor = match settings.protocol {
            Protocol::Http => {
                let service = HttpService::new(settings.clone(), held, http.clone());
                let serve = move |client| service.serve_connection(client);
                Acceptor::new(settings, worker.clone(), connections, serve)
            }
        };
        worker.tasks.spawn_local(acceptor.run(socket));
    }
    // The sweep has no end of its own; it is aborted below.
    let sweep = tokio::task::spawn_local(sweep(worker.clone(), pool));
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

/// Maximum idle upstream connections of one thread: as many as its share of the clients, since
/// each client uses one at a time.
fn idle_connections(listeners: &[BoundListener], threads: usize) -> usize {
    let clients = listeners.iter().map(|listener| listener.settings.limits.connections);
    let all = clients.fold(0, usize::saturating_add).min(IDLE_UPSTREAMS);
    all.div_ceil(threads.max(1)).max(1)
}

/// Closes connections that have exceeded a deadline. Sleeps without a timer while there is none.
async fn sweep(worker: Rc<Worker>, pool: Rc<ConnectionPool>) {
    let mut ticks: u32 = 0;
    loop {
        if !worker.has_connections() && pool.is_empty() {
            worker.connected().await;
        }
        tokio::time::sleep(TICK).await;
        worker.clock.advance();
        worker.check_deadlines();
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(POOL_TICKS) {
            pool.sweep();
        }
    }
}
