//! Where guests were seen last. It is only a short cut: what is wrong in it is found out anew.

use drowse_provider_sdk::memo;

use crate::{
    answer::Resource,
    handle::{Kind, is_node},
};

const KEY: &str = "guests";

/// What fits into one value of the memo.
const SIZE: usize = 16 << 10;

/// Where a guest lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) vmid: u32,
    pub(crate) kind: Kind,
    pub(crate) node: String,
}

// === impl Place ===

impl Place {
    /// Where a listed guest lives. None of what is no guest.
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

/// Where this guest was seen last.
pub(crate) fn recall(vmid: u32) -> Option<Place> {
    let all = memo::text(KEY)?;
    all.lines().filter_map(Place::parse).find(|place| place.vmid == vmid)
}

/// Keeps where all these are; of more than about a thousand, those that fit.
pub(crate) fn remember(places: &[Place]) {
    let mut text = String::new();
    for Place { vmid, kind, node } in places {
        let line = format!("{vmid} {kind} {node}\n");
        if text.len() + line.len() > SIZE {
            break;
        }
        text.push_str(&line);
    }
    memo::set(KEY, text);
}
