//! Stop, kill and pause: run the task, then wait for the guest, which may take longer.

use std::time::Duration;

use drowse_provider_sdk::{
    Error, Observation, Result, Status,
    clock::{Deadline, whole_seconds},
    debug,
};

use crate::{
    answer::Current, api::ApiError, control::Control, handle::Kind, observe, settings::StopMethod,
    task::End,
};

/// Time that the platform may take beyond the grace time to stop a guest by force.
const MARGIN: Duration = Duration::from_secs(12);

/// The same for a guest of the high availability manager, which acts some seconds later.
const MANAGED_MARGIN: Duration = Duration::from_secs(20);

/// Timeout for a guest to end that is stopped by force.
const FORCE_TIMEOUT: Duration = Duration::from_secs(8);

/// Timeout for a virtual machine to be paused or resumed.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(15);

impl Control<'_> {
    pub(crate) fn stop(&self, grace: Duration) -> Result<Observation> {
        let attempt = self.attempt("stop");
        let Some(current) = self.query(&attempt)? else { return Ok(self.missing()) };
        let margin = if current.ha.managed { MANAGED_MARGIN } else { MARGIN };
        let deadline = Deadline::after(grace.saturating_add(margin));
        if is_stopped(&self.state(&current)) {
            return Ok(self.observation(&current, None));
        }
        if self.suspends_to_disk(&attempt)? {
            let outcome = self.request("suspend", &[("todisk", "1")], deadline);
            return match self.wait_stopped(outcome, deadline, &attempt)? {
                Some(seen) => Ok(seen),
                None => Err(self.still_running(&attempt)),
            };
        }
        if grace.is_zero() {
            return self.force(&current, &attempt);
        }
        if self.state(&current) == Status::Paused {
            // A paused machine cannot shut down. If it cannot be resumed, it is stopped by force.
            let deadline = Deadline::after(PAUSE_TIMEOUT);
            if let Err(refusal) = self.request("resume", &[], deadline) {
                debug!("{attempt}: cannot resume it first: {}", refusal.text());
            }
        }
        let timeout = whole_seconds(grace).to_string();
        let form = [("timeout", timeout.as_str()), ("forceStop", "1")];
        let outcome = match self.request("shutdown", &form, deadline) {
            Err(refusal) if is_shutdown_timeout(&refusal) => Ok(End::Success),
            outcome => outcome,
        };
        match self.wait_stopped(outcome, deadline, &attempt)? {
            Some(seen) => Ok(seen),
            None => self.force(&current, &attempt),
        }
    }

    pub(crate) fn kill(&self) -> Result<Observation> {
        let attempt = self.attempt("kill");
        let Some(current) = self.query(&attempt)? else { return Ok(self.missing()) };
        if is_stopped(&self.state(&current)) {
            return Ok(self.observation(&current, None));
        }
        self.force(&current, &attempt)
    }

    /// Pauses a virtual machine in memory.
    pub(crate) fn pause(&self) -> Result<Observation> {
        let attempt = self.attempt("pause");
        if self.guest.kind == Kind::Lxc {
            return Err(Error::unsupported(format!(
                "{attempt}: Proxmox VE cannot pause a container: its suspend ends it; use sleep \
                 method \"stop\""
            )));
        }
        let Some(current) = self.query(&attempt)? else {
            return Err(Error::not_found(format!("{attempt}: there is no such guest")));
        };
        match self.state(&current) {
            Status::Paused => return Ok(self.observation(&current, None)),
            state if is_stopped(&state) => {
                return Err(Error::conflict(format!("{attempt}: the guest does not run")));
            }
            _ => {}
        }
        let deadline = Deadline::after(PAUSE_TIMEOUT);
        let outcome = self.request("suspend", &[], deadline);
        let paused = |state: &Status| *state == Status::Paused || is_stopped(state);
        let seen = self.wait_until(outcome, deadline, &attempt, paused)?;
        match seen {
            Some(seen) if seen.status == Status::Paused => Ok(seen),
            Some(seen) => Err(Error::conflict(format!(
                "{attempt}: another client stopped it, it is {}",
                seen.native_status
            ))),
            None => Err(self.still_running(&attempt)),
        }
    }

    /// Stops the guest by force, and aborts a running shutdown.
    fn force(&self, current: &Current, attempt: &str) -> Result<Observation> {
        const OVERRULE: &str = "overrule-shutdown";
        let deadline = Deadline::after(FORCE_TIMEOUT);
        let mut outcome = match current.ha.managed {
            // The high availability manager does not take this parameter.
            true => self.request("stop", &[], deadline),
            false => self.request("stop", &[(OVERRULE, "1")], deadline),
        };
        if outcome.as_ref().is_err_and(|refusal| refusal.refuses_parameter(OVERRULE)) {
            // Since 8.2. The guest's node may be older than the contacted one.
            outcome = self.request("stop", &[], deadline);
        }
        match self.wait_stopped(outcome, deadline, attempt)? {
            Some(seen) => Ok(seen),
            None => Err(self.still_running(attempt)),
        }
    }

    fn wait_stopped(
        &self,
        outcome: Result<End, ApiError>,
        deadline: Deadline,
        attempt: &str,
    ) -> Result<Option<Observation>> {
        self.wait_until(outcome, deadline, attempt, is_stopped)
    }

    /// Queries until the guest is as wanted, at most until the deadline; None if it is not. After
    /// an error its state decides.
    fn wait_until(
        &self,
        outcome: Result<End, ApiError>,
        deadline: Deadline,
        attempt: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Option<Observation>> {
        let mut backoff = self.backoff();
        loop {
            let Some(current) = self.query(attempt)? else { return Ok(Some(self.missing())) };
            if wanted(&self.state(&current)) {
                return Ok(Some(self.observation(&current, None)));
            }
            if let Err(refusal) = outcome {
                return Err(refusal.into_error(attempt));
            }
            if !backoff.wait(deadline) {
                return Ok(None);
            }
        }
    }

    /// Returns whether the guest is suspended to disk instead of shut down.
    fn suspends_to_disk(&self, attempt: &str) -> Result<bool> {
        match (self.stop_method(), self.guest.kind) {
            ((StopMethod::Shutdown, _), _) => Ok(false),
            ((StopMethod::SuspendToDisk, _), Kind::Qemu) => Ok(true),
            // The provider's setting applies only to guests that support it.
            ((StopMethod::SuspendToDisk, false), Kind::Lxc) => Ok(false),
            ((StopMethod::SuspendToDisk, true), Kind::Lxc) => Err(Error::unsupported(format!(
                "{attempt}: Proxmox VE cannot suspend a container to disk; remove its setting `stop`"
            ))),
        }
    }

    fn query(&self, attempt: &str) -> Result<Option<Current>> {
        self.guest.current().map_err(|refusal| refusal.into_error(attempt))
    }

    fn still_running(&self, attempt: &str) -> Error {
        let word = match self.guest.current() {
            Ok(Some(current)) => observe::word(&current).to_owned(),
            _ => "not seen".to_owned(),
        };
        Error::timeout(format!(
            "{attempt}: the platform accepted the request, but the guest is still {word}"
        ))
    }
}

/// The guest did not shut down in time and was not stopped by force.
fn is_shutdown_timeout(refusal: &ApiError) -> bool {
    let text = refusal.text();
    text.contains("powerdown failed") || text.contains("did not stop")
}

fn is_stopped(state: &Status) -> bool {
    matches!(state, Status::Stopped | Status::Missing)
}
