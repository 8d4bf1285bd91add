//! Events of the namespace.
//!
//! containerd keeps no events, and a subscription shows no sign before its first event. The
//! provider therefore publishes a marker event until it comes back: from then on every change is
//! seen. An event only triggers an inspection: the reported observation is the container's current
//! state.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Observation, Result, clock, events, warn};

use crate::{
    daemon::{Daemon, read},
    observe,
    proto::{ById, Envelope, TaskExit, Timestamp},
};

/// Topic of the marker event.
const MARK: &str = "/drowse/watch";

/// Timeout for the next event; after it the marker is published again if it has not come back.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for the inspection of one container, while the others wait: a task with a stuck shim
/// never answers.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Reports changes until the subscription ends.
pub(crate) fn watch(daemon: &Daemon) -> Result<()> {
    let ended = follow(daemon);
    Err(ended
        .map_or_else(|error| error, |()| Error::unavailable("containerd ended the subscription"))
        .context("watch containers"))
}

fn follow(daemon: &Daemon) -> Result<()> {
    let namespace = &daemon.namespace;
    let topic = |topic: &str| format!("namespace==\"{namespace}\",topic~=\"{topic}\"");
    let filters = vec![
        topic("^/tasks/(start|exit|oom|paused|resumed|delete)$"),
        topic("^/containers/(create|update|delete)$"),
        topic(&format!("^{MARK}$")),
    ];
    let mark = clock::since_epoch().as_nanos().to_string();
    let mut messages = daemon.subscribe(filters, EVENT_TIMEOUT)?;
    daemon.publish(MARK, &mark)?;
    let (mut synced, inspecting) = (false, daemon.with_timeout(INSPECT_TIMEOUT));
    loop {
        let message = match messages.next() {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(error) if *error.code() == ErrorCode::Timeout => {
                if !synced {
                    daemon.publish(MARK, &mark)?;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        let envelope: Envelope = read("an event", &message)?;
        let value = envelope.event.as_ref().map(|event| event.value.as_slice()).unwrap_or_default();
        if envelope.topic == MARK {
            if !synced && read::<ById>(MARK, value)?.id == mark {
                synced = true;
                events::synced();
            }
            continue;
        }
        if let Err(error) = report(&inspecting, &envelope, value) {
            warn!("cannot inspect a container that changed: {error}");
            events::synced();
        }
    }
}

fn report(daemon: &Daemon, envelope: &Envelope, value: &[u8]) -> Result<()> {
    if envelope.topic == "/tasks/exit" {
        let exit: TaskExit = read("an exit", value)?;
        if exit.id != exit.container_id {
            // The end of an exec, not of the container's own process.
            return Ok(());
        }
    }
    // Every other subscribed event begins with the container's id as well.
    let ById { id } = read("an event", value)?;
    let observation = match daemon.container(&id)? {
        Some(container) => observe::seen(&container, daemon.task(&id)?.as_ref()),
        None => Observation::missing(&id),
    };
    let at = envelope.timestamp.as_ref().map(Timestamp::since_epoch).unwrap_or_default();
    events::emit_at(observation, at);
    Ok(())
}
