//! Cache of guest locations. An outdated entry is detected and looked up again.

use drowse_provider_sdk::memo;

use crate::{
    answer::Resource,
    handle::{Kind, is_node},
};

const KEY: &str = "guests";

/// Maximum size of a cache value, in bytes.
const MAX_SIZE: usize = 16 << 10;

/// Kind and node of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) vmid: u32,
    pub(crate) kind: Kind,
    pub(crate) node: String,
}

// === impl Location ===

impl Location {
    /// Location of a listed resource; None if it is no guest.
    pub(crate) fn of(resource: &Resource) -> Option<Self> {
        let kind = Kind::parse(&resource.kind)?;
        let node = resource.node.clone();
        is_node(&node).then_some(Self { vmid: resource.vmid, kind, node })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let vmid = words.next()?.parse().ok()?;
        let (kind, node) = (Kind::parse(words.next()?)?, words.next()?.to_owned());
        is_node(&node).then_some(Self { vmid, kind, node })
    }
}

/// Last known location of this guest.
pub(crate) fn location_of(vmid: u32) -> Option<Location> {
    let all = memo::text(KEY)?;
    all.lines().filter_map(Location::parse).find(|location| location.vmid == vmid)
}

/// Caches the locations; of more than about a thousand only those that fit.
pub(crate) fn remember(locations: &[Location]) {
    let mut text = String::new();
    for Location { vmid, kind, node } in locations {
        let line = format!("{vmid} {kind} {node}\n");
        if text.len() + line.len() > MAX_SIZE {
            break;
        }
        text.push_str(&line);
    }
    memo::set(KEY, text);
}
