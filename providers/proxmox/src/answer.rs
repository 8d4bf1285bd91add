//! Responses of the API, with the fields that are read. Booleans come as 1, "1", true, "" or are
//! absent, and numbers sometimes as texts.

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
    /// Used fraction of `maxcpu` cores.
    #[serde(default, deserialize_with = "number")]
    pub(crate) cpu: f64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) maxcpu: f64,
}

/// `status/current` of a guest.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Current {
    pub(crate) status: String,
    /// Status from the monitor of a virtual machine.
    pub(crate) qmpstatus: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) lock: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(crate) template: bool,
    /// Used fraction of `cpus` cores.
    #[serde(default, deserialize_with = "number")]
    pub(crate) cpu: f64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) cpus: f64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) mem: f64,
    #[serde(default)]
    pub(crate) ha: Ha,
}

/// Whether the high availability manager controls a guest.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Ha {
    #[serde(default, deserialize_with = "flag")]
    pub(crate) managed: bool,
    pub(crate) state: Option<String>,
}

/// Status of a task.
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
    /// Since version 9; older versions have one address per family.
    #[serde(default)]
    pub(crate) ip_addresses: Vec<IpAddress>,
}

/// An interface as reported by the guest agent of a virtual machine.
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

/// Result of a guest agent command.
#[derive(Debug, Deserialize)]
pub(crate) struct AgentAnswer {
    pub(crate) result: AgentResult,
}

/// The agent's result, or its own error with HTTP status 200.
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
