//! One guest under control: found, looked at, asked to do something.

use drowse_provider_sdk::{Error, Observation, Result, Status, Target, clock::Deadline};
use ipnet::IpNet;

use crate::{
    address::{self, Reach},
    answer::Current,
    api::Refusal,
    awaited::{self, Awaited},
    config::Config,
    guest::Guest,
    handle::Handle,
    observe,
    pace::Pace,
    settings::{Settings, StopMethod, TargetSettings},
    task::{End, Task},
};

/// A guest and what the operator says of it.
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
    pub(crate) fn present(
        verb: &str,
        settings: &'a Settings,
        target: &'a Target<TargetSettings>,
    ) -> Result<Self> {
        Self::find(verb, settings, target)?.ok_or_else(|| {
            Error::not_found(format!("{verb} guest {:?}: there is no such guest", target.handle))
        })
    }

    /// What it is now, with labels and, if it runs, addresses.
    pub(crate) fn status(&self) -> Result<Observation> {
        let attempt = self.attempt("look at");
        let told = |refusal: Refusal| refusal.into_error(&attempt);
        let Some(current) = self.guest.current().map_err(told)? else {
            return Ok(Observation::missing(&self.target.handle));
        };
        let config = self.guest.config().map_err(told)?;
        let mut seen = self.observed(&current, Some(&config));
        if seen.status == Status::Running {
            match self.reach(&config)? {
                Reach::At(addresses) => seen.addresses = addresses,
                Reach::NotYet(why) => seen.detail = Some(no_address(&why)),
                Reach::Never(error) => seen.detail = Some(no_address(error.message())),
            }
        }
        if !seen.addresses.is_empty() {
            awaited::remove(self.guest.vmid);
        }
        Ok(seen)
    }

    /// Where it can be reached; the operator's word goes before its own.
    pub(crate) fn reach(&self, config: &Config) -> Result<Reach> {
        Ok(match self.target.settings.address(&self.target.handle)? {
            Some(address) => Reach::At(vec![address]),
            None => address::of(&self.guest, config, self.networks.as_deref()),
        })
    }

    /// Lets `watch` look for its address from now on.
    pub(crate) fn await_address(&self) {
        let networks = self.target.settings.networks.clone();
        awaited::add(Awaited { vmid: self.guest.vmid, networks });
    }

    /// What it is, less its addresses.
    pub(crate) fn observed(&self, current: &Current, config: Option<&Config>) -> Observation {
        let Guest { kind, vmid, .. } = self.guest;
        let mut seen = observe::current(&self.target.handle, kind, vmid, current)
            .with_attribute("node", self.guest.node());
        if let Some(config) = config {
            seen.labels = config.labels();
        }
        seen
    }

    /// It is gone.
    pub(crate) fn missing(&self) -> Observation {
        Observation::missing(&self.target.handle)
    }

    pub(crate) fn state(&self, current: &Current) -> Status {
        observe::state(self.guest.kind, current)
    }

    /// Asks for an action and follows its task, at most until the deadline.
    pub(crate) fn ask(
        &self,
        action: &str,
        form: &[(&str, &str)],
        deadline: Deadline,
    ) -> Result<End, Refusal> {
        let upid: String = self.guest.post(&format!("/status/{action}"), form)?;
        let task = Task::parse(&upid).ok_or_else(|| {
            Refusal::Unheard(Error::internal(format!("{action}: {upid:?} is not a task")))
        })?;
        task.follow(self.pace(), deadline)
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.settings)
    }

    /// How it is stopped.
    pub(crate) fn stop_method(&self) -> (StopMethod, bool) {
        let own = self.target.settings.stop;
        (own.unwrap_or(self.settings.stop), own.is_some())
    }

    /// `start lxc/100 on pve1`
    pub(crate) fn attempt(&self, verb: &str) -> String {
        format!("{verb} {}", self.guest.title())
    }
}

/// What is told of one that runs and cannot be reached.
pub(crate) fn no_address(why: &str) -> String {
    format!("it runs, and nobody knows its address: {why}")
}
