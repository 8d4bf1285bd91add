//! Start and resume: the task, and then the guest, which may take longer.

use drowse_provider_sdk::{Error, Observation, Result, Status, clock::Deadline};

use crate::{
    address::Reach,
    answer::Current,
    api::Refusal,
    awaited,
    control::{Control, no_address},
    observe,
    task::End,
};

/// How often a start begins anew because somebody else was faster.
const TIMES: usize = 3;

impl Control<'_> {
    pub(crate) fn start(&self) -> Result<Observation> {
        self.wake("start")
    }

    /// Continues what is paused; what does not run is not for this.
    pub(crate) fn resume(&self) -> Result<Observation> {
        let attempt = self.attempt("resume");
        let current = self.guest.current().map_err(|refusal| refusal.into_error(&attempt))?;
        let Some(current) = current else { return Err(gone(&attempt)) };
        match self.state(&current) {
            Status::Running | Status::Starting | Status::Paused => self.wake("resume"),
            _ => Err(Error::conflict(format!(
                "{attempt}: it does not run, it is {}; start it instead",
                observe::word(&current)
            ))),
        }
    }

    fn wake(&self, verb: &str) -> Result<Observation> {
        let deadline = Deadline::after(self.settings.patience.0);
        let attempt = self.attempt(verb);
        let mut refused = None;
        for _ in 0..TIMES {
            let current = self.guest.current().map_err(|refusal| refusal.into_error(&attempt))?;
            let Some(current) = current else { return Err(gone(&attempt)) };
            if current.template {
                return Err(Error::invalid_request(format!(
                    "{attempt}: it is a template, which does not run; make a guest of it"
                )));
            }
            let action = match self.state(&current) {
                Status::Running | Status::Starting => {
                    return self.until_reachable(End::Well, deadline, &attempt);
                }
                // A machine that switched itself off while it was backed up is resumed, too.
                Status::Paused | Status::Stopping => "resume",
                Status::Stopped => "start",
                _ => return Err(stuck(&attempt, &current)),
            };
            match self.ask(action, &[], deadline) {
                Ok(end) => return self.until_reachable(end, deadline, &attempt),
                Err(refusal) if is_late(action, &refusal) => refused = Some(refusal),
                Err(refusal) => return Err(refusal.into_error(&attempt)),
            }
        }
        Err(match refused {
            Some(refusal) => refusal.into_error(&attempt),
            None => gone(&attempt),
        })
    }

    /// Looks until it runs and has an address. When time is over, `watch` goes on.
    fn until_reachable(&self, end: End, deadline: Deadline, attempt: &str) -> Result<Observation> {
        let told = |refusal: Refusal| refusal.into_error(attempt);
        let mut pace = self.pace();
        let mut config = None;
        loop {
            let Some(current) = self.guest.current().map_err(told)? else {
                return Err(gone(attempt));
            };
            let state = self.state(&current);
            let runs = state == Status::Running;
            if runs && config.is_none() {
                config = Some(self.guest.config().map_err(told)?);
            }
            let mut seen = self.observed(&current, config.as_ref());
            let missing = match (&state, &config) {
                (Status::Running, Some(config)) => match self.reach(config)? {
                    Reach::At(addresses) => {
                        seen.addresses = addresses;
                        awaited::remove(self.guest.vmid);
                        return Ok(seen);
                    }
                    Reach::NotYet(why) => no_address(&why),
                    Reach::Never(error) => return Err(error.context(attempt)),
                },
                (Status::Failed, _) => return Err(stuck(attempt, &current)),
                (_, _) if current.ha.managed && has_given_up(&current) => {
                    return Err(stuck(attempt, &current));
                }
                // Its manager begins some seconds after the task has ended, and an open task may
                // still make it run.
                (Status::Stopped, _) if current.ha.managed => {
                    "its high availability has not started it yet".to_owned()
                }
                (Status::Stopped, _) if end == End::Open => {
                    "the task that starts it goes on".to_owned()
                }
                // It ended at once, or somebody else was at it.
                (Status::Stopped | Status::Paused, _) => return Ok(seen),
                _ => format!("it is {}", observe::word(&current)),
            };
            if !pace.wait(deadline) {
                self.await_address();
                seen.status = if runs { Status::Running } else { Status::Starting };
                return Ok(seen.with_detail(missing));
            }
        }
    }
}

/// Somebody else has started what was to be started, or stopped what was to be resumed.
fn is_late(action: &str, refusal: &Refusal) -> bool {
    let text = refusal.text();
    let wanted = match action {
        "start" => "already running",
        _ => "not running",
    };
    (text.starts_with("CT ") || text.starts_with("VM ")) && text.ends_with(wanted)
}

/// The manager leaves such a guest alone.
fn has_given_up(current: &Current) -> bool {
    matches!(current.ha.state.as_deref(), Some("error"))
}

fn stuck(attempt: &str, current: &Current) -> Error {
    let word = observe::word(current);
    match current.ha.state.as_deref() {
        Some("error") => Error::unavailable(format!(
            "{attempt}: its high availability is in state error; put its resource in order, then \
             set it to `disabled` and back"
        )),
        _ => Error::conflict(format!(
            "{attempt}: it is {word}; try again when that is over, or see to it by hand"
        )),
    }
}

fn gone(attempt: &str) -> Error {
    Error::not_found(format!("{attempt}: there is no such guest"))
}
