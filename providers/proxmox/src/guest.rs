//! One guest: found by its VMID, and found again after a migration.

use std::cell::RefCell;

use drowse_provider_sdk::{Error, encode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    answer::{Current, Resource},
    api::{self, ApiError},
    config::Config,
    handle::{Handle, Kind},
    location_cache::{self, Location},
};

/// Privilege to see a guest.
const AUDIT: &str = "VM.Audit";

/// A guest that was found.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) vmid: u32,
    pub(crate) kind: Kind,
    node: RefCell<String>,
}

/// Every guest that the token may see. Caches their locations.
pub(crate) fn all() -> Result<Vec<Resource>, ApiError> {
    let mut all: Vec<Resource> = api::get("/cluster/resources", &[("type", "vm")])?;
    all.retain(|resource| Location::of(resource).is_some());
    all.sort_by_key(|resource| resource.vmid);
    let locations: Vec<Location> = all.iter().filter_map(Location::of).collect();
    location_cache::remember(&locations);
    Ok(all)
}

// === impl Guest ===

impl Guest {
    /// The guest of this VMID. None if there is none; an error if the token could not see it.
    pub(crate) fn find(handle: Handle, attempt: &str) -> Result<Option<Self>, Error> {
        let to_error = |refusal: ApiError| refusal.into_error(attempt);
        let location = match location_cache::location_of(handle.vmid) {
            Some(location) => Some(location),
            None => look_up(handle.vmid).map_err(to_error)?,
        };
        let Some(Location { vmid, kind, node }) = location else {
            let path = format!("/vms/{}", handle.vmid);
            let query = [("path", path.as_str())];
            let privileges: Map<String, Value> =
                api::get("/access/permissions", &query).map_err(to_error)?;
            if privileges.values().any(|on| on.get(AUDIT).is_some()) {
                return Ok(None);
            }
            return Err(Error::denied(format!(
                "{attempt}: the token sees no guest {}: either it does not exist, or the token or its \
                 user lacks {AUDIT} on {path}",
                handle.vmid
            )));
        };
        if let Some(wanted) = handle.kind.filter(|wanted| *wanted != kind) {
            return Err(Error::invalid_request(format!(
                "{attempt}: guest {vmid} is {kind}, not {wanted}"
            )));
        }
        Ok(Some(Self { vmid, kind, node: RefCell::new(node) }))
    }

    /// The guest of a listed resource; None if the resource is no guest.
    pub(crate) fn listed(resource: &Resource) -> Option<Self> {
        let Location { vmid, kind, node } = Location::of(resource)?;
        Some(Self { vmid, kind, node: RefCell::new(node) })
    }

    /// `lxc/100 on pve1`, for messages.
    pub(crate) fn title(&self) -> String {
        format!("{}/{} on {}", self.kind, self.vmid, self.node.borrow())
    }

    /// The node on which it was last seen.
    pub(crate) fn node(&self) -> String {
        self.node.borrow().clone()
    }

    /// Current status; None if the guest is gone.
    pub(crate) fn current(&self) -> Result<Option<Current>, ApiError> {
        match self.get("/status/current") {
            Ok(current) => Ok(Some(current)),
            Err(refusal) if refusal.is_missing() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Its active configuration.
    pub(crate) fn config(&self) -> Result<Config, ApiError> {
        // Without `current` the API includes pending changes.
        self.get("/config?current=1").map(|values| Config::new(self.kind, values))
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, tail: &str) -> Result<T, ApiError> {
        self.on_current_node(|path| api::get(&format!("{path}{tail}"), &[]))
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        tail: &str,
        form: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        self.on_current_node(|path| api::post(&format!("{path}{tail}"), form))
    }

    /// Sends to the last known node, and once more to the new one if the guest was migrated.
    fn on_current_node<T>(
        &self,
        send: impl Fn(&str) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        match send(&self.path()) {
            Err(refusal) if refusal.is_moved() => match look_up(self.vmid)? {
                Some(found) if found.kind == self.kind && found.node != self.node() => {
                    self.node.replace(found.node);
                    send(&self.path())
                }
                _ => Err(refusal),
            },
            answer => answer,
        }
    }

    fn path(&self) -> String {
        format!("/nodes/{}/{}/{}", encode(&self.node.borrow()), self.kind, self.vmid)
    }
}

fn look_up(vmid: u32) -> Result<Option<Location>, ApiError> {
    Ok(all()?.iter().find(|resource| resource.vmid == vmid).and_then(Location::of))
}
