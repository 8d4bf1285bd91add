//! The configuration of workloads and pools.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    names::{PoolName, ProviderName, WorkloadName},
    need::Need,
    provider::Target,
    schedule::{Alarm, Window},
};

/// One thing that sleeps and wakes.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadSpec {
    /// Stable name.
    pub name: WorkloadName,
    /// Provider that controls it.
    pub provider: ProviderName,
    /// The provider's handle for it.
    pub target: Target,
    /// Time without visits before it sleeps; it never sleeps by itself when absent.
    pub idle: Option<Duration>,
    /// How it is put to sleep.
    pub sleep: SleepPlan,
    /// Second tier of sleep.
    pub deep_sleep: Option<DeepSleep>,
    /// Checks that may veto a sleep when the idle time is over; each is run.
    pub vetoes: Vec<Veto>,
    /// When it is ready for visitors.
    pub ready: ReadyCheck,
    /// How it is woken.
    pub wake: WakePlan,
    /// Treatment of a target that is found running without a wake.
    pub adopt: Adopt,
    /// Workloads that must be awake before it is started, and as long as it is awake.
    pub needs: Vec<Need>,
    /// Its membership of a pool.
    pub pool: Option<Membership>,
    /// Windows in which it is awake, with or without visits.
    pub awake: Vec<Window>,
    /// Times at which it is woken.
    pub alarms: Vec<Alarm>,
}

/// How a workload is put to sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SleepPlan {
    /// The provider call.
    pub method: SleepMethod,
    /// Signal for `stop` and `kill`; the platform's default when absent.
    pub signal: Option<String>,
    /// Time that the target has to stop by itself before it is killed.
    pub grace: Duration,
}

/// The second tier of sleep: a wake from the light sleep takes milliseconds, the deep sleep frees
/// its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeepSleep {
    /// Time in the light sleep before the deep sleep.
    pub after: Duration,
    /// How it is put into the deep sleep.
    pub plan: SleepPlan,
}

/// The provider call that puts a workload to sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SleepMethod {
    /// Stop it; it is killed after the grace time.
    #[default]
    Stop,
    /// Suspend it in memory.
    Pause,
    /// Kill it without a grace time.
    Kill,
}

/// A check that keeps an idle workload awake.
#[derive(Clone, Debug, PartialEq)]
pub enum Veto {
    /// Its CPU usage, as reported by the provider, exceeds this percentage of one core.
    CpuAbove(f64),
    /// This check passes, by which the workload reports that it is busy.
    Busy(ReadyCheck),
    /// Players are online on the Minecraft server at this port.
    PlayersOnline(u16),
}

/// How a workload is woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakePlan {
    /// Maximum time from the start until ready, after which the wake fails.
    pub timeout: Duration,
    /// Cool-down after a failed wake, in which visitors get the failure instead of another wake.
    pub cooldown: Duration,
}

/// Treatment of a target that is found running without a wake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adopt {
    /// Served at once; its idle time begins when the first visitor has left.
    #[default]
    Keep,
    /// Served at once; its idle time begins when it is found.
    Sleep,
    /// Ignored until a wake is requested.
    Ignore,
}

/// A workload's membership of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The pool.
    pub pool: PoolName,
    /// Higher priorities get slots first and are evicted last.
    pub priority: i32,
    /// Never evicted.
    pub pinned: bool,
    /// Memory in bytes that it takes of the pool until the provider has measured it.
    pub memory: Option<u64>,
}

/// A ceiling that several workloads share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its name.
    pub name: PoolName,
    /// Maximum members awake at a time.
    pub max_awake: Option<usize>,
    /// Maximum memory in use at a time in bytes, as reported by the providers.
    pub max_memory: Option<u64>,
    /// Maximum wakes waiting for a slot; one more is refused.
    pub max_queued: usize,
    /// Time that a wake waits for a slot before it fails.
    pub queue_timeout: Duration,
}

/// When a workload is ready for visitors. Ports are the workload's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyCheck {
    /// The provider reports that it runs.
    Started,
    /// The platform's own health check passes.
    Health,
    /// It has ended with exit status 0: it is a job, and its gate never opens.
    Completed,
    /// The port accepts a connection.
    Tcp {
        /// The port to connect to.
        port: u16,
    },
    /// An HTTP response has an expected status.
    Http {
        /// The port to connect to.
        port: u16,
        /// Request method in upper case.
        method: String,
        /// Path and query.
        path: String,
        /// Statuses that count as ready; any but 502, 503 and 504 when absent.
        status: Option<RangeInclusive<u16>>,
        /// The `Host` header; the address when absent.
        host: Option<String>,
        /// Name of a required response header, with its required value if any.
        header: Option<(String, Option<String>)>,
    },
    /// A Minecraft server (Java edition) answers a status request.
    Minecraft {
        /// The port to connect to.
        port: u16,
    },
    /// A command that the provider runs inside the target ends with exit status 0.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
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

// === impl WorkloadSpec ===

impl WorkloadSpec {
    /// A workload with the defaults of optional settings.
    pub fn new(name: WorkloadName, provider: ProviderName, target: Target) -> Self {
        Self {
            name,
            provider,
            target,
            idle: None,
            sleep: SleepPlan::default(),
            deep_sleep: None,
            vetoes: Vec::new(),
            ready: ReadyCheck::Started,
            wake: WakePlan::default(),
            adopt: Adopt::default(),
            needs: Vec::new(),
            pool: None,
            awake: Vec::new(),
            alarms: Vec::new(),
        }
    }
}
