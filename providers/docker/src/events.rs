//! Events of the engine.
//!
//! The engine keeps only its last 256 events of all kinds and none over a restart, so after each
//! reconnect the provider emits `synced` to make the host query again. An event only triggers an
//! inspection: the reported observation is the container's current state.

use std::time::Duration;

use drowse_provider_sdk::{Error, Observation, Result, Status, clock, debug, events, warn};

use crate::{
    api::{Call, Engine},
    model::Event,
    observe,
    settings::{Settings, TargetSettings},
    time,
};

/// Actions that can change a container's observation. Podman's older engines report `died` and
/// `remove`.
const CONTAINER_ACTIONS: [&str; 13] = [
    "create",
    "start",
    "die",
    "died",
    "stop",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "remove",
    "health_status",
    "update",
    "restart",
];

/// Actions that can change a container's addresses.
const NETWORK_ACTIONS: [&str; 2] = ["connect", "disconnect"];

/// Pause before the stream is reopened after it ended.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);

/// Shortest stream that is reopened here; after a shorter one the host restarts the watch with
/// backoff.
const SHORTEST_STREAM: Duration = Duration::from_secs(5);

/// Position in the event stream. `since` is inclusive, so events with that same time are distinguished
/// by actor and action.
#[derive(Debug)]
struct Position {
    nanoseconds: u64,
    seen: Vec<(String, String)>,
}

/// Reports changes until the engine is unreachable.
pub(crate) fn watch(engine: &Engine, settings: &Settings) -> Result<()> {
    let now = u64::try_from(clock::since_epoch().as_nanos()).unwrap_or(0);
    // Starts now, not when the engine processes the request.
    let mut position = Position { nanoseconds: now, seen: Vec::new() };
    loop {
        let began = clock::monotonic();
        let end = follow(engine, settings, &mut position)?;
        if clock::monotonic().saturating_sub(began) < SHORTEST_STREAM {
            return Err(end);
        }
        debug!("reopening the event stream after it ended: {end}");
        clock::sleep(REOPEN_PAUSE);
    }
}

/// Follows one stream to its end and returns why it ended. The error is for a refused stream.
fn follow(engine: &Engine, settings: &Settings, position: &mut Position) -> Result<Error> {
    const ATTEMPT: &str = "watch containers";
    let filters = serde_json::json!({
        "type": ["container", "network"],
        "event": CONTAINER_ACTIONS.iter().chain(&NETWORK_ACTIONS).collect::<Vec<_>>(),
    });
    let call = Call::get("/events")
        .query("since", time::since(position.nanoseconds))
        .query("filters", filters.to_string());
    let answer = engine.send(&call).map_err(|error| error.context(ATTEMPT))?;
    if !answer.is_done() {
        return Err(answer.to_error(ATTEMPT));
    }
    events::synced();
    for event in answer.response.values::<Event>() {
        match event {
            Ok(event) if position.is_new(&event) => {
                if let Err(error) = report(engine, settings, &event) {
                    warn!("cannot inspect a container that changed: {error}");
                    events::synced();
                }
            }
            Ok(_) => {}
            Err(error) => return Ok(error.context(ATTEMPT)),
        }
    }
    Ok(Error::unavailable(format!("{ATTEMPT}: the engine ended the event stream")))
}

fn report(engine: &Engine, settings: &Settings, event: &Event) -> Result<()> {
    // `health_status: healthy`
    let action = event.action.split(':').next().unwrap_or_default().trim();
    let attributes = &event.actor.attributes;
    match event.kind.as_str() {
        "container" if CONTAINER_ACTIONS.contains(&action) => {
            match attributes.get("name") {
                Some(name) => report_name(engine, settings, name, event)?,
                None => report_id(engine, settings, &event.actor.id, event)?,
            }
            // The old name is free or already belongs to another container.
            match attributes.get("oldName") {
                Some(old) => report_name(engine, settings, old, event),
                None => Ok(()),
            }
        }
        "network" if NETWORK_ACTIONS.contains(&action) => match attributes.get("container") {
            Some(id) => report_id(engine, settings, id, event),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Reports the container that has this name now; after a recreation it may be a new one.
fn report_name(engine: &Engine, settings: &Settings, name: &str, event: &Event) -> Result<()> {
    let name = name.strip_prefix('/').unwrap_or(name);
    let target = TargetSettings::default();
    let seen = match engine.inspect_exactly(name)? {
        Some(found) => observe::inspected(engine, name, &found, settings.address_rules(&target))?,
        None => Observation::missing(name),
    };
    events::emit_at(seen, Duration::from_nanos(event.time_nano));
    Ok(())
}

/// Reports a running container under its name. A container that joins or leaves a network while it
/// does not run is about to start or stop, which has events of its own.
fn report_id(engine: &Engine, settings: &Settings, id: &str, event: &Event) -> Result<()> {
    let Some(found) = engine.inspect(id)? else { return Ok(()) };
    let name = found.name.strip_prefix('/').unwrap_or(&found.name);
    let target = TargetSettings::default();
    let seen = observe::inspected(engine, name, &found, settings.address_rules(&target))?;
    if event.kind != "network" || seen.status == Status::Running {
        events::emit_at(seen, Duration::from_nanos(event.time_nano));
    }
    Ok(())
}

// === impl Position ===

impl Position {
    /// Returns whether the event is new; advances the position.
    fn is_new(&mut self, event: &Event) -> bool {
        if event.time_nano < self.nanoseconds {
            // Events of the same moment arrive in any order; older ones are not repeated.
            return true;
        }
        let key = (event.actor.id.clone(), event.action.clone());
        if event.time_nano > self.nanoseconds {
            self.nanoseconds = event.time_nano;
            self.seen.clear();
        } else if self.seen.contains(&key) {
            return false;
        }
        self.seen.push(key);
        true
    }
}
