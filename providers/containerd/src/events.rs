//! What happens in the namespace, as it happens.
//!
//! containerd keeps no events, and a subscription shows nothing before its first one. So an event of
//! our own is published until it comes back: from there on every change is seen. An event only says
//! where to look: the container is looked at, and what it is now is reported.

use std::time::Duration;

use drowse_provider_sdk::{Error, ErrorCode, Observation, Result, clock, events, warn};

use crate::{
    daemon::{Daemon, read},
    observe,
    proto::{ById, Envelope, TaskExit, Timestamp},
};

/// Our own event.
const MARK: &str = "/drowse/watch";

/// Until an event comes; then, if our own has not come back, it is published again.
const EACH: Duration = Duration::from_secs(5);

/// So long the look at one container may take, while all others wait for theirs: a task whose shim is
/// stuck answers nobody.
const LOOK: Duration = Duration::from_secs(2);

/// Reports until the subscription ends.
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
    let mut messages = daemon.subscribe(filters, EACH)?;
    daemon.publish(MARK, &mark)?;
    let (mut synced, looked_at) = (false, daemon.within(LOOK));
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
        if let Err(error) = report(&looked_at, &envelope, value) {
            warn!("a container changed and could not be looked at: {error}");
            events::synced();
        }
    }
}

fn report(daemon: &Daemon, envelope: &Envelope, value: &[u8]) -> Result<()> {
    if envelope.topic == "/tasks/exit" {
        let exit: TaskExit = read("an exit", value)?;
        if exit.id != exit.container_id {
            // A program that ran beside the container's own.
            return Ok(());
        }
    }
    // Every other event that is asked for begins with the container's id, too.
    let ById { id } = read("an event", value)?;
    let observation = match daemon.container(&id)? {
        Some(container) => observe::seen(&container, daemon.task(&id)?.as_ref()),
        None => Observation::missing(&id),
    };
    let at = envelope.timestamp.as_ref().map(Timestamp::since_epoch).unwrap_or_default();
    events::emit_at(observation, at);
    Ok(())
}
