//! What the API answers with.

use std::path::PathBuf;

use drowse_core::{ProviderName, ProviderState, WorkloadStatus};
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
