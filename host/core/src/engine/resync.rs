//! Status queries for all workloads of a provider: at the start, and after a gap in its events.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{Engine, Shared, Workload, read, status_queries::STATUS};
use crate::{
    names::ProviderName,
    step::{Input, Priority},
};

/// Maximum queries in flight per provider, so that other calls are not delayed.
const CONCURRENCY: usize = 16;

/// Resynchronizes the workloads of one provider. A request during a resync leads to another one.
pub(super) struct Resync {
    requested: Notify,
    /// Number of complete resyncs.
    done: watch::Sender<u64>,
}

// === impl Resync ===

impl Resync {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { requested: Notify::new(), done: watch::Sender::new(0) })
    }

    fn request(&self) {
        self.requested.notify_one();
    }

    /// Runs until the engine ends.
    pub(super) async fn serve(self: Arc<Self>, provider: ProviderName, shared: Weak<Shared>) {
        loop {
            self.requested.notified().await;
            let Some(all) = shared.upgrade().map(|shared| shared.all_of(&provider)) else { return };
            let workloads = all.into_iter().filter_map(|workload| Weak::upgrade(&workload));
            let query = |workload: Arc<Workload>| async move {
                workload.apply(Input::QueryStatus(Priority::Routine));
                // A slower query goes on by itself.
                workload.await_status(STATUS).await;
            };
            stream::iter(workloads).for_each_concurrent(CONCURRENCY, query).await;
            self.done.send_modify(|done| *done += 1);
        }
    }
}

// === impl Engine ===

impl Engine {
    /// Queries the status of every workload; running targets are adopted. Returns at once.
    pub fn reconcile(&self) {
        read(&self.shared.resyncs).values().for_each(|resync| resync.request());
    }

    /// Waits until every provider has been resynchronized once, at most for `limit`. After that
    /// running targets and discovered dependencies are known.
    pub async fn resynced(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let resyncs: Vec<_> = read(&self.shared.resyncs).values().cloned().collect();
        for resync in resyncs {
            // The router starts without what is not known by then.
            let _ = timeout_at(deadline, resync.done.subscribe().wait_for(|done| *done > 0)).await;
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Queries the status of every workload of this provider. Returns at once.
    pub(super) fn resync(&self, provider: &ProviderName) {
        if let Some(resync) = read(&self.resyncs).get(provider) {
            resync.request();
        }
    }

    pub(super) fn all_of(&self, provider: &ProviderName) -> Vec<Weak<Workload>> {
        let targets = read(&self.targets);
        targets.get(provider).into_iter().flat_map(|all| all.values().flatten().cloned()).collect()
    }
}
