//! File system access on blocking threads, limited per provider: on a hung file system a thread stays
//! blocked until the kernel releases it, even if its caller has given up.

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// Maximum concurrent tasks of one provider, including those that hang.
const TASKS: usize = 8;

/// Runs blocking tasks of one provider.
pub(super) struct BlockingTasks(Arc<Semaphore>);

// === impl BlockingTasks ===

impl Default for BlockingTasks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TASKS)))
    }
}

impl BlockingTasks {
    /// Runs a task on a blocking thread. Fails with `TimedOut` if none of the other tasks ends within
    /// `wait`. Dropping the future does not end a running task.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        wait: Duration,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        let Ok(Ok(permit)) = timeout(wait, self.0.clone().acquire_owned()).await else {
            let why = format!(
                "{TASKS} earlier accesses to CNI plugins hang; is the filesystem of the plugins \
                 reachable?"
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        };
        let running = spawn_blocking(move || {
            let result = task();
            drop(permit);
            result
        });
        running.await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn hanging_tasks_block_a_limited_number_of_threads() {
        let tasks = BlockingTasks::default();
        let barrier = Arc::new(Barrier::new(TASKS + 1));
        let short = Duration::from_millis(10);
        for _ in 0..TASKS {
            let barrier = barrier.clone();
            let hanging = tasks.run(short, move || barrier.wait().is_leader());
            assert!(timeout(short, hanging).await.is_err(), "the task hangs");
        }
        let refused = tasks.run(short, || ()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut, "{refused}");
        barrier.wait();
        tasks.run(Duration::from_secs(30), || ()).await.expect("the threads are free again");
    }
}
