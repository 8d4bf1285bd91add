//! What the operator says of a workload.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    names::{PoolName, ProviderName, WorkloadName},
    provider::Target,
    schedule::{Alarm, Window},
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
    /// When it is put into a deeper sleep.
    pub deep_sleep: Option<DeepSleep>,
    /// What may speak against sleeping when the idle time is over; all are asked.
    pub vetoes: Vec<Veto>,
    /// When it is truly ready.
    pub ready: ReadyCheck,
    /// How it is woken.
    pub wake: WakePlan,
    /// What happens to it when it is found running and nobody here started it.
    pub adopt: Adopt,
    /// What must be awake before it is started, and as long as it is awake.
    pub needs: Vec<Need>,
    /// Its share of a ceiling.
    pub pool: Option<Membership>,
    /// It is awake in these times whether anybody comes or not.
    pub awake: Vec<Window>,
    /// It is woken at these times, before anybody comes.
    pub alarms: Vec<Alarm>,
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

/// The second tier of sleep: a wake from the first takes milliseconds, the second costs less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeepSleep {
    /// After so long in the light sleep.
    pub after: Duration,
    /// How.
    pub plan: SleepPlan,
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

/// Something that keeps an idle workload awake.
#[derive(Clone, Debug, PartialEq)]
pub enum Veto {
    /// It uses more of one core than this many percent, by the provider's word.
    CpuAbove(f64),
    /// This check passes: the workload says that it is busy.
    Busy(ReadyCheck),
    /// Somebody plays on the Minecraft server at this port.
    PlayersOnline(u16),
}

/// How a workload is woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakePlan {
    /// From the start until ready; then the wake has failed.
    pub timeout: Duration,
    /// After a failed wake visitors are told the reason for this long before it is tried again.
    pub cooldown: Duration,
}

/// What happens to a workload that is found running and that nobody here started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adopt {
    /// It is served at once; its idle time begins when the first visitor has left.
    #[default]
    Keep,
    /// It is served at once; its idle time begins when it is found.
    Sleep,
    /// It is left alone until somebody wants it.
    Ignore,
}

/// What a workload needs of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which one.
    pub workload: WorkloadName,
    /// How far it must have come.
    pub until: Until,
}

/// How far a dependency must have come before its dependent is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// The provider has started it.
    Started,
    /// It is ready by its own check.
    #[default]
    Healthy,
    /// It has run and ended well: a job.
    Completed,
}

/// A workload's place in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which pool.
    pub pool: PoolName,
    /// The higher one is let in first and evicted last.
    pub priority: i32,
    /// Never evicted.
    pub pinned: bool,
    /// What it takes of the pool's memory, in bytes, until the provider knows better.
    pub memory: Option<u64>,
}

/// A ceiling that some workloads share.
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

/// When a workload is truly ready. Ports are the workload's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyCheck {
    /// As soon as the provider says that it runs.
    Started,
    /// The platform's own health check passes.
    Health,
    /// It has run and ended with exit status 0: it is a job, and its gate never opens.
    Completed,
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
        /// A header that the response must have, and the value that it must have if one is given.
        header: Option<(String, Option<String>)>,
    },
    /// A Minecraft server (Java edition) answers a status request.
    Minecraft {
        /// The port to connect to.
        port: u16,
    },
    /// This command, run inside the target by its provider, ends with exit status 0.
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
    /// A workload with the defaults for whatever an operator may leave out.
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
