//! Watches guests by polling.
//!
//! The list consists of reports that each node sent some seconds ago, so it only triggers a query:
//! a guest whose listed status differs from the last known one is queried itself.

use std::collections::BTreeMap;

use drowse_provider_sdk::{Observation, Result, Status, Target};

use crate::{
    answer::Resource,
    awaited::{self, Awaited},
    control::Control,
    guest::{self, Guest},
    observe,
    settings::{Settings, TargetSettings},
};

/// Polls all guests.
pub(crate) struct Poller<'a> {
    settings: &'a Settings,
    /// Status of each guest when it was last queried itself.
    seen: BTreeMap<u32, Status>,
}

// === impl Poller ===

impl<'a> Poller<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings, seen: BTreeMap::new() }
    }

    /// Observes every guest under each handle that an operator may use. Started guests without an
    /// address are queried for it.
    pub(crate) fn poll(&mut self) -> Result<Vec<Observation>> {
        let all = guest::all().map_err(|refusal| refusal.into_error("watch guests"))?;
        let awaited = awaited::all();
        let mut seen = Vec::new();
        for resource in &all {
            let Resource { kind, node, vmid, .. } = resource;
            let wanted = awaited.iter().find(|it| it.vmid == *vmid);
            let now = match wanted.and_then(|it| self.query_awaited(it)) {
                Some(found) => {
                    self.seen.insert(*vmid, found.status.clone());
                    found
                }
                None => self.observe_listed(resource),
            };
            for handle in [format!("{kind}/{vmid}"), format!("{node}/{vmid}")] {
                seen.push(Observation { handle, ..now.clone() });
            }
            seen.push(now);
        }
        self.seen.retain(|vmid, _| all.iter().any(|resource| resource.vmid == *vmid));
        Ok(seen)
    }

    /// Current state of a guest that is polled for its address, if available.
    fn query_awaited(&self, awaited: &Awaited) -> Option<Observation> {
        let target = Target {
            handle: awaited.vmid.to_string(),
            settings: TargetSettings { networks: awaited.networks.clone(), ..Default::default() },
            attributes: Vec::new(),
        };
        Control::find("watch", self.settings, &target).ok()??.status().ok()
    }

    /// Observation of a listed guest; queries the guest where list and last known status differ.
    fn observe_listed(&mut self, resource: &Resource) -> Observation {
        let mut listed = observe::listed(resource.vmid.to_string(), resource);
        let agreed = self.seen.get(&resource.vmid) == Some(&listed.status);
        // The state of guests on a node that is down is unknown, and templates do not run.
        if agreed || resource.template || matches!(listed.status, Status::Other(_)) {
            return listed;
        }
        let Some(guest) = Guest::listed(resource) else { return listed };
        if let Ok(Some(current)) = guest.current() {
            listed.status = observe::state(guest.kind, &current);
            listed.native_status = observe::word(&current).to_owned();
            self.seen.insert(resource.vmid, listed.status.clone());
        }
        listed
    }
}
