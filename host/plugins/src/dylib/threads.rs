//! Threads for calls that may block and cannot be cancelled.
//!
//! A provider has a limited number of threads; an idle thread exits after a while. A call that
//! hangs keeps its thread, even if its caller has given up.

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

/// Time until an idle thread exits.
const IDLE: Duration = Duration::from_secs(10);

/// The threads of one provider.
pub(crate) struct Threads {
    most: usize,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Waiting>>>,
}

/// A permit to use a thread.
pub(crate) struct ThreadPermit {
    _permit: OwnedSemaphorePermit,
}

/// Runs the work, and returns what to run once the thread is free again.
type Job = Box<dyn FnOnce() -> Done + Send>;
type Done = Box<dyn FnOnce() + Send>;

/// An idle thread.
struct Waiting {
    thread: ThreadId,
    jobs: SyncSender<Job>,
}

// === impl Threads ===

impl Threads {
    /// Threads for `calls` concurrent calls and one `watch`.
    pub(crate) fn new(calls: usize) -> Self {
        let most = calls.saturating_add(1).clamp(2, Semaphore::MAX_PERMITS);
        Self { most, permits: Arc::new(Semaphore::new(most)), idle: Arc::default() }
    }

    /// Waits up to `wait` for a permit. The fault says that all threads are blocked, since
    /// there are never more callers than threads.
    pub(crate) async fn acquire(&self, wait: Duration) -> Result<ThreadPermit, Fault> {
        match timeout(wait, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(ThreadPermit { _permit: permit }),
            _ => Err(Fault::Threads(self.most)),
        }
    }

    /// Runs `work` on a thread, and its result once that thread is free for the next job.
    pub(crate) fn run<D: FnOnce() + Send + 'static>(
        &self,
        permit: ThreadPermit,
        work: impl FnOnce() -> D + Send + 'static,
    ) -> Result<(), Fault> {
        let job: Job = Box::new(move || {
            let done = work();
            Box::new(move || {
                drop(permit);
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

/// Runs jobs until idle for [`IDLE`].
fn serve(idle: Arc<Mutex<Vec<Waiting>>>, first: Job) {
    let thread = thread::current().id();
    let (sender, jobs) = sync_channel(1);
    let mut job = first;
    loop {
        let done = job();
        // Listed as idle first: the caller may need this thread at once.
        lock(&idle).push(Waiting { thread, jobs: sender.clone() });
        done();
        job = match jobs.recv_timeout(IDLE) {
            Ok(next) => next,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let mut waiting = lock(&idle);
                let Some(own) = waiting.iter().position(|waiting| waiting.thread == thread) else {
                    drop(waiting);
                    // A caller has just taken this thread from the list.
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
        let permit = threads.acquire(IDLE).await.unwrap();
        let (done, answer) = oneshot::channel();
        let work = || {
            let id = thread::current().id();
            move || done.send(id).unwrap()
        };
        threads.run(permit, work).unwrap();
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn sequential_calls_share_a_thread() {
        let threads = Threads::new(4);
        let mut used = BTreeSet::new();
        for _ in 0..1000 {
            used.insert(format!("{:?}", on(&threads).await));
        }
        assert_eq!(used.len(), 1);
    }

    #[tokio::test]
    async fn a_blocked_thread_keeps_its_permit_until_it_returns() {
        let threads = Threads::new(1);
        let (release, held) = mpsc::channel::<()>();
        let begun = Arc::new(Barrier::new(2));
        let both = begun.clone();
        let work = move || {
            both.wait();
            let _ = held.recv();
            || {}
        };
        threads.run(threads.acquire(IDLE).await.unwrap(), work).unwrap();
        begun.wait();
        let _other = threads.acquire(IDLE).await.unwrap();
        let none = threads.acquire(Duration::from_millis(1)).await;
        assert_eq!(none.err(), Some(Fault::Threads(2)));
        drop(release);
        assert!(threads.acquire(IDLE).await.is_ok());
    }
}
