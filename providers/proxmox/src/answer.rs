//! What the API answers, as far as it is read. Booleans come as 1, "1", true, "" or not at all,
//! and numbers sometimes as texts.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An item of `/cluster/resources?type=vm`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Resource {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) node: String,
    pub(crate) vmid: u32,
    pub(crate) name: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) lock: Option<String>,
    pub(crate) tags: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) template: bool,
    /// A fraction of `maxcpu` cores.
    #[serde(default, deserialize_with = "number")]
    pub(crate) cpu: f64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) maxcpu: f64,
}

/// `status/current` of a guest.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Current {
    pub(crate) status: String,
    /// What the monitor of a virtual machine says.
    pub(crate) qmpstatus: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) lock: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) template: bool,
    /// A fraction of `cpus` cores.
    #[serde(default, deserialize_with = "number")]
    pub(crate) cpu: f64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) cpus: f64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) mem: f64,
    #[serde(default)]
    pub(crate) ha: Ha,
}

/// Whether the manager for high availability decides over a guest.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Ha {
    #[serde(default, deserialize_with = "flag")]
    pub(crate) managed: bool,
    pub(crate) state: Option<String>,
}

/// The status of a task.
#[derive(Debug, Deserialize)]
pub(crate) struct TaskStatus {
    pub(crate) status: String,
    pub(crate) exitstatus: Option<String>,
}

/// An interface of a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LxcInterface {
    pub(crate) name: String,
    pub(crate) hwaddr: Option<String>,
    pub(crate) inet: Option<String>,
    pub(crate) inet6: Option<String>,
    pub(crate) hardware_address: Option<String>,
    /// Since 9; the others have one address of each family.
    #[serde(default)]
    pub(crate) ip_addresses: Vec<IpAddress>,
}

/// An interface as the guest agent of a virtual machine tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AgentInterface {
    pub(crate) name: String,
    pub(crate) hardware_address: Option<String>,
    #[serde(default)]
    pub(crate) ip_addresses: Vec<IpAddress>,
}

/// One address of an interface.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct IpAddress {
    #[serde(default)]
    pub(crate) ip_address: String,
}

/// What a command of the guest agent came to.
#[derive(Debug, Deserialize)]
pub(crate) struct AgentAnswer {
    pub(crate) result: AgentResult,
}

/// The agent's result, or its own error under HTTP status 200.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum AgentResult {
    Interfaces(Vec<AgentInterface>),
    Failed { error: AgentError },
}

/// An error of the guest agent.
#[derive(Debug, Deserialize)]
pub(crate) struct AgentError {
    #[serde(default)]
    pub(crate) desc: String,
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Bool(flag) => flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "0"),
        _ => false,
    })
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_f64().unwrap_or_default(),
        Value::String(text) => text.parse().unwrap_or_default(),
        _ => 0.0,
    })
}
