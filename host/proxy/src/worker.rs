//! The client connections of one data path thread.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use tokio::{sync::Notify, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{client::TooSlow, clock::Clock, failure_log::FailureLog};

/// At shutdown, the maximum time for a client that has connected or begun a request to finish the
/// request's head.
pub(crate) const LAST_REQUEST: Duration = Duration::from_millis(500);

/// A client connection with deadlines, which the thread checks at every tick.
pub(crate) trait Deadlines {
    /// The error means that the client has exceeded a deadline: its connection is closed.
    fn check(&self) -> Result<(), TooSlow>;

    /// The listener that accepted the connection.
    fn listener(&self) -> &str;
}

/// State that the tasks of one thread share, whatever protocol they speak.
pub(crate) struct Worker {
    /// The tasks of connections and tunnels. Shutdown waits for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) clock: Clock,
    /// Cancelled at shutdown: no further connection is accepted, no further request is read.
    pub(crate) stop: CancellationToken,
    pub(crate) failures: Rc<FailureLog>,
    connections: RefCell<HashMap<u64, OpenConnection>>,
    next_id: Cell<u64>,
    /// Notified for each connection that is added.
    connected: Notify,
}

/// A client's connection and the task that serves it.
struct OpenConnection {
    deadlines: Rc<dyn Deadlines>,
    task: AbortHandle,
}

/// Removes a connection from the worker when its task ends, however it ends.
struct ConnectionGuard {
    worker: Rc<Worker>,
    id: u64,
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(stop: CancellationToken) -> Rc<Self> {
        Rc::new(Self {
            tasks: TaskTracker::new(),
            clock: Clock::new(),
            stop,
            failures: Rc::default(),
            connections: RefCell::default(),
            next_id: Cell::new(0),
            connected: Notify::new(),
        })
    }

    /// Serves a connection by a task of its own. The task is aborted when the client exceeds one
    /// of the deadlines.
    pub(crate) fn spawn_connection(
        self: &Rc<Self>,
        deadlines: Rc<dyn Deadlines>,
        serving: impl Future<Output = ()> + 'static,
    ) {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let guard = ConnectionGuard { worker: self.clone(), id };
        let task = self.tasks.spawn_local(async move {
            let _guard = guard;
            serving.await;
        });
        let connection = OpenConnection { deadlines, task: task.abort_handle() };
        self.connections.borrow_mut().insert(id, connection);
        self.connected.notify_one();
    }

    pub(crate) fn has_connections(&self) -> bool {
        !self.connections.borrow().is_empty()
    }

    /// Resolves when a connection has been added.
    pub(crate) async fn connected(&self) {
        self.connected.notified().await;
    }

    /// Closes the connections of clients that have exceeded a deadline.
    pub(crate) fn check_deadlines(&self) {
        for OpenConnection { deadlines, task } in self.connections.borrow().values() {
            if let Err(TooSlow(reason)) = deadlines.check() {
                let listener = deadlines.listener();
                tracing::debug!(listener, reason, "client too slow, connection closed");
                task.abort();
            }
        }
    }
}

// === impl ConnectionGuard ===

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        // Dropping the entry may drop the connection, which must not happen inside the borrow.
        let connection = self.worker.connections.borrow_mut().remove(&self.id);
        drop(connection);
    }
}
