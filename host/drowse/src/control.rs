//! The router as the admin API controls it.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use drowse_admin::{
    Action, Control, ListenerStatus, OperationRequest, ProviderStatus, RouterStatus,
};
use drowse_core::{
    Cause, Correlation, Engine, Entry, ErrorCode, Failure, Force, OperationKind, Phase,
    PhaseChange, Renewal, Snapshot, Workload, WorkloadStatus,
};
use tokio::sync::broadcast;

#[cfg(test)]
mod tests;

/// The running router.
pub(crate) struct AdminControl {
    pub(crate) engine: Arc<Engine>,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) configuration: Vec<PathBuf>,
    pub(crate) started: Instant,
}

/// Maximum number of a workload's latest operations that are searched for the awaited one.
const LATEST: usize = 32;

/// The state of a wait for a workload.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Failed(Failure),
    Going,
}

// === impl AdminControl ===

#[async_trait]
impl Control for AdminControl {
    fn status(&self) -> RouterStatus {
        let providers = self.engine.providers();
        RouterStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            configuration: self.configuration.clone(),
            listeners: self.listeners.clone(),
            providers: providers
                .iter()
                .map(|provider| ProviderStatus {
                    name: provider.name().clone(),
                    state: provider.state(),
                })
                .collect(),
            workloads: self.engine.status(),
            pools: self.engine.pools(),
        }
    }

    fn workload(&self, name: &str) -> Result<WorkloadStatus, Failure> {
        Ok(self.find(name)?.status())
    }

    async fn operate(
        &self,
        name: &str,
        order: OperationRequest,
    ) -> Result<WorkloadStatus, Failure> {
        let workload = self.find(name)?;
        let before = workload.snapshot();
        match order.action {
            Action::Wake => {
                self.engine.wake(name, Cause::new(order.trigger))?;
                settle(&workload, order.wait, |now| woken(name, &before, now)).await
            }
            Action::Sleep { force } => {
                self.engine.sleep(name, Cause::new(order.trigger), forced(force))?;
                settle(&workload, order.wait, |now| asleep(name, &before, now)).await
            }
            Action::Restart { force } => {
                self.renew(&workload, &before, order, forced(force), Renewal::Restart).await
            }
            Action::Recreate { force, refresh } => {
                let renewal = Renewal::Recreate { refresh };
                self.renew(&workload, &before, order, forced(force), renewal).await
            }
        }
    }

    fn operations(&self, workload: Option<&str>, limit: usize) -> Result<Vec<Entry>, Failure> {
        if let Some(name) = workload {
            self.find(name)?;
        }
        Ok(self.engine.journal().recent(workload, limit))
    }

    fn changes(&self) -> broadcast::Receiver<PhaseChange> {
        self.engine.changes()
    }
}

impl AdminControl {
    fn find(&self, name: &str) -> Result<Arc<Workload>, Failure> {
        self.engine.workload(name).ok_or_else(|| {
            Failure::new(
                ErrorCode::NotFound,
                format!("there is no workload {name:?}: `drowse status` lists them"),
            )
        })
    }

    async fn renew(
        &self,
        workload: &Workload,
        before: &Snapshot,
        order: OperationRequest,
        force: Force,
        renewal: Renewal,
    ) -> Result<WorkloadStatus, Failure> {
        let name = workload.name().as_str();
        let story = Correlation::random();
        let cause = Cause::new(order.trigger).with_correlation(story);
        self.engine.renew(name, cause, force, renewal)?;
        let progress =
            |now: &Snapshot| match self.recorded_failure(name, story, OperationKind::Fetch) {
                Some(failure) => Progress::Failed(failure),
                None if workload.is_fetching() => Progress::Going,
                None => renewed(name, renewal, before, now),
            };
        let settled = settle(workload, order.wait, progress).await;
        // It may be awake again even though the renewal failed.
        match self.recorded_failure(name, story, OperationKind::Restart) {
            Some(failure) if order.wait.is_some() => Err(failure),
            _ => settled,
        }
    }

    /// The failure of one call of this operation, as recorded in the journal.
    fn recorded_failure(
        &self,
        name: &str,
        story: Correlation,
        kind: OperationKind,
    ) -> Option<Failure> {
        let entries = self.engine.journal().recent(Some(name), LATEST);
        let mut of_this =
            entries.into_iter().filter(|it| it.kind == kind && it.correlation == story);
        of_this.next()?.failure
    }
}

