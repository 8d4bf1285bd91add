//! Stop, kill and pause: the task, and then the guest, which may take longer.

use std::time::Duration;

use drowse_provider_sdk::{Error, Observation, Result, Status, clock::Deadline, debug};

use crate::{
    answer::Current, api::Refusal, control::Control, handle::Kind, observe, settings::StopMethod,
    task::End,
};

/// What the platform may take over the grace time to stop a guest by force.
const MARGIN: Duration = Duration::from_secs(12);

/// The same where the manager for high availability does it, some seconds after it was told.
const MANAGED_MARGIN: Duration = Duration::from_secs(20);

/// How long a guest may take to end that is stopped without asking.
const FORCE: Duration = Duration::from_secs(8);

/// How long a virtual machine may take to be held or to go on.
const HOLD: Duration = Duration::from_secs(15);

impl Control<'_> {
    pub(crate) fn stop(&self, grace: Duration) -> Result<Observation> {
        let attempt = self.attempt("stop");
        let Some(current) = self.look(&attempt)? else { return Ok(self.missing()) };
        let margin = if current.ha.managed { MANAGED_MARGIN } else { MARGIN };
        let deadline = Deadline::after(grace.saturating_add(margin));
        if is_at_rest(&self.state(&current)) {
            return Ok(self.observed(&current, None));
        }
        if self.suspends(&attempt)? {
            let outcome = self.ask("suspend", &[("todisk", "1")], deadline);
            return match self.settle(outcome, deadline, &attempt)? {
                Some(seen) => Ok(seen),
                None => Err(self.still(&attempt)),
            };
        }
        if grace.is_zero() {
            return self.force(&current, &attempt);
        }
        if self.state(&current) == Status::Paused {
            // It cannot be asked while it is held. If it cannot be waked, it is stopped by force.
            let deadline = Deadline::after(HOLD);
            if let Err(refusal) = self.ask("resume", &[], deadline) {
                debug!("{attempt}: it cannot be resumed first: {}", refusal.text());
            }
        }
        let timeout = whole_seconds(grace).to_string();
        let form = [("timeout", timeout.as_str()), ("forceStop", "1")];
        let outcome = match self.ask("shutdown", &form, deadline) {
            Err(refusal) if is_deaf(&refusal) => Ok(End::Well),
            outcome => outcome,
        };
        match self.settle(outcome, deadline, &attempt)? {
            Some(seen) => Ok(seen),
            None => self.force(&current, &attempt),
        }
    }

    pub(crate) fn kill(&self) -> Result<Observation> {
        let attempt = self.attempt("kill");
        let Some(current) = self.look(&attempt)? else { return Ok(self.missing()) };
        if is_at_rest(&self.state(&current)) {
            return Ok(self.observed(&current, None));
        }
        self.force(&current, &attempt)
    }

    /// Holds a virtual machine in memory.
    pub(crate) fn pause(&self) -> Result<Observation> {
        let attempt = self.attempt("pause");
        if self.guest.kind == Kind::Lxc {
            return Err(Error::unsupported(format!(
                "{attempt}: Proxmox VE cannot hold a container in memory: what it calls suspend \
                 ends it; let it sleep by method \"stop\""
            )));
        }
        let Some(current) = self.look(&attempt)? else {
            return Err(Error::not_found(format!("{attempt}: there is no such guest")));
        };
        match self.state(&current) {
            Status::Paused => return Ok(self.observed(&current, None)),
            state if is_at_rest(&state) => {
                return Err(Error::conflict(format!("{attempt}: it does not run")));
            }
            _ => {}
        }
        let deadline = Deadline::after(HOLD);
        let outcome = self.ask("suspend", &[], deadline);
        let held = |state: &Status| *state == Status::Paused || is_at_rest(state);
        let seen = self.settle_as(outcome, deadline, &attempt, held)?;
        match seen {
            Some(seen) if seen.status == Status::Paused => Ok(seen),
            Some(seen) => Err(Error::conflict(format!(
                "{attempt}: somebody else stopped it, it is {}",
                seen.native_status
            ))),
            None => Err(self.still(&attempt)),
        }
    }

    /// Ends it without asking, and any shutdown that is under way.
    fn force(&self, current: &Current, attempt: &str) -> Result<Observation> {
        const OVERRULE: &str = "overrule-shutdown";
        let deadline = Deadline::after(FORCE);
        let mut outcome = match current.ha.managed {
            // Its manager takes no such word.
            true => self.ask("stop", &[], deadline),
            false => self.ask("stop", &[(OVERRULE, "1")], deadline),
        };
        if outcome.as_ref().is_err_and(|refusal| refusal.refuses_parameter(OVERRULE)) {
            // Since 8.2. The node of the guest may be older than the one that was asked.
            outcome = self.ask("stop", &[], deadline);
        }
        match self.settle(outcome, deadline, attempt)? {
            Some(seen) => Ok(seen),
            None => Err(self.still(attempt)),
        }
    }

    fn settle(
        &self,
        outcome: Result<End, Refusal>,
        deadline: Deadline,
        attempt: &str,
    ) -> Result<Option<Observation>> {
        self.settle_as(outcome, deadline, attempt, is_at_rest)
    }

    /// Looks until it is as wanted, at most until the deadline: none if it is not. After a refusal
    /// its state decides.
    fn settle_as(
        &self,
        outcome: Result<End, Refusal>,
        deadline: Deadline,
        attempt: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Option<Observation>> {
        let mut pace = self.pace();
        loop {
            let Some(current) = self.look(attempt)? else { return Ok(Some(self.missing())) };
            if wanted(&self.state(&current)) {
                return Ok(Some(self.observed(&current, None)));
            }
            if let Err(refusal) = outcome {
                return Err(refusal.into_error(attempt));
            }
            if !pace.wait(deadline) {
                return Ok(None);
            }
        }
    }

    /// Whether it goes to disk instead of being shut down.
    fn suspends(&self, attempt: &str) -> Result<bool> {
        match (self.stop_method(), self.guest.kind) {
            ((StopMethod::Shutdown, _), _) => Ok(false),
            ((StopMethod::SuspendToDisk, _), Kind::Qemu) => Ok(true),
            // What is said of all guests is meant for those that can.
            ((StopMethod::SuspendToDisk, false), Kind::Lxc) => Ok(false),
            ((StopMethod::SuspendToDisk, true), Kind::Lxc) => Err(Error::unsupported(format!(
                "{attempt}: Proxmox VE cannot suspend a container to disk; leave out its setting \
                 `stop`"
            ))),
        }
    }

    fn look(&self, attempt: &str) -> Result<Option<Current>> {
        self.guest.current().map_err(|refusal| refusal.into_error(attempt))
    }

    fn still(&self, attempt: &str) -> Error {
        let word = match self.guest.current() {
            Ok(Some(current)) => observe::word(&current).to_owned(),
            _ => "not seen".to_owned(),
        };
        Error::timeout(format!("{attempt}: the platform took the request, and it is still {word}"))
    }
}

/// It did not shut down in time and was not stopped by force.
fn is_deaf(refusal: &Refusal) -> bool {
    let text = refusal.text();
    text.contains("powerdown failed") || text.contains("did not stop")
}

fn is_at_rest(state: &Status) -> bool {
    matches!(state, Status::Stopped | Status::Missing)
}

/// The platform counts in seconds: never less than was asked for.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}
