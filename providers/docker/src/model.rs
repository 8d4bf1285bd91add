//! The fields of the engine's responses that this provider uses. Newer engines drop old top-level
//! fields, so only `Networks`, `Type`, `Action` and `Actor` are read.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// `GET /containers/{id}/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspect {
    pub(crate) id: String,
    /// With a leading `/`.
    pub(crate) name: String,
    pub(crate) state: State,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Config,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_settings: NetworkSettings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct State {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) exit_code: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) error: String,
    #[serde(default, rename = "OOMKilled")]
    pub(crate) oom_killed: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) started_at: String,
    pub(crate) health: Option<HealthState>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthState {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) tty: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) networks: BTreeMap<String, Network>,
    /// `80/tcp` → published host ports; null if the port is only exposed.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ports: BTreeMap<String, Option<Vec<PortBinding>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Network {
    #[serde(default, rename = "IPAddress", deserialize_with = "or_default")]
    pub(crate) ip_address: String,
    #[serde(default, rename = "GlobalIPv6Address", deserialize_with = "or_default")]
    pub(crate) ipv6_address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PortBinding {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_ip: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_port: String,
}

/// An item of `GET /containers/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Item {
    pub(crate) id: String,
    /// With leading `/`; legacy links add names with more slashes.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) state: String,
    /// Text for people: `Up 2 minutes (healthy)`, `Exited (137) 4 seconds ago`.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ports: Vec<ItemPort>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_settings: NetworkSettings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ItemPort {
    #[serde(default, rename = "IP", deserialize_with = "or_default")]
    pub(crate) ip: String,
    pub(crate) private_port: u16,
    #[serde(default)]
    pub(crate) public_port: Option<u16>,
    #[serde(default, rename = "Type", deserialize_with = "or_default")]
    pub(crate) protocol: String,
}

/// `POST /containers/{id}/exec`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    pub(crate) id: String,
}

/// `GET /exec/{id}/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecState {
    pub(crate) running: bool,
    /// Null before the command has ended.
    #[serde(default)]
    pub(crate) exit_code: Option<i32>,
}

/// `GET /containers/{id}/stats`
#[derive(Debug, Deserialize)]
pub(crate) struct Stats {
    /// Year 1 for a container that does not run.
    #[serde(default)]
    read: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) cpu_stats: CpuStats,
    /// An earlier sample, if the engine took one.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) precpu_stats: CpuStats,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) memory_stats: MemoryStats,
}

/// CPU time in nanoseconds.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CpuStats {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) cpu_usage: CpuUsage,
    /// CPU time of all cores of the machine.
    #[serde(default)]
    pub(crate) system_cpu_usage: Option<u64>,
    #[serde(default)]
    pub(crate) online_cpus: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct CpuUsage {
    #[serde(default)]
    pub(crate) total_usage: u64,
    /// Per core; cgroup v1 only.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) percpu_usage: Vec<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct MemoryStats {
    #[serde(default)]
    pub(crate) usage: Option<u64>,
    /// Memory statistics by the kernel's names.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) stats: BTreeMap<String, u64>,
}

/// A value of `GET /events`
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "Type", default)]
    pub(crate) kind: String,
    #[serde(rename = "Action", default)]
    pub(crate) action: String,
    #[serde(rename = "Actor", default)]
    pub(crate) actor: Actor,
    #[serde(rename = "timeNano", default)]
    pub(crate) time_nano: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Actor {
    #[serde(rename = "ID", default)]
    pub(crate) id: String,
    #[serde(rename = "Attributes", default, deserialize_with = "or_default")]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// A value of `POST /images/create`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PullStep {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: String,
    /// Layer or tag.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) progress_detail: PullProgress,
    #[serde(default)]
    error_detail: Option<ErrorBody>,
    #[serde(default)]
    error: Option<String>,
}

/// In bytes.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PullProgress {
    #[serde(default)]
    pub(crate) current: u64,
    /// 0 if unknown.
    #[serde(default)]
    pub(crate) total: u64,
}

/// An error response of the engine.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) message: String,
}

// === impl PullStep ===

impl PullStep {
    /// Why the pull failed, if it did.
    pub(crate) fn failure(&self) -> Option<&str> {
        let detail = self.error_detail.as_ref().map(|detail| detail.message.as_str());
        detail.or(self.error.as_deref())
    }
}

// === impl Stats ===

impl Stats {
    /// The sample is of a container that does not run.
    pub(crate) fn is_empty(&self) -> bool {
        self.read.starts_with("0001-")
    }
}

/// The engine writes null for an empty list or map.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
