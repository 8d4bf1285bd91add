//! A thread's idle connections to upstreams.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use drowse_core::{Generation, Phase, Workload};
use hyper::client::conn::http1::SendRequest;

use super::{request_body::RequestBody, upstream::Connection};
use crate::{
    clock::{Clock, Tick},
    slow_start::SlowStart,
    suspicion::Suspicion,
};

/// Maximum idle connections per upstream and thread.
const IDLE_PER_UPSTREAM: usize = 128;
/// Maximum idle time of a connection.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// Maximum idle time of a connection for a request that cannot be sent twice: the upstream may
/// close a connection that has been idle for longer at this moment.
const MAX_IDLE_UNREPEATABLE: Duration = Duration::from_secs(1);
/// Time for an upstream that responded early to read the rest of the request.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The idle connections of one thread.
pub(crate) struct ConnectionPool {
    clock: Clock,
    threads: usize,
    upstreams: RefCell<HashMap<Key, Upstream>>,
    /// Maximum idle connections, to all upstreams together.
    most_idle: usize,
    /// Idle connections; closed ones are subtracted at the next sweep.
    idle: Cell<usize>,
}

/// A connection in use. Dropping it closes the connection at once and discards unsent bytes: an
/// upstream that does not read must not hold the request's body, and with it a visit.
pub(crate) struct PooledConnection {
    /// Absent once the connection has been given back or left to drain.
    connection: Option<Connection>,
    /// The connection serves no further request.
    last: bool,
    key: Key,
    generation: Generation,
    workload: Arc<Workload>,
    pool: Weak<ConnectionPool>,
}

/// A workload, by the address of its entry, and the workload's own port. Connections are kept by
/// workload, not by network address: an address may be reused by a new instance or by another
/// workload, whose requests must not be sent on an old connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    workload: usize,
    port: u16,
}

/// One instance of a workload, and the connections to it.
struct Upstream<W = Arc<Workload>> {
    /// Held so that the address in the key is not reused.
    workload: W,
    generation: Generation,
    /// Idle connections and since when, the last used one last.
    idle: Vec<(Connection, Tick)>,
    slow_start: Rc<SlowStart>,
    suspicion: Option<Rc<Suspicion>>,
}

// === impl ConnectionPool ===

impl ConnectionPool {
    /// The pool of one of `threads` threads, with at most `most_idle` idle connections.
    pub(crate) fn new(clock: &Clock, threads: usize, most_idle: usize) -> Rc<Self> {
        let (clock, upstreams, idle) = (clock.clone(), RefCell::default(), Cell::new(0));
        Rc::new(Self { clock, threads, upstreams, most_idle, idle })
    }

    /// The slow start of an instance, and the signs that it may have ended.
    pub(crate) fn slow_start(
        &self,
        workload: &Arc<Workload>,
        port: u16,
        generation: Generation,
    ) -> (Rc<SlowStart>, Rc<Suspicion>) {
        let mut upstreams = self.upstreams.borrow_mut();
        let upstream = self.upstream(&mut upstreams, workload, port, generation);
        let new = || Rc::new(Suspicion::new(workload));
        (upstream.slow_start.clone(), upstream.suspicion.get_or_insert_with(new).clone())
    }

