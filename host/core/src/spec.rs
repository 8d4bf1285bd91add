//! What the operator says of a workload.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    provider::Target,
    words::{ProviderName, WorkloadName},
};

/// One thing that sleeps and wakes.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadSpec {
    /// Stable name.
    pub name: WorkloadName,
    /// Who controls it.
    pub provider: ProviderName,
    /// The provider's handle for it.
    pub target: Target,
    /// Sleeps when nobody has been inside for this long; never when absent.
    pub idle: Option<Duration>,
    /// How it is put to sleep.
    pub sleep: SleepPlan,
    /// When it is truly ready.
    pub ready: ReadyCheck,
    /// How it is woken.
    pub wake: WakePlan,
}

/// How a workload is put to sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SleepPlan {
    /// What the provider is asked to do.
    pub method: SleepMethod,
    /// The signal to ask with, for `stop` and `kill`.
    pub signal: Option<String>,
    /// The time it has to stop by itself.
    pub grace: Duration,
}

/// What the provider is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SleepMethod {
    /// Ask it to end, kill it after the grace time.
    #[default]
    Stop,
    /// Keep it in memory.
    Pause,
    /// End it without asking.
    Kill,
}

/// How a workload is woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakePlan {
    /// From the wake's begin until ready; then the wake has failed.
    pub timeout: Duration,
    /// After a failed wake visitors are told the reason for this long before it is tried again.
    pub cooldown: Duration,
}

/// When a workload is truly ready. Ports are the workload's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyCheck {
    /// As soon as the provider says that it runs.
    Started,
    /// A connection is accepted.
    Tcp {
        /// The port to connect to.
        port: u16,
    },
    /// A complete response head comes with an expected status.
    Http {
        /// The port to connect to.
        port: u16,
        /// Upper case.
        method: String,
        /// Path and query.
        path: String,
        /// What counts as ready; any but 502, 503 and 504 when absent.
        status: Option<RangeInclusive<u16>>,
        /// The `Host` header; the address when absent.
        host: Option<String>,
    },
}

// === impl SleepPlan ===

impl Default for SleepPlan {
    fn default() -> Self {
        Self { method: SleepMethod::Stop, signal: None, grace: Duration::from_secs(10) }
    }
}

// === impl WakePlan ===

impl Default for WakePlan {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(180), cooldown: Duration::from_secs(5) }
    }
}
