//! A thread's connections to upstreams that wait for the next request.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use drowse_core::{Generation, Instance, Phase, Workload};
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use crate::{
    body::Upload,
    clock::{Clock, Tick},
    ramp::Ramp,
    suspicion::Suspicion,
};

/// Idle connections to one upstream that a thread keeps.
const IDLE_CONNECTIONS: usize = 128;
/// A connection idle for longer is closed.
const IDLE: Duration = Duration::from_secs(30);
/// A request that cannot be sent twice takes no connection that has been idle for longer: the
/// upstream may be closing it at this moment.
const FRESH: Duration = Duration::from_secs(1);
/// An upstream that answered early has so long to take the rest of the request.
const REST: Duration = Duration::from_secs(5);

/// The connections of one thread.
pub(crate) struct Pool {
    clock: Clock,
    threads: usize,
    upstreams: RefCell<HashMap<Key, Upstream>>,
    /// Idle connections to all upstreams that are kept at most.
    most_idle: usize,
    /// How many there are, or were at the last sweep.
    idle: Cell<usize>,
}

/// A connection in use. Dropping it closes the connection at once, whatever is still to be
/// written: an upstream that takes nothing must not hold the request's body, and with it a visit.
pub(crate) struct Lease {
    /// Taken when the connection goes another way.
    link: Option<Link>,
    /// The connection serves no other request.
    last: bool,
    key: Key,
    generation: Generation,
    workload: Arc<Workload>,
    pool: Weak<Pool>,
}

/// An established connection: the side that takes requests, and the task that drives it.
pub(crate) struct Link {
    pub(crate) requests: SendRequest<Upload>,
    pub(crate) driver: AbortHandle,
    pub(crate) instance: Arc<Instance>,
    /// It waits in the pool: if it ends now, the upstream has closed it.
    pub(crate) idle: Rc<Cell<bool>>,
}

/// A workload, by the address of its entry, and its own port. Connections are kept by workload,
/// not by address, so that a new life never meets a connection of an old one, nor another
/// workload's on a reused address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    workload: usize,
    port: u16,
}

struct Upstream<W = Arc<Workload>> {
    /// Keeps the key's address from being used again.
    workload: W,
    generation: Generation,
    idle: Vec<(Link, Tick)>,
    ramp: Rc<Ramp>,
    suspicion: Option<Rc<Suspicion>>,
}

// === impl Pool ===

impl Pool {
    /// The pool of one of so many threads, which keeps at most so many idle connections.
    pub(crate) fn new(clock: &Clock, threads: usize, most_idle: usize) -> Rc<Self> {
        let (clock, upstreams, idle) = (clock.clone(), RefCell::default(), Cell::new(0));
        Rc::new(Self { clock, threads, upstreams, most_idle, idle })
    }

    /// How many new connections to this life may be made at a time, and what was met there.
    pub(crate) fn ramp(
        &self,
        workload: &Arc<Workload>,
        port: u16,
        generation: Generation,
    ) -> (Rc<Ramp>, Rc<Suspicion>) {
        let mut upstreams = self.upstreams.borrow_mut();
        let upstream = self.upstream(&mut upstreams, workload, port, generation);
        let new = || Rc::new(Suspicion::new(workload));
        (upstream.ramp.clone(), upstream.suspicion.get_or_insert_with(new).clone())
    }

