//! Start and resume: run the task, then wait for the guest, which may take longer.

use drowse_provider_sdk::{Error, Observation, Result, Status, clock::Deadline};

use crate::{
    address::Lookup,
    answer::Current,
    api::ApiError,
    awaited,
    control::{Control, no_address},
    observe,
    task::End,
};

/// Maximum attempts of a start if another client interferes.
const MAX_ATTEMPTS: usize = 3;

impl Control<'_> {
    pub(crate) fn start(&self) -> Result<Observation> {
        self.wake("start")
    }

    /// Resumes a paused guest; a stopped one is a conflict.
    pub(crate) fn resume(&self) -> Result<Observation> {
        let attempt = self.attempt("resume");
        let current = self.guest.current().map_err(|refusal| refusal.into_error(&attempt))?;
        let Some(current) = current else { return Err(not_found(&attempt)) };
        match self.state(&current) {
            Status::Running | Status::Starting | Status::Paused => self.wake("resume"),
            _ => Err(Error::conflict(format!(
                "{attempt}: the guest is {}; start it instead",
                observe::word(&current)
            ))),
        }
    }

    fn wake(&self, verb: &str) -> Result<Observation> {
        let deadline = Deadline::after(self.settings.patience.0);
        let attempt = self.attempt(verb);
        let mut refused = None;
        for _ in 0..MAX_ATTEMPTS {
            let current = self.guest.current().map_err(|refusal| refusal.into_error(&attempt))?;
            let Some(current) = current else { return Err(not_found(&attempt)) };
            if current.template {
                return Err(Error::invalid_request(format!(
                    "{attempt}: it is a template, which cannot run; clone it to a guest"
                )));
            }
            let action = match self.state(&current) {
                Status::Running | Status::Starting => {
                    return self.wait_reachable(End::Success, deadline, &attempt);
                }
                // Also resumes a machine that switched itself off during a backup.
                Status::Paused | Status::Stopping => "resume",
                Status::Stopped => "start",
                _ => return Err(blocked(&attempt, &current)),
            };
            match self.request(action, &[], deadline) {
                Ok(end) => return self.wait_reachable(end, deadline, &attempt),
                Err(refusal) if is_already_done(action, &refusal) => refused = Some(refusal),
                Err(refusal) => return Err(refusal.into_error(&attempt)),
            }
        }
        Err(match refused {
            Some(refusal) => refusal.into_error(&attempt),
            None => not_found(&attempt),
        })
    }

    /// Queries until the guest runs and has an address. After the deadline `watch` continues.
    fn wait_reachable(&self, end: End, deadline: Deadline, attempt: &str) -> Result<Observation> {
        let to_error = |refusal: ApiError| refusal.into_error(attempt);
        let mut backoff = self.backoff();
        let mut config = None;
        loop {
            let Some(current) = self.guest.current().map_err(to_error)? else {
                return Err(not_found(attempt));
            };
            let state = self.state(&current);
            let runs = state == Status::Running;
            if runs && config.is_none() {
                config = Some(self.guest.config().map_err(to_error)?);
            }
            let mut seen = self.observation(&current, config.as_ref());
            let missing = match (&state, &config) {
                (Status::Running, Some(config)) => match self.find_addresses(config)? {
                    Lookup::Found(addresses) => {
                        seen.addresses = addresses;
                        awaited::remove(self.guest.vmid);
                        return Ok(seen);
                    }
                    Lookup::NotYet(why) => no_address(&why),
                    Lookup::Never(error) => return Err(error.context(attempt)),
                },
                (Status::Failed, _) => return Err(blocked(attempt, &current)),
                (_, _) if current.ha.managed && is_ha_error(&current) => {
                    return Err(blocked(attempt, &current));
                }
                // The high availability manager acts some seconds after the task ended, and a
                // running task may still start the guest.
                (Status::Stopped, _) if current.ha.managed => {
                    "its high availability has not started it yet".to_owned()
                }
                (Status::Stopped, _) if end == End::Running => {
                    "the start task is still running".to_owned()
                }
                // It stopped at once, or another client interfered.
                (Status::Stopped | Status::Paused, _) => return Ok(seen),
                _ => format!("it is {}", observe::word(&current)),
            };
            if !backoff.wait(deadline) {
                self.await_address();
                seen.status = if runs { Status::Running } else { Status::Starting };
                return Ok(seen.with_detail(missing));
            }
        }
    }
}

/// Another client already started the guest to start, or stopped the one to resume.
fn is_already_done(action: &str, refusal: &ApiError) -> bool {
    let text = refusal.text();
    let wanted = match action {
        "start" => "already running",
        _ => "not running",
    };
    (text.starts_with("CT ") || text.starts_with("VM ")) && text.ends_with(wanted)
}

/// The high availability manager does not touch a guest in this state.
fn is_ha_error(current: &Current) -> bool {
    matches!(current.ha.state.as_deref(), Some("error"))
}

fn blocked(attempt: &str, current: &Current) -> Error {
    let word = observe::word(current);
    match current.ha.state.as_deref() {
        Some("error") => Error::unavailable(format!(
            "{attempt}: its high availability state is error; repair its resource, then set it to \
             `disabled` and back"
        )),
        _ => Error::conflict(format!(
            "{attempt}: the guest is {word}; retry when that is over, or resolve it manually"
        )),
    }
}

fn not_found(attempt: &str) -> Error {
    Error::not_found(format!("{attempt}: there is no such guest"))
}
