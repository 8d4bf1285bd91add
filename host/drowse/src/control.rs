//! What the admin API controls here.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use drowse_admin::{Control, ListenerStatus, Order, PluginStatus, ProviderStatus, RouterStatus};
use drowse_core::{
    Cause, Engine, Entry, ErrorCode, Failure, Force, Phase, PhaseChange, Snapshot, Workload,
    WorkloadStatus,
};
use drowse_plugins::{Load, PluginInfo, Plugins};
use tokio::sync::broadcast;

#[cfg(test)]
mod tests;

/// The running router, for operators.
pub(crate) struct Desk {
    pub(crate) engine: Arc<Engine>,
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) configuration: Vec<PathBuf>,
    pub(crate) started: Instant,
}

/// How a wait for a workload goes.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Failed(Failure),
    Going,
}

// === impl Desk ===

#[async_trait]
impl Control for Desk {
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

    async fn plugins(&self) -> Vec<PluginStatus> {
        let listed = self.plugins.list().await;
        listed.into_iter().map(|(name, found)| plugin(name, found)).collect()
    }

    async fn wake(&self, name: &str, order: Order) -> Result<WorkloadStatus, Failure> {
        self.engine.wake(name, Cause::new(order.source))?;
        self.settle(name, order.wait, woken).await
    }

    async fn sleep(&self, name: &str, order: Order) -> Result<WorkloadStatus, Failure> {
        let force = if order.force { Force::AtOnce } else { Force::Drain };
        self.engine.sleep(name, Cause::new(order.source), force)?;
        self.settle(name, order.wait, asleep).await
    }

    fn operations(&self, workload: Option<&str>, limit: usize) -> Result<Vec<Entry>, Failure> {
        if let Some(name) = workload
            && self.engine.workload(name).is_none()
        {
            let message = format!("there is no workload {name:?}: `drowse status` lists them");
            return Err(Failure::new(ErrorCode::NotFound, message));
        }
        Ok(self.engine.journal().recent(workload, limit))
    }

    fn changes(&self) -> broadcast::Receiver<PhaseChange> {
        self.engine.changes()
    }
}

impl Desk {
    /// Waits until a workload is where it should be, if that is wanted, and says how it is.
    async fn settle(
        &self,
        name: &str,
        wait: Option<Duration>,
        progress: fn(&Workload, &Snapshot) -> Progress,
    ) -> Result<WorkloadStatus, Failure> {
        let workload = self.engine.workload(name).ok_or_else(|| {
            Failure::new(ErrorCode::NotFound, format!("there is no workload {name:?} any more"))
        })?;
        if let Some(wait) = wait {
            let mut watch = workload.watch();
            let arrived = async {
                loop {
                    let seen = progress(&workload, &watch.borrow_and_update());
                    match seen {
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
                        "workload {name:?}: still {} after {} s; it goes on, and `drowse status` \
                         tells how",
                        workload.snapshot().phase,
                        wait.as_secs_f64()
                    );
                    return Err(Failure::new(ErrorCode::Timeout, message));
                }
            }
        }
        Ok(workload.status())
    }
}

fn woken(workload: &Workload, snapshot: &Snapshot) -> Progress {
    match snapshot.phase {
        Phase::Ready => Progress::Done,
        Phase::Failed | Phase::Missing => Progress::Failed(failure(workload, snapshot)),
        Phase::Asleep | Phase::Waking | Phase::Draining | Phase::Stopping => Progress::Going,
    }
}

fn asleep(workload: &Workload, snapshot: &Snapshot) -> Progress {
    match snapshot.phase {
        Phase::Asleep => Progress::Done,
        Phase::Failed | Phase::Missing => Progress::Failed(failure(workload, snapshot)),
        Phase::Ready | Phase::Waking | Phase::Draining | Phase::Stopping => Progress::Going,
    }
}

fn failure(workload: &Workload, snapshot: &Snapshot) -> Failure {
    let told = snapshot.failure.as_deref().cloned();
    told.unwrap_or_else(|| {
        let message = format!("workload {:?} is {}", workload.name(), snapshot.phase);
        Failure::new(ErrorCode::Internal, message)
    })
}

fn plugin(name: String, found: Result<PluginInfo, String>) -> PluginStatus {
    match found {
        Ok(info) => PluginStatus {
            name,
            version: Some(info.version),
            summary: Some(info.summary),
            origin: info.origin,
            digest: Some(info.digest),
            abilities: info.abilities,
            load: Some(match info.load {
                Load::Cached => "cached".to_owned(),
                Load::Compiled => "compiled".to_owned(),
            }),
            problem: None,
        },
        Err(problem) => PluginStatus {
            origin: "unknown".to_owned(),
            name,
            version: None,
            summary: None,
            digest: None,
            abilities: Vec::new(),
            load: None,
            problem: Some(problem),
        },
    }
}
