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

/// What is to be done to a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub action: Action,
    /// Return when it is done, within this time.
    pub wait: Option<Duration>,
    /// Who gives the order: an operator at the command line, or a program.
    pub source: Source,
}

/// What can be done to a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is woken.
    Wake,
    /// It is put to sleep.
    Sleep {
        /// Whoever is inside is cut off.
        force: bool,
    },
    /// It is stopped and woken again.
    Restart {
        /// Whoever is inside is cut off.
        force: bool,
    },
    /// It is made anew, and woken again if it was awake.
    Recreate {
        /// Whoever is inside is cut off.
        force: bool,
        /// What it is made of is fetched again.
        refresh: bool,
    },
}

// === impl Action ===

impl Action {
    /// Each of them, as gently as it goes.
    pub(crate) const GENTLE: [Self; 4] = [
        Self::Wake,
        Self::Sleep { force: false },
        Self::Restart { force: false },
        Self::Recreate { force: false, refresh: false },
    ];

    /// Its word in paths.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Sleep { .. } => "sleep",
            Self::Restart { .. } => "restart",
            Self::Recreate { .. } => "recreate",
        }
    }

    pub(crate) fn force(self) -> bool {
        match self {
            Self::Wake => false,
            Self::Sleep { force } | Self::Restart { force } | Self::Recreate { force, .. } => force,
        }
    }

    pub(crate) fn refresh(self) -> bool {
        matches!(self, Self::Recreate { refresh: true, .. })
    }
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
