//! Control of one guest: find, query, request actions.

use drowse_provider_sdk::{Error, Observation, Result, Status, Target, clock::Deadline};
use ipnet::IpNet;

use crate::{
    address::{self, Lookup},
    answer::Current,
    api::ApiError,
    awaited::{self, Awaited},
    backoff::Backoff,
    config::Config,
    guest::Guest,
    handle::Handle,
    observe,
    settings::{Settings, StopMethod, TargetSettings},
    task::{End, Task},
};

/// A guest and the operator's settings for it.
pub(crate) struct Control<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) guest: Guest,
    target: &'a Target<TargetSettings>,
    networks: Option<Vec<IpNet>>,
}

// === impl Control ===

impl<'a> Control<'a> {
    /// The guest of this handle, if there is one.
    pub(crate) fn find(
        verb: &str,
        settings: &'a Settings,
        target: &'a Target<TargetSettings>,
    ) -> Result<Option<Self>> {
        let handle = Handle::parse(&target.handle)?;
        let networks = settings.networks(&target.handle, &target.settings)?;
        target.settings.address(&target.handle)?;
        let found = Guest::find(handle, &format!("{verb} guest {:?}", target.handle))?;
        Ok(found.map(|guest| Self { settings, guest, target, networks }))
    }

    /// The guest of this handle; `not-found` if there is none.
    pub(crate) fn get(
        verb: &str,
        settings: &'a Settings,
        target: &'a Target<TargetSettings>,
    ) -> Result<Self> {
        Self::find(verb, settings, target)?.ok_or_else(|| {
            Error::not_found(format!("{verb} guest {:?}: there is no such guest", target.handle))
        })
    }

    /// Current state with labels and, if running, addresses.
    pub(crate) fn status(&self) -> Result<Observation> {
        let attempt = self.attempt("query");
        let to_error = |refusal: ApiError| refusal.into_error(&attempt);
        let Some(current) = self.guest.current().map_err(to_error)? else {
            return Ok(Observation::missing(&self.target.handle));
        };
        let config = self.guest.config().map_err(to_error)?;
        let mut seen = self.observation(&current, Some(&config));
        if seen.status == Status::Running {
            match self.find_addresses(&config)? {
                Lookup::Found(addresses) => seen.addresses = addresses,
                Lookup::NotYet(why) => seen.detail = Some(no_address(&why)),
                Lookup::Never(error) => seen.detail = Some(no_address(error.message())),
            }
        }
        if !seen.addresses.is_empty() {
            awaited::remove(self.guest.vmid);
        }
        Ok(seen)
    }

    /// Addresses of the guest; the operator's setting overrides what the guest reports.
    pub(crate) fn find_addresses(&self, config: &Config) -> Result<Lookup> {
        Ok(match self.target.settings.address(&self.target.handle)? {
            Some(address) => Lookup::Found(vec![address]),
            None => address::of(&self.guest, config, self.networks.as_deref()),
        })
    }

    /// Lets `watch` poll its address from now on.
    pub(crate) fn await_address(&self) {
        let networks = self.target.settings.networks.clone();
        awaited::add(Awaited { vmid: self.guest.vmid, networks });
    }

    /// Observation without addresses.
    pub(crate) fn observation(&self, current: &Current, config: Option<&Config>) -> Observation {
        let Guest { kind, vmid, .. } = self.guest;
        let mut seen = observe::current(&self.target.handle, kind, vmid, current)
            .with_attribute("node", self.guest.node());
        if let Some(config) = config {
            seen.labels = config.labels();
        }
        seen
    }

    /// Observation of a guest that is gone.
    pub(crate) fn missing(&self) -> Observation {
        Observation::missing(&self.target.handle)
    }

    pub(crate) fn state(&self, current: &Current) -> Status {
        observe::state(self.guest.kind, current)
    }

    /// Requests an action and follows its task, at most until the deadline.
    pub(crate) fn request(
        &self,
        action: &str,
        form: &[(&str, &str)],
        deadline: Deadline,
    ) -> Result<End, ApiError> {
        let upid: String = self.guest.post(&format!("/status/{action}"), form)?;
        let task = Task::parse(&upid).ok_or_else(|| {
            ApiError::NoResponse(Error::internal(format!("{action}: {upid:?} is not a task")))
        })?;
        task.follow(self.backoff(), deadline)
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.settings)
    }

    /// Stop method, and whether it is the target's own setting.
    pub(crate) fn stop_method(&self) -> (StopMethod, bool) {
        let own = self.target.settings.stop;
        (own.unwrap_or(self.settings.stop), own.is_some())
    }

    /// `start lxc/100 on pve1`
    pub(crate) fn attempt(&self, verb: &str) -> String {
        format!("{verb} {}", self.guest.title())
    }
}

/// Detail of a running guest without an address.
pub(crate) fn no_address(why: &str) -> String {
    format!("running, but its address is unknown: {why}")
}
