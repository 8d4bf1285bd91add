//! The types of the API.

use std::{path::PathBuf, time::Duration};

use drowse_core::{PoolStatus, ProviderName, ProviderState, Trigger, WorkloadStatus};
use serde::{Deserialize, Serialize};

/// The status of the router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The router's version.
    pub version: String,
    /// The router's process ID.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// The configuration files.
    pub configuration: Vec<PathBuf>,
    /// The listeners.
    pub listeners: Vec<ListenerStatus>,
    /// The providers.
    pub providers: Vec<ProviderStatus>,
    /// The workloads.
    pub workloads: Vec<WorkloadStatus>,
    /// The pools.
    pub pools: Vec<PoolStatus>,
}

/// A request to operate on a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationRequest {
    /// The action.
    pub action: Action,
    /// Maximum time to wait for completion; `None` does not wait.
    pub wait: Option<Duration>,
    /// The origin of the request: the command line or the API.
    pub trigger: Trigger,
}

/// An action on a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wakes the workload.
    Wake,
    /// Puts the workload to sleep.
    Sleep {
        /// Open visits are closed.
        force: bool,
    },
    /// Stops the workload and wakes it again.
    Restart {
        /// Open visits are closed.
        force: bool,
    },
    /// Recreates the workload, and wakes it again if it was awake.
    Recreate {
        /// Open visits are closed.
        force: bool,
        /// The image or other artifacts are fetched again.
        refresh: bool,
    },
}

// === impl Action ===

impl Action {
    /// All actions, without `force` and `refresh`.
    pub(crate) const ALL: [Self; 4] = [
        Self::Wake,
        Self::Sleep { force: false },
        Self::Restart { force: false },
        Self::Recreate { force: false, refresh: false },
    ];

    /// The last segment of the action's path.
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

/// The status of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// The bound address, or the configured one if it could not be bound.
    pub address: String,
    /// The protocol.
    pub protocol: String,
    /// The reason why it is not served; absent when it is.
    pub problem: Option<String>,
}

/// The status of a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// Its name.
    pub name: ProviderName,
    /// The provider's state.
    #[serde(flatten)]
    pub state: ProviderState,
}
