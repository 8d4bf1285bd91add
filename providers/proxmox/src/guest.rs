//! One guest: found by its number, and found again after it has moved.

use std::cell::RefCell;

use drowse_provider_sdk::{Error, encode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    answer::{Current, Resource},
    api::{self, Refusal},
    config::Config,
    handle::{Handle, Kind},
    memory::{self, Place},
};

/// What is needed to see a guest.
const AUDIT: &str = "VM.Audit";

/// A guest that was found.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) vmid: u32,
    pub(crate) kind: Kind,
    node: RefCell<String>,
}

/// Every guest that the token may see. Remembers where they are.
pub(crate) fn all() -> Result<Vec<Resource>, Refusal> {
    let mut all: Vec<Resource> = api::get("/cluster/resources", &[("type", "vm")])?;
    all.retain(|resource| Place::of(resource).is_some());
    all.sort_by_key(|resource| resource.vmid);
    let places: Vec<Place> = all.iter().filter_map(Place::of).collect();
    memory::remember(&places);
    Ok(all)
}

// === impl Guest ===

impl Guest {
    /// The guest of this number. None if there is none; an error when the token would not see it.
    pub(crate) fn find(handle: Handle, attempt: &str) -> Result<Option<Self>, Error> {
        let told = |refusal: Refusal| refusal.into_error(attempt);
        let place = match memory::recall(handle.vmid) {
            Some(place) => Some(place),
            None => look_up(handle.vmid).map_err(told)?,
        };
        let Some(Place { vmid, kind, node }) = place else {
            let path = format!("/vms/{}", handle.vmid);
            let query = [("path", path.as_str())];
            let held: Map<String, Value> = api::get("/access/permissions", &query).map_err(told)?;
            if held.values().any(|on| on.get(AUDIT).is_some()) {
                return Ok(None);
            }
            return Err(Error::denied(format!(
                "{attempt}: there is no guest {} that the token may see: either it does not exist, \
                 or the token, or the user it belongs to, lacks {AUDIT} on {path}",
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

    /// The guest that was listed. None of what is no guest.
    pub(crate) fn listed(resource: &Resource) -> Option<Self> {
        let Place { vmid, kind, node } = Place::of(resource)?;
        Some(Self { vmid, kind, node: RefCell::new(node) })
    }

    /// `lxc/100 on pve1`, for messages.
    pub(crate) fn title(&self) -> String {
        format!("{}/{} on {}", self.kind, self.vmid, self.node.borrow())
    }

    /// The node it was seen on last.
    pub(crate) fn node(&self) -> String {
        self.node.borrow().clone()
    }

    /// What it is now. None when it is gone.
    pub(crate) fn current(&self) -> Result<Option<Current>, Refusal> {
        match self.get("/status/current") {
            Ok(current) => Ok(Some(current)),
            Err(refusal) if refusal.is_missing() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Its configuration as it runs.
    pub(crate) fn config(&self) -> Result<Config, Refusal> {
        // Without the word, what is only going to be so counts already.
        self.get("/config?current=1").map(|values| Config::new(self.kind, values))
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, tail: &str) -> Result<T, Refusal> {
        self.wherever(|path| api::get(&format!("{path}{tail}"), &[]))
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        tail: &str,
        form: &[(&str, &str)],
    ) -> Result<T, Refusal> {
        self.wherever(|path| api::post(&format!("{path}{tail}"), form))
    }

    /// Asks where it was last, and once more where it is if it has moved meanwhile.
    fn wherever<T>(&self, ask: impl Fn(&str) -> Result<T, Refusal>) -> Result<T, Refusal> {
        match ask(&self.path()) {
            Err(refusal) if refusal.is_elsewhere() => match look_up(self.vmid)? {
                Some(found) if found.kind == self.kind && found.node != self.node() => {
                    self.node.replace(found.node);
                    ask(&self.path())
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

fn look_up(vmid: u32) -> Result<Option<Place>, Refusal> {
    Ok(all()?.iter().find(|resource| resource.vmid == vmid).and_then(Place::of))
}
