//! Converts the engine's state to an observation.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Attribute, Health, Observation, Result, Status};

use crate::{
    address::{self, Published},
    api::Engine,
    model::{Inspect, Item, State},
    settings::AddressRules,
    time,
};

/// Observation of an inspected container. A container in another container's network has that one's
/// addresses, so that one is inspected, too.
pub(crate) fn inspected(
    engine: &Engine,
    handle: &str,
    found: &Inspect,
    rules: AddressRules<'_>,
) -> Result<Observation> {
    let state = &found.state;
    let status = status(&state.status);
    let mut seen = Observation::new(handle, status, &state.status).with_native_id(&found.id);
    if seen.status == Status::Running {
        seen.health = health(state.health.as_ref().map_or("", |health| &health.status));
        seen.addresses = match found.host_config.network_mode.strip_prefix("container:") {
            Some(other) => match engine.inspect(other)? {
                Some(other) if status_is_running(&other.state) => addresses(&other, rules),
                _ => Vec::new(),
            },
            None => addresses(found, rules),
        };
    }
    seen.labels = labels(&found.config.labels);
    seen.detail = detail(state);
    seen = seen.with_attribute("image", &found.config.image);
    if let Some(started) = time::parse_millis(&state.started_at) {
        seen = seen.with_attribute("started-at", started.to_string());
    }
    if matches!(state.status.as_str(), "exited" | "stopped" | "dead") {
        seen = seen.with_attribute("exit-status", state.exit_code.to_string());
    }
    Ok(seen)
}

/// Observation of a listed container. The list has health and exit status only as text, and no data
/// of another container's network.
pub(crate) fn listed(handle: &str, item: &Item, rules: AddressRules<'_>) -> Observation {
    let status = status(&item.state);
    let mut seen = Observation::new(handle, status, &item.state).with_native_id(&item.id);
    if seen.status == Status::Running {
        seen.health = match item.status.rsplit_once('(') {
            Some((_, "healthy)")) => Health::Healthy,
            Some((_, "unhealthy)")) => Health::Unhealthy,
            Some((_, "health: starting)")) => Health::Starting,
            _ => Health::None,
        };
        let published = Published::listed(&item.ports);
        let networks = &item.network_settings.networks;
        let mode = &item.host_config.network_mode;
        seen.addresses = address::of(mode, networks, &published, rules);
    }
    seen.labels = labels(&item.labels);
    seen.detail = Some(item.status.clone()).filter(|text| !text.is_empty());
    seen = seen.with_attribute("image", &item.image);
    if let Some(rest) = item.status.strip_prefix("Exited (")
        && let Some((code, _)) = rest.split_once(')')
        && code.parse::<i64>().is_ok()
    {
        seen = seen.with_attribute("exit-status", code);
    }
    seen
}

fn addresses(found: &Inspect, rules: AddressRules<'_>) -> Vec<drowse_provider_sdk::Address> {
    let published = Published::inspected(&found.network_settings.ports);
    let networks = &found.network_settings.networks;
    address::of(&found.host_config.network_mode, networks, &published, rules)
}

/// States of Docker, and those that only Podman has.
fn status(word: &str) -> Status {
    match word {
        "running" => Status::Running,
        "restarting" => Status::Starting,
        "paused" => Status::Paused,
        "removing" | "stopping" => Status::Stopping,
        "created" | "configured" | "initialized" | "exited" | "stopped" => Status::Stopped,
        "dead" => Status::Failed,
        other => Status::Other(other.to_owned()),
    }
}

fn status_is_running(state: &State) -> bool {
    status(&state.status) == Status::Running
}

fn health(word: &str) -> Health {
    match word {
        "" | "none" => Health::None,
        "starting" => Health::Starting,
        "healthy" => Health::Healthy,
        "unhealthy" => Health::Unhealthy,
        other => Health::Other(other.to_owned()),
    }
}

fn detail(state: &State) -> Option<String> {
    let happened = match state.status.as_str() {
        "created" if state.error.is_empty() => "created and never started".to_owned(),
        "created" => "the last start failed".to_owned(),
        "exited" | "stopped" if state.oom_killed => {
            format!("exited with status {}, out of memory", state.exit_code)
        }
        "exited" | "stopped" => format!("exited with status {}", state.exit_code),
        "dead" => "the engine could not remove it; remove it manually".to_owned(),
        "restarting" => {
            format!("exited with status {}, the engine restarts it", state.exit_code)
        }
        _ if state.error.is_empty() => return None,
        word => word.to_owned(),
    };
    Some(match state.error.as_str() {
        "" => happened,
        error => format!("{happened}: {error}"),
    })
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<Attribute> {
    labels.iter().map(|(name, value)| Attribute::new(name, value)).collect()
}
