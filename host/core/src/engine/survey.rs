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
    step::{Input, Priority},
    words::ProviderName,
};

/// So many looks at a time: the provider has other things to do meanwhile.
const AT_A_TIME: usize = 16;
/// One that takes longer is not waited for; the next ones come.
const LONG: Duration = Duration::from_secs(30);

/// The surveys of one provider. One that is wanted while another goes on follows it.
pub(super) struct Survey {
    bell: Notify,
    done: watch::Sender<u64>,
}

// === impl Survey ===

impl Survey {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { bell: Notify::new(), done: watch::Sender::new(0) })
    }

    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Works for as long as the engine lives.
    pub(super) async fn serve(self: Arc<Self>, provider: ProviderName, shared: Weak<Shared>) {
        loop {
            self.bell.notified().await;
            let Some(all) = shared.upgrade().map(|shared| shared.all_of(&provider)) else { return };
            let looks = all.into_iter().filter_map(|workload| Weak::upgrade(&workload));
            let look = |workload: Arc<Workload>| async move {
                workload.apply(Input::QueryStatus(Priority::Routine));
                workload.looked(LONG).await;
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
        read(&self.shared.surveys).values().for_each(|survey| survey.ring());
    }

    /// Waits until each provider that is there was asked for all of its workloads once, at most so
    /// long: what runs is known then, and what needs what by the labels of its platform.
    pub async fn surveyed(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let surveys: Vec<_> = read(&self.shared.surveys).values().cloned().collect();
        for survey in surveys {
            // Over either way.
            let _ = timeout_at(deadline, survey.done.subscribe().wait_for(|done| *done > 0)).await;
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Everything of this provider is to be looked at.
    pub(super) fn survey(&self, provider: &ProviderName) {
        if let Some(survey) = read(&self.surveys).get(provider) {
            survey.ring();
        }
    }

    pub(super) fn all_of(&self, provider: &ProviderName) -> Vec<Weak<Workload>> {
        let targets = read(&self.targets);
        targets.get(provider).into_iter().flat_map(|all| all.values().flatten().cloned()).collect()
    }
}
