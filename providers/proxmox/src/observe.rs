//! Converts the API's state to an observation.

use drowse_provider_sdk::{Observation, Status};

use crate::{
    answer::{Current, Resource},
    config::tags,
    handle::Kind,
};

/// Status of a guest, from `status/current`.
pub(crate) fn state(kind: Kind, current: &Current) -> Status {
    let word = word(current);
    match (kind, current.status.as_str()) {
        (_, "stopped") => Status::Stopped,
        (Kind::Lxc, "running") => Status::Running,
        (Kind::Qemu, "running") => match word {
            "running" => Status::Running,
            "paused" | "suspended" => Status::Paused,
            // A stopped machine gets a process while it is backed up; it may be started.
            "prelaunch" if current.lock.as_deref() == Some("backup") => Status::Stopped,
            "prelaunch" | "inmigrate" | "restore-vm" => Status::Starting,
            "shutdown" => Status::Stopping,
            "io-error" | "internal-error" | "guest-panicked" | "watchdog" => Status::Failed,
            word => Status::Other(word.to_owned()),
        },
        (_, word) => Status::Other(word.to_owned()),
    }
}

/// The API's name of the status.
pub(crate) fn word(current: &Current) -> &str {
    match (&current.qmpstatus, current.status.as_str()) {
        (Some(word), "running") => word,
        (_, word) => word,
    }
}

/// Observation without addresses and labels.
pub(crate) fn current(handle: &str, kind: Kind, vmid: u32, current: &Current) -> Observation {
    let mut seen = Observation::new(handle, state(kind, current), word(current))
        .with_native_id(format!("{kind}/{vmid}"));
    seen.detail = detail(current);
    for (name, value) in [("name", &current.name), ("lock", &current.lock)] {
        if let Some(value) = value {
            seen = seen.with_attribute(name, value);
        }
    }
    seen
}

fn detail(current: &Current) -> Option<String> {
    if current.template {
        return Some("a template, which does not run".to_owned());
    }
    match (current.lock.as_deref(), current.ha.state.as_deref()) {
        (Some("suspended"), _) => Some("suspended to disk".to_owned()),
        (Some(lock), _) => Some(format!("locked: {lock}")),
        (None, Some("error" | "fence")) => {
            let state = current.ha.state.as_deref().unwrap_or_default();
            Some(format!("its high availability state is {state}"))
        }
        _ => None,
    }
}

/// Observation of a listed guest. The list has neither addresses nor the paused state of machines,
/// and is some seconds old.
pub(crate) fn listed(handle: String, resource: &Resource) -> Observation {
    let word = resource.status.as_deref().unwrap_or("unknown");
    let status = match word {
        "running" => Status::Running,
        "paused" | "suspended" => Status::Paused,
        "stopped" => Status::Stopped,
        word => Status::Other(word.to_owned()),
    };
    let mut seen = Observation::new(handle, status, word)
        .with_native_id(format!("{}/{}", resource.kind, resource.vmid))
        .with_attribute("node", &resource.node);
    for (name, value) in [("name", &resource.name), ("lock", &resource.lock)] {
        if let Some(value) = value {
            seen = seen.with_attribute(name, value);
        }
    }
    seen.labels = tags(resource.tags.as_deref().unwrap_or_default());
    seen
}
