//! The progress of one workload, observed once per thread for all subscribers.
//!
//! Every event carries the whole state. A subscriber may miss any event but the last, and a new
//! subscriber starts with the current state.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use drowse_core::{Phase, Workload, WorkloadName};
use futures_util::future::select_all;
use tokio::{sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    room::WaitingRoom,
    subscriber::{Event, Subscriber},
};
use crate::progress::Progress;

/// Minimum time between two events, except before the event that ends the wait.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum workloads observed for one stream: the workload and its needs.
const MAX_OBSERVED: usize = 64;

/// The open streams of one thread.
pub(crate) struct ProgressStreams {
    room: Arc<WaitingRoom>,
    open: RefCell<HashMap<WorkloadName, Weak<ProgressStream>>>,
    stop: CancellationToken,
}

/// The progress of one workload, observed until this is dropped.
pub(super) struct ProgressStream {
    workload: Arc<Workload>,
    room: Arc<WaitingRoom>,
    events: watch::Receiver<Event>,
    _task: AbortOnDropHandle<()>,
}

// === impl ProgressStreams ===

impl ProgressStreams {
    /// A thread's streams, none of them open. All end when `stop` is cancelled.
    pub(crate) fn new(room: &Arc<WaitingRoom>, stop: &CancellationToken) -> Rc<Self> {
        let (room, stop) = (room.clone(), stop.clone());
        Rc::new(Self { room, open: RefCell::default(), stop })
    }

    pub(crate) fn room(&self) -> &Arc<WaitingRoom> {
        &self.room
    }

    /// The stream of this workload, opened if it is not open.
    pub(super) async fn open(&self, workload: &Arc<Workload>) -> Arc<ProgressStream> {
        let existing = || {
            let stream = self.open.borrow().get(workload.name()).and_then(Weak::upgrade)?;
            Arc::ptr_eq(&stream.workload, workload).then_some(stream)
        };
        if let Some(stream) = existing() {
            return stream;
        }
        let first = Progress::of(workload, self.room.log_tail(workload).await);
        // Another request may have opened the stream meanwhile.
        if let Some(stream) = existing() {
            return stream;
        }
        let (sender, events) = watch::channel(Event::new(&first, 0));
        let observing =
            observe(workload.clone(), self.room.clone(), first, sender, self.stop.clone());
        let task = AbortOnDropHandle::new(tokio::task::spawn_local(observing));
        let (workload, room) = (workload.clone(), self.room.clone());
        let name = workload.name().clone();
        let stream = Arc::new(ProgressStream { workload, room, events, _task: task });
        let mut open = self.open.borrow_mut();
        open.retain(|_, stream| stream.strong_count() > 0);
        open.insert(name, Arc::downgrade(&stream));
        stream
    }
}

// === impl ProgressStream ===

impl ProgressStream {
    /// A subscriber that gets the current state first, then every change.
    pub(super) fn subscribe(&self) -> Subscriber {
        let mut events = self.events.clone();
        // Marked as seen before the state is read, so that no change is missed in between.
        let number = events.borrow_and_update().number;
        let log_tail = self.room.cached_log_tail(&self.workload);
        let now = Progress::of(&self.workload, log_tail);
        Subscriber::new(Event::new(&now, number), events)
    }
}

/// Sends an event for every change until the thread stops or the stream is dropped.
async fn observe(
    workload: Arc<Workload>,
    room: Arc<WaitingRoom>,
    mut sent: Progress,
    sender: watch::Sender<Event>,
    stop: CancellationToken,
) {
    let mut number = 0;
    loop {
        // Watched before the state is read, so that no change is missed in between.
        let changed = changed(&workload);
        let now = Progress::of(&workload, room.cached_log_tail(&workload));
        if now.differs_from(&sent) {
            number += 1;
            sender.send_modify(|held| *held = Event::new(&now, number));
            sent = now;
        }
        tokio::select! {
            () = changed => {}
            () = room.refresh_log_tail(&workload), if room.shows_log_tail(&workload) => {}
            () = stop.cancelled() => return,
        }
        let mut snapshots = workload.watch();
        tokio::select! {
            _ = snapshots.wait_for(|snapshot| snapshot.phase == Phase::Ready) => {}
            () = sleep(MIN_INTERVAL) => {}
        }
    }
}

/// Resolves at the first change of the workload, or of a workload that it needs, after this call.
fn changed(workload: &Arc<Workload>) -> impl Future<Output = ()> + use<> {
    let mut all: Vec<Arc<Workload>> = vec![workload.clone()];
    let mut next = 0;
    while let Some(workload) = all.get(next).cloned() {
        next += 1;
        for (need, _) in workload.needs() {
            if all.len() < MAX_OBSERVED && !all.iter().any(|held| Arc::ptr_eq(held, &need)) {
                all.push(need);
            }
        }
    }
    let changes: Vec<_> = all
        .into_iter()
        .map(|workload| {
            let mut watch = workload.watch();
            watch.mark_unchanged();
            Box::pin(async move {
                // Held, because dropping the last handle would resolve the watch.
                let _workload = workload;
                let _ = watch.changed().await;
            })
        })
        .collect();
    async move {
        select_all(changes).await;
    }
}
