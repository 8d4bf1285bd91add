//! Taking a container away, with or without the data that belongs to it alone.

use std::{collections::BTreeSet, time::Duration};

use drowse_provider_sdk::{Error, ErrorCode, Result, clock, clock::Deadline, encode, info};
use serde_json::Value;

use crate::{
    api::{Call, REMOVE_ENDPOINT},
    blueprint,
    control::Container,
    recreate::ASIDE,
};

/// The time to stop by itself where the container does not say.
const GRACE: Duration = Duration::from_secs(10);

/// The longest time to stop by itself: the call has to end.
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// How long the engine may take over a removal that somebody else has begun.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes it, and what a recreation that was broken off has put aside.
pub(crate) fn remove(container: &Container<'_>, preserve: bool) -> Result<()> {
    let attempt = container.attempt("remove");
    let told = |error: Error| error.context(&attempt);
    let mut volumes = BTreeSet::new();
    let names = ASIDE.map(|(suffix, _)| format!("{}{suffix}", container.handle()));
    for name in names.iter().map(String::as_str).chain([container.handle()]) {
        let Some(whole) = container.engine().whole(name).map_err(told)? else { continue };
        let own = blueprint::own_volumes(&whole);
        let ends_with_it = whole["HostConfig"]["AutoRemove"] == true && !own.is_empty();
        if preserve && ends_with_it {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "{attempt}: the engine removes its volumes with it (`--rm`); copy the data"
                ),
            ));
        }
        volumes.extend(own.into_iter().map(str::to_owned));
        let id = whole["Id"].as_str().unwrap_or_default();
        // Before it is stopped: whoever may not remove it leaves it as it is.
        if !delete(container, id, preserve, false, &attempt)? {
            container.stop(None, grace(&whole)).map_err(told)?;
            delete(container, id, preserve, true, &attempt)?;
        }
    }
    if preserve {
        return Ok(());
    }
    // Those that a recreation has handed on have a name by now, and stay with `v=1`.
    volumes.iter().try_for_each(|volume| delete_volume(container, volume, &attempt))
}

fn grace(whole: &Value) -> Duration {
    let said = whole["Config"]["StopTimeout"].as_u64().map_or(GRACE, Duration::from_secs);
    said.min(LONGEST_GRACE)
}

/// Whether it is gone. What runs is removed by force only.
fn delete(
    container: &Container<'_>,
    id: &str,
    preserve: bool,
    force: bool,
    attempt: &str,
) -> Result<bool> {
    let told = |error: Error| error.context(attempt);
    let path = format!("/containers/{}", encode(id));
    let mut call = Call::delete(&path).to(REMOVE_ENDPOINT);
    for (name, wanted) in [("force", force), ("v", !preserve)] {
        if wanted {
            call = call.query(name, "1");
        }
    }
    let deadline = Deadline::after(PATIENCE);
    loop {
        let answer = container.engine().send(&call).map_err(told)?;
        match answer.status {
            404 => return Ok(true),
            _ if answer.is_done() => return Ok(true),
            409 if !force => return Ok(false),
            // It is being removed already.
            409 if deadline.left().is_some() => clock::sleep(PAUSE),
            _ => return Err(answer.refusal(attempt)),
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
            info!(volume = name; "the volume stays: another container uses it");
            Ok(())
        }
        _ if answer.is_done() => Ok(()),
        _ => Err(answer.refusal(attempt)),
    }
}
