//! Removes a container, with or without its own data.

use std::{collections::BTreeSet, time::Duration};

use drowse_provider_sdk::{Error, ErrorCode, Result, clock, clock::Deadline, encode, info};
use serde_json::Value;

use crate::{
    api::{Call, REMOVE_ENDPOINT},
    control::Container,
    create_request,
    recreate::OLD_SUFFIXES,
};

/// Grace time of a container without a stop timeout.
const GRACE: Duration = Duration::from_secs(10);

/// Longest grace time, so that the call ends.
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// Timeout for a removal that another client began.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Pause between two removal attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes the container and those that an unfinished recreation set aside.
pub(crate) fn remove(container: &Container<'_>, preserve: bool) -> Result<()> {
    let attempt = container.attempt("remove");
    let with_context = |error: Error| error.context(&attempt);
    let mut volumes = BTreeSet::new();
    let names = OLD_SUFFIXES.map(|(suffix, _)| format!("{}{suffix}", container.handle()));
    for name in names.iter().map(String::as_str).chain([container.handle()]) {
        let Some(inspected) = container.engine().inspect_raw(name).map_err(with_context)? else {
            continue;
        };
        let own = create_request::anonymous_volumes(&inspected);
        let ends_with_it = inspected["HostConfig"]["AutoRemove"] == true && !own.is_empty();
        if preserve && ends_with_it {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "{attempt}: the engine removes its volumes with it (`--rm`); copy the data first"
                ),
            ));
        }
        volumes.extend(own.into_iter().map(str::to_owned));
        let id = inspected["Id"].as_str().unwrap_or_default();
        // Before the stop: a provider without the grant to remove leaves the container unchanged.
        if !delete(container, id, preserve, false, &attempt)? {
            container.stop(None, grace(&inspected)).map_err(with_context)?;
            delete(container, id, preserve, true, &attempt)?;
        }
    }
    if preserve {
        return Ok(());
    }
    // Volumes that a recreation handed on are mounted by name, and stay with `v=1`.
    volumes.iter().try_for_each(|volume| delete_volume(container, volume, &attempt))
}

fn grace(inspected: &Value) -> Duration {
    let configured = inspected["Config"]["StopTimeout"].as_u64().map_or(GRACE, Duration::from_secs);
    configured.min(LONGEST_GRACE)
}

/// Returns whether the container is gone. A running one is removed only by force.
fn delete(
    container: &Container<'_>,
    id: &str,
    preserve: bool,
    force: bool,
    attempt: &str,
) -> Result<bool> {
    let with_context = |error: Error| error.context(attempt);
    let path = format!("/containers/{}", encode(id));
    let mut call = Call::delete(&path).to(REMOVE_ENDPOINT);
    for (name, wanted) in [("force", force), ("v", !preserve)] {
        if wanted {
            call = call.query(name, "1");
        }
    }
    let deadline = Deadline::after(REMOVAL_TIMEOUT);
    loop {
        let answer = container.engine().send(&call).map_err(with_context)?;
        match answer.status {
            404 => return Ok(true),
            _ if answer.is_done() => return Ok(true),
            409 if !force => return Ok(false),
            // The removal is in progress.
            409 if deadline.left().is_some() => clock::sleep(PAUSE),
            _ => return Err(answer.to_error(attempt)),
        }
    }
}

fn delete_volume(container: &Container<'_>, name: &str, attempt: &str) -> Result<()> {
    let path = format!("/volumes/{}", encode(name));
    let call = Call::delete(&path).to(REMOVE_ENDPOINT);
    let answer = container.engine().send(&call).map_err(|error| error.context(attempt))?;
    match answer.status {
        404 => Ok(()),
        409 => {
            info!(volume = name; "keeping the volume: another container uses it");
            Ok(())
        }
        _ if answer.is_done() => Ok(()),
        _ => Err(answer.to_error(attempt)),
    }
}
