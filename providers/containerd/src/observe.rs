//! Converts containerd's state to an observation.

use drowse_provider_sdk::{Address, Observation, Status};

use crate::{
    proto::{self, Container, Process},
    spec::{self, NetworkMode},
};

/// Label with the addresses of an instance: pid of its process and the addresses.
pub(crate) const ADDRESS: &str = "drowse.address";

/// Observation of a container with this task, or without one.
pub(crate) fn seen(container: &Container, task: Option<&Process>) -> Observation {
    let (status, native) = match task.map(Process::status) {
        None => (Status::Stopped, "no task"),
        Some(proto::Status::Created) => (Status::Starting, "created"),
        Some(proto::Status::Running) => (Status::Running, "running"),
        Some(proto::Status::Stopped) => (Status::Stopped, "stopped"),
        Some(proto::Status::Paused) => (Status::Paused, "paused"),
        Some(proto::Status::Pausing) => (Status::Paused, "pausing"),
        Some(proto::Status::Unknown) => (Status::Other("unknown".to_owned()), "unknown"),
    };
    let mut seen =
        Observation::new(&container.id, status, native).with_attribute("image", &container.image);
    for (name, value) in container.labels.iter().filter(|(name, _)| *name != ADDRESS) {
        seen = seen.with_label(name, value);
    }
    let Some(task) = task else { return seen };
    if seen.status == Status::Stopped {
        let exit = task.exit_status;
        return seen
            .with_attribute("exit-status", exit.to_string())
            .with_detail(format!("exited with status {exit}"));
    }
    seen = seen.with_native_id(format!("{}/{}", container.id, task.pid));
    if seen.status == Status::Running {
        for address in addresses(container, task.pid) {
            seen = seen.with_address(Address::new(address));
        }
    }
    seen
}

/// Addresses of this instance, as far as the label has them.
pub(crate) fn addresses(container: &Container, pid: u32) -> Vec<String> {
    if spec::network_mode(container) == NetworkMode::Host {
        return vec!["127.0.0.1".to_owned()];
    }
    match parse_label(container) {
        Some((of, addresses)) if of == pid => addresses,
        _ => Vec::new(),
    }
}

/// Address of the previous instance.
pub(crate) fn last_address(container: &Container) -> Option<String> {
    parse_label(container)?.1.into_iter().next()
}

/// Pid of the last process with an address.
pub(crate) fn last_process(container: &Container) -> Option<u32> {
    Some(parse_label(container)?.0)
}

/// Parses the label.
fn parse_label(container: &Container) -> Option<(u32, Vec<String>)> {
    let mut words = container.labels.get(ADDRESS)?.split(' ').map(str::to_owned);
    Some((words.next()?.parse().ok()?, words.collect()))
}

/// Formats the label.
pub(crate) fn label(pid: u32, addresses: &[String]) -> String {
    format!("{pid} {}", addresses.join(" "))
}
