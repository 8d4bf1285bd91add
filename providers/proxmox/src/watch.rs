//! All guests, again and again.
//!
//! The list is made of what each node told some seconds ago. So it only says where to look: a guest
//! that is listed otherwise than it was last seen is looked at itself, and what it says counts.

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

/// Looks at all guests, one after the other.
pub(crate) struct Looks<'a> {
    settings: &'a Settings,
    /// In which state each was when it was last looked at itself.
    seen: BTreeMap<u32, Status>,
}

// === impl Looks ===

impl<'a> Looks<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings, seen: BTreeMap::new() }
    }

    /// Every guest under each handle that an operator may have written for it. Those that were
    /// started and have told no address yet are asked for it.
    pub(crate) fn look(&mut self) -> Result<Vec<Observation>> {
        let all = guest::all().map_err(|refusal| refusal.into_error("watch guests"))?;
        let awaited = awaited::all();
        let mut seen = Vec::new();
        for resource in &all {
            let Resource { kind, node, vmid, .. } = resource;
            let wanted = awaited.iter().find(|it| it.vmid == *vmid);
            let now = match wanted.and_then(|it| self.reached(it)) {
                Some(found) => {
                    self.seen.insert(*vmid, found.status.clone());
                    found
                }
                None => self.checked(resource),
            };
            for handle in [format!("{kind}/{vmid}"), format!("{node}/{vmid}")] {
                seen.push(Observation { handle, ..now.clone() });
            }
            seen.push(now);
        }
        self.seen.retain(|vmid, _| all.iter().any(|resource| resource.vmid == *vmid));
        Ok(seen)
    }

    /// What an awaited guest is now, if it can be found out.
    fn reached(&self, awaited: &Awaited) -> Option<Observation> {
        let target = Target {
            handle: awaited.vmid.to_string(),
            settings: TargetSettings { networks: awaited.networks.clone(), ..Default::default() },
            attributes: Vec::new(),
        };
        Control::find("watch", self.settings, &target).ok()??.status().ok()
    }

    /// What a listed guest is, by itself where the list and the last look do not agree.
    fn checked(&mut self, resource: &Resource) -> Observation {
        let mut listed = observe::listed(resource.vmid.to_string(), resource);
        let agreed = self.seen.get(&resource.vmid) == Some(&listed.status);
        // Of a node that is down nobody knows anything, and templates do not run.
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