    /// What is kept of this life or a later one.
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
            ramp: Ramp::new(self.threads),
            suspicion: None,
        };
        let upstream = upstreams.entry(Key::new(workload, port)).or_insert_with(new);
        if upstream.generation < generation {
            *upstream = new();
        }
        upstream
    }

    /// The connection to this life of the workload that was used last, if one is idle.
    pub(crate) fn take(
        self: &Rc<Self>,
        workload: &Arc<Workload>,
        port: u16,
        generation: Generation,
        repeatable: bool,
    ) -> Option<Lease> {
        let key = Key::new(workload, port);
        let mut upstreams = self.upstreams.borrow_mut();
        let upstream = upstreams.get_mut(&key)?;
        if upstream.generation != generation {
            return None;
        }
        let mut at = upstream.idle.len();
        while at > 0 {
            at -= 1;
            let (link, since) = &upstream.idle[at];
            if !link.is_usable() {
                upstream.idle.swap_remove(at);
            } else if !repeatable && self.clock.passed(*since, FRESH) {
                return None;
            } else if link.requests.is_ready() {
                let (link, _) = upstream.idle.remove(at);
                self.idle.set(self.idle.get().saturating_sub(1));
                link.idle.set(false);
                return Some(self.lease(link, workload, port, generation));
            }
        }
        None
    }

    /// A new connection's lease.
    pub(crate) fn lease(
        self: &Rc<Self>,
        link: Link,
        workload: &Arc<Workload>,
        port: u16,
        generation: Generation,
    ) -> Lease {
        Lease {
            link: Some(link),
            last: false,
            key: Key::new(workload, port),
            generation,
            workload: workload.clone(),
            pool: Rc::downgrade(self),
        }
    }

    /// Closes what has been idle for too long and what leads to a workload that is going to
    /// sleep: some backends wait for their clients to close before they end.
    pub(crate) fn sweep(&self) {
        self.upstreams.borrow_mut().retain(|_, upstream| {
            let now = upstream.workload.snapshot();
            upstream.sweep(now.phase, now.generation, &self.clock)
        });
        let idle = self.upstreams.borrow().values().map(|upstream| upstream.idle.len()).sum();
        self.idle.set(idle);
    }

    /// There is nothing to sweep. What is known of lives that are quiet may stay as it is.
    pub(crate) fn is_empty(&self) -> bool {
        !self.upstreams.borrow().values().any(Upstream::is_used)
    }

    fn put(&self, link: Link, lease: &Lease) {
        if !link.is_usable() {
            return;
        }
        let mut upstreams = self.upstreams.borrow_mut();
        let upstream =
            self.upstream(&mut upstreams, &lease.workload, lease.key.port, lease.generation);
        let room = upstream.idle.len() < IDLE_CONNECTIONS && self.idle.get() < self.most_idle;
        if upstream.generation == lease.generation && room {
            self.idle.set(self.idle.get() + 1);
            link.idle.set(true);
            upstream.idle.push((link, self.clock.now()));
        }
    }
}

// === impl Upstream ===

impl<W> Upstream<W> {
    /// Closes what has been idle for too long. False when nothing is left that is worth keeping.
    fn sweep(&mut self, phase: Phase, generation: Generation, clock: &Clock) -> bool {
        if phase != Phase::Ready {
            return false;
        }
        self.idle.retain(|(link, since)| link.is_usable() && !clock.passed(*since, IDLE));
        self.is_used() || (self.generation == generation && self.ramp.has_grown())
    }

    fn is_used(&self) -> bool {
        !self.idle.is_empty() || Rc::strong_count(&self.ramp) > 1
    }
}

// === impl Lease ===

impl Lease {
    pub(crate) fn requests(&mut self) -> &mut SendRequest<Upload> {
        &mut self.link.as_mut().expect("it is taken only by those who consume the lease").requests
    }

    /// From now on this exchange is the connection's last.
    pub(crate) fn make_last(&mut self) {
        self.last = true;
    }

    /// The exchange is over on both sides: the connection may serve another.
    pub(crate) fn give_back(mut self) {
        if self.last {
            return;
        }
        if let (Some(pool), Some(link)) = (self.pool.upgrade(), self.link.take()) {
            pool.put(link, &self);
        }
    }

    /// The answer is over and the request is not: the connection serves no other, and after a
    /// while it is closed whether or not the rest was taken.
    pub(crate) fn close_soon(mut self) {
        if let (Some(_), Some(link)) = (self.pool.upgrade(), self.link.take()) {
            let driver = link.driver.clone();
            // Ends by itself after a short time, and with the thread's runtime at the latest.
            tokio::task::spawn_local(async move {
                tokio::time::sleep(REST).await;
                driver.abort();
            });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.driver.abort();
        }
    }
}

// === impl Link ===

impl Link {
    /// Another request may be sent on it.
    fn is_usable(&self) -> bool {
        !self.requests.is_closed() && self.instance.is_open()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // We end it.
        self.idle.set(false);
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