/// Waits until a workload has reached the ordered state, if the order asks for that, and returns its
/// status.
async fn settle(
    workload: &Workload,
    wait: Option<Duration>,
    progress: impl Fn(&Snapshot) -> Progress + Send,
) -> Result<WorkloadStatus, Failure> {
    let name = workload.name().as_str();
    if let Some(wait) = wait {
        let mut watch = workload.watch();
        let arrived = async {
            loop {
                // Cloned, because the progress check may need a lock that the sender of the next change
                // holds.
                let seen = watch.borrow_and_update().clone();
                match progress(&seen) {
                    Progress::Done => return Ok(()),
                    Progress::Failed(failure) => return Err(failure),
                    Progress::Going => {}
                }
                if watch.changed().await.is_err() {
                    let message = format!("workload {name:?}: the router is ending");
                    return Err(Failure::new(ErrorCode::Unavailable, message));
                }
            }
        };
        match tokio::time::timeout(wait, arrived).await {
            Ok(arrived) => arrived?,
            Err(_) => {
                let message = format!(
                    "workload {name:?}: still {} after {} s; the operation continues, and `drowse status` \
                     shows its progress",
                    workload.snapshot().phase,
                    wait.as_secs_f64()
                );
                return Err(Failure::new(ErrorCode::Timeout, message));
            }
        }
    }
    Ok(workload.status())
}

/// The progress of a wake that was ordered after `before`. A failure from before is an old one: the wake
/// begins after the stop that followed it.
fn woken(name: &str, before: &Snapshot, now: &Snapshot) -> Progress {
    match now.phase {
        Phase::Ready => Progress::Done,
        Phase::Failed | Phase::Missing if is_new(before, now) => {
            Progress::Failed(failure(name, now))
        }
        Phase::Failed | Phase::Missing => Progress::Going,
        Phase::Asleep | Phase::Waking | Phase::Draining | Phase::Stopping => Progress::Going,
    }
}

/// The progress of a renewal that was ordered after `before`. A workload that was awake, is restarted, or
/// got a visitor meanwhile is woken at its end.
fn renewed(name: &str, renewal: Renewal, before: &Snapshot, now: &Snapshot) -> Progress {
    let slept = !matches!(before.phase, Phase::Waking | Phase::Ready);
    match now.phase {
        Phase::Ready if now.generation > before.generation => Progress::Done,
        Phase::Asleep if slept && renewal != Renewal::Restart => Progress::Done,
        Phase::Asleep if !now.wake_wanted && now.generation == before.generation => {
            let message =
                format!("workload {name:?}: it was put to sleep before it was woken again");
            Progress::Failed(Failure::new(ErrorCode::Conflict, message))
        }
        Phase::Failed | Phase::Missing if is_new(before, now) => {
            Progress::Failed(failure(name, now))
        }
        _ => Progress::Going,
    }
}

fn forced(force: bool) -> Force {
    if force { Force::AtOnce } else { Force::Drain }
}

/// The progress of a sleep that was ordered after `before`. A visitor who came meanwhile wakes it again at
/// once.
fn asleep(name: &str, before: &Snapshot, now: &Snapshot) -> Progress {
    match now.phase {
        Phase::Asleep => Progress::Done,
        Phase::Failed | Phase::Missing => Progress::Failed(failure(name, now)),
        Phase::Waking | Phase::Ready if now.generation > before.generation => {
            let message = format!("workload {name:?}: it was put to sleep and woken again at once");
            Progress::Failed(Failure::new(ErrorCode::Conflict, message))
        }
        Phase::Ready | Phase::Waking | Phase::Draining | Phase::Stopping => Progress::Going,
    }
}

/// Whether a failure happened since `before`.
fn is_new(before: &Snapshot, now: &Snapshot) -> bool {
    let same = match (&before.failure, &now.failure) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        (before, now) => before.is_none() && now.is_none(),
    };
    now.generation != before.generation || !same
}

fn failure(name: &str, snapshot: &Snapshot) -> Failure {
    let failure = snapshot.failure.as_deref().cloned();
    failure.unwrap_or_else(|| {
        let message = format!("workload {name:?} is {}", snapshot.phase);
        Failure::new(ErrorCode::Internal, message)
    })
}
