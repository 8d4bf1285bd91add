//! What the API answers with.

use std::{path::PathBuf, time::Duration};

use drowse_core::{PoolStatus, ProviderName, ProviderState, Source, WorkloadStatus};
use serde::{Deserialize, Serialize};

/// The whole router at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The router's version.
    pub version: String,
    /// The router's process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// The files it was configured by.
    pub configuration: Vec<PathBuf>,
    /// Where visitors come in.
    pub listeners: Vec<ListenerStatus>,
    /// Who starts and stops workloads.
    pub providers: Vec<ProviderStatus>,
    /// What sleeps and wakes.
    pub workloads: Vec<WorkloadStatus>,
    /// Ceilings that workloads share.
    pub pools: Vec<PoolStatus>,
}

/// How a workload is to be operated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Return when it is done, within this time.
    pub wait: Option<Duration>,
    /// Whoever is inside is cut off. For going to sleep, restarting and making anew.
    pub force: bool,
    /// What it is made of is fetched again. For making anew.
    pub refresh: bool,
    /// Who gives the order: an operator at the command line, or a program.
    pub source: Source,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// The address: what it is bound to, else what it was meant to be bound to.
    pub address: String,
    /// What it speaks.
    pub protocol: String,
    /// Why it is not served; absent when it is.
    pub problem: Option<String>,
}

/// One provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// Its name.
    pub name: ProviderName,
    /// How it is.
    #[serde(flatten)]
    pub state: ProviderState,
}
