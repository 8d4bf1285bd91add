//! Looks at everything that a provider has: at the start, and after each gap in what it reports.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{Engine, Shared, Workload, read};
use crate::{
    names::ProviderName,
    step::{Input, Priority},
};

/// So many looks at a time: the provider has other things to do meanwhile.
const AT_A_TIME: usize = 16;
/// One that takes longer is not waited for; the next ones come.
const LONG: Duration = Duration::from_secs(30);

/// The resyncs of one provider. One that is wanted while another goes on follows it.
pub(super) struct Resync {
    notify: Notify,
    done: watch::Sender<u64>,
}

// === impl Resync ===

impl Resync {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { notify: Notify::new(), done: watch::Sender::new(0) })
    }

    pub(super) fn ring(&self) {
        self.notify.notify_one();
    }

    /// Works for as long as the engine lives.
    pub(super) async fn serve(self: Arc<Self>, provider: ProviderName, shared: Weak<Shared>) {
        loop {
            self.notify.notified().await;
            let Some(all) = shared.upgrade().map(|shared| shared.all_of(&provider)) else { return };
            let looks = all.into_iter().filter_map(|workload| Weak::upgrade(&workload));
            let look = |workload: Arc<Workload>| async move {
                workload.apply(Input::QueryStatus(Priority::Routine));
                workload.await_status(LONG).await;
            };
            stream::iter(looks).for_each_concurrent(AT_A_TIME, look).await;
            self.done.send_modify(|done| *done += 1);
        }
    }
}

// === impl Engine ===

impl Engine {
    /// Asks the providers for the state of every workload; what runs is adopted. Returns at once.
    pub fn reconcile(&self) {
        read(&self.shared.resyncs).values().for_each(|resync| resync.ring());
    }

    /// Waits until each provider that is there was asked for all of its workloads once, at most so
    /// long: what runs is known then, and what needs what by the labels of its platform.
    pub async fn resynced(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let resyncs: Vec<_> = read(&self.shared.resyncs).values().cloned().collect();
        for resync in resyncs {
            // Over either way.
            let _ = timeout_at(deadline, resync.done.subscribe().wait_for(|done| *done > 0)).await;
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Everything of this provider is to be looked at.
    pub(super) fn resync(&self, provider: &ProviderName) {
        if let Some(resync) = read(&self.resyncs).get(provider) {
            resync.ring();
        }
    }

    pub(super) fn all_of(&self, provider: &ProviderName) -> Vec<Weak<Workload>> {
        let targets = read(&self.targets);
        targets.get(provider).into_iter().flat_map(|all| all.values().flatten().cloned()).collect()
    }
}