    /// The entry of the workload's port, replaced if it is older than this generation.
    fn upstream<'a>(
        &self,
        upstreams: &'a mut HashMap<Key, Upstream>,
        workload: &Arc<Workload>,
        port: u16,
        generation: Generation,
    ) -> &'a mut Upstream {
        let new = || Upstream {
            workload: workload.clone(),
            generation,
            idle: Vec::new(),
            slow_start: SlowStart::new(self.threads),
            suspicion: None,
        };
        let upstream = upstreams.entry(Key::new(workload, port)).or_insert_with(new);
        if upstream.generation < generation {
            *upstream = new();
        }
        upstream
    }

    /// The idle connection to this generation that was used last. `repeatable`: the request can
    /// be sent again if the connection turns out to be dead.
    pub(crate) fn take(
        self: &Rc<Self>,
        workload: &Arc<Workload>,
        port: u16,
        generation: Generation,
        repeatable: bool,
    ) -> Option<PooledConnection> {
        let key = Key::new(workload, port);
        let mut upstreams = self.upstreams.borrow_mut();
        let upstream = upstreams.get_mut(&key)?;
        if upstream.generation != generation {
            return None;
        }
        let mut at = upstream.idle.len();
        while at > 0 {
            at -= 1;
            let (connection, since) = &upstream.idle[at];
            if !connection.is_usable() {
                upstream.idle.swap_remove(at);
            } else if !repeatable && self.clock.passed(*since, MAX_IDLE_UNREPEATABLE) {
                return None;
            } else if connection.requests.is_ready() {
                let (connection, _) = upstream.idle.remove(at);
                self.idle.set(self.idle.get().saturating_sub(1));
                connection.idle.set(false);
                return Some(self.add(connection, workload, port, generation));
            }
        }
        None
    }

    /// Makes a connection one of this pool: it returns here after its exchange.
    pub(crate) fn add(
        self: &Rc<Self>,
        connection: Connection,
        workload: &Arc<Workload>,
        port: u16,
        generation: Generation,
    ) -> PooledConnection {
        PooledConnection {
            connection: Some(connection),
            last: false,
            key: Key::new(workload, port),
            generation,
            workload: workload.clone(),
            pool: Rc::downgrade(self),
        }
    }

    /// Closes connections that have been idle for too long, and those to workloads that fall
    /// asleep: some backends do not end before their clients have closed.
    pub(crate) fn sweep(&self) {
        self.upstreams.borrow_mut().retain(|_, upstream| {
            let now = upstream.workload.snapshot();
            upstream.sweep(now.phase, now.generation, &self.clock)
        });
        let idle = self.upstreams.borrow().values().map(|upstream| upstream.idle.len()).sum();
        self.idle.set(idle);
    }

    /// No connection needs a sweep. Entries without connections may stay as they are.
    pub(crate) fn is_empty(&self) -> bool {
        !self.upstreams.borrow().values().any(Upstream::is_used)
    }

    fn put(&self, connection: Connection, from: &PooledConnection) {
        if !connection.is_usable() {
            return;
        }
        let mut upstreams = self.upstreams.borrow_mut();
        let upstream =
            self.upstream(&mut upstreams, &from.workload, from.key.port, from.generation);
        let has_room = upstream.idle.len() < IDLE_PER_UPSTREAM && self.idle.get() < self.most_idle;
        if upstream.generation == from.generation && has_room {
            self.idle.set(self.idle.get() + 1);
            connection.idle.set(true);
            upstream.idle.push((connection, self.clock.now()));
        }
    }
}

// === impl Upstream ===

impl<W> Upstream<W> {
    /// Closes connections that have been idle for too long. False if the entry can be removed.
    fn sweep(&mut self, phase: Phase, generation: Generation, clock: &Clock) -> bool {
        if phase != Phase::Ready {
            return false;
        }
        self.idle.retain(|(connection, since)| {
            connection.is_usable() && !clock.passed(*since, MAX_IDLE)
        });
        self.is_used() || (self.generation == generation && self.slow_start.has_grown())
    }

    fn is_used(&self) -> bool {
        !self.idle.is_empty() || Rc::strong_count(&self.slow_start) > 1
    }
}

// === impl PooledConnection ===

impl PooledConnection {
    pub(crate) fn requests(&mut self) -> &mut SendRequest<RequestBody> {
        let connection = self.connection.as_mut();
        &mut connection.expect("only methods that consume the value take it").requests
    }

    /// The connection is closed after this exchange.
    pub(crate) fn make_last(&mut self) {
        self.last = true;
    }

    /// Returns the connection to the pool after an exchange that is complete on both sides.
    pub(crate) fn give_back(mut self) {
        if self.last {
            return;
        }
        if let (Some(pool), Some(connection)) = (self.pool.upgrade(), self.connection.take()) {
            pool.put(connection, &self);
        }
    }

    /// Closes the connection after [`DRAIN_TIME`], for a response that ended before its request:
    /// the connection cannot be reused, and the upstream may still read the rest.
    pub(crate) fn close_soon(mut self) {
        if let (Some(_), Some(connection)) = (self.pool.upgrade(), self.connection.take()) {
            let driver = connection.driver.clone();
            // The task ends after this time, or with the thread's runtime.
            tokio::task::spawn_local(async move {
                tokio::time::sleep(DRAIN_TIME).await;
                driver.abort();
            });
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.driver.abort();
        }
    }
}

// === impl Key ===

impl Key {
    fn new(workload: &Arc<Workload>, port: u16) -> Self {
        Self { workload: Arc::as_ptr(workload) as usize, port }
    }
}

#[cfg(test)]
mod tests;
