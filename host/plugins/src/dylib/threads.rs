//! Threads for calls that may block and cannot be ended.
//!
//! A provider has so many; a thread that has nothing to do for a while ends. A call that hangs keeps
//! its thread, whoever still waits for it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::fault::Fault;

/// A thread waits so long for more to do.
const IDLE: Duration = Duration::from_secs(10);

/// The threads of one provider.
pub(crate) struct Threads {
    most: usize,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Waiting>>>,
}

/// The right to use a thread.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Does what there is to do, and returns what to do when the thread is free again.
type Job = Box<dyn FnOnce() -> Done + Send>;
type Done = Box<dyn FnOnce() + Send>;

/// A thread that has nothing to do.
struct Waiting {
    thread: ThreadId,
    jobs: SyncSender<Job>,
}

// === impl Threads ===

impl Threads {
    /// For so many calls at a time, and a `watch`.
    pub(crate) fn new(calls: usize) -> Self {
        let most = calls.saturating_add(1).clamp(2, Semaphore::MAX_PERMITS);
        Self { most, places: Arc::new(Semaphore::new(most)), idle: Arc::default() }
    }

    /// Waits so long for a thread. The fault says that all of them hang: callers are fewer.
    pub(crate) async fn place(&self, patience: Duration) -> Result<Place, Fault> {
        match timeout(patience, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            _ => Err(Fault::Threads(self.most)),
        }
    }

    /// Does this on a thread, and what it returns when that thread is free for the next.
    pub(crate) fn run<D: FnOnce() + Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> D + Send + 'static,
    ) -> Result<(), Fault> {
        let job: Job = Box::new(move || {
            let done = work();
            Box::new(move || {
                drop(place);
                done();
            })
        });
        let waiting = lock(&self.idle).pop();
        let job = match waiting {
            Some(waiting) => match waiting.jobs.try_send(job) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
            },
            None => job,
        };
        let idle = self.idle.clone();
        let begun = thread::Builder::new().name("drowse-dylib".into()).spawn(|| serve(idle, job));
        begun.map(drop).map_err(|error| Fault::Thread(error.to_string()))
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Does one job after the other.
fn serve(idle: Arc<Mutex<Vec<Waiting>>>, first: Job) {
    let thread = thread::current().id();
    let (sender, jobs) = sync_channel(1);
    let mut job = first;
    loop {
        let done = job();
        // Free first: whoever hears of the end may want this thread at once.
        lock(&idle).push(Waiting { thread, jobs: sender.clone() });
        done();
        job = match jobs.recv_timeout(IDLE) {
            Ok(next) => next,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let mut waiting = lock(&idle);
                let Some(own) = waiting.iter().position(|waiting| waiting.thread == thread) else {
                    drop(waiting);
                    // Somebody has chosen this thread in this very moment.
                    match jobs.recv() {
                        Ok(next) => {
                            job = next;
                            continue;
                        }
                        Err(_) => return,
                    }
                };
                waiting.swap_remove(own);
                return;
            }
        };
    }
}

fn lock(idle: &Mutex<Vec<Waiting>>) -> MutexGuard<'_, Vec<Waiting>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{Barrier, mpsc},
    };

    use tokio::sync::oneshot;

    use super::*;

    async fn on(threads: &Threads) -> ThreadId {
        let place = threads.place(IDLE).await.unwrap();
        let (done, answer) = oneshot::channel();
        let work = || {
            let id = thread::current().id();
            move || done.send(id).unwrap()
        };
        threads.run(place, work).unwrap();
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn calls_one_after_the_other_share_a_thread() {
        let threads = Threads::new(4);
        let mut used = BTreeSet::new();
        for _ in 0..1000 {
            used.insert(format!("{:?}", on(&threads).await));
        }
        assert_eq!(used.len(), 1);
    }

    #[tokio::test]
    async fn a_thread_that_hangs_stays_counted_and_is_free_when_it_returns() {
        let threads = Threads::new(1);
        let (release, held) = mpsc::channel::<()>();
        let begun = Arc::new(Barrier::new(2));
        let both = begun.clone();
        let work = move || {
            both.wait();
            let _ = held.recv();
            || {}
        };
        threads.run(threads.place(IDLE).await.unwrap(), work).unwrap();
        begun.wait();
        let _other = threads.place(IDLE).await.unwrap();
        let none = threads.place(Duration::from_millis(1)).await;
        assert_eq!(none.err(), Some(Fault::Threads(2)));
        drop(release);
        assert!(threads.place(IDLE).await.is_ok());
    }
}
