//! Guests that were started and told no address in time. `watch` looks after them until they do:
//! a virtual machine may boot for minutes before its agent answers.

use std::time::Duration;

use drowse_provider_sdk::{clock, memo};
use serde::{Deserialize, Serialize};

const KEY: &str = "awaited";

/// So long one is looked after.
const LONG: Duration = Duration::from_secs(600);

/// So many at a time; the latest count.
const MOST: usize = 32;

/// A guest, and what its addresses are judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Awaited {
    pub(crate) vmid: u32,
    /// The workload's own setting.
    pub(crate) networks: Option<Vec<String>>,
}

/// Looks after this one from now on.
pub(crate) fn add(guest: Awaited) {
    let until = clock::since_epoch().saturating_add(LONG).as_secs();
    let mut all = read();
    all.retain(|(other, _)| other.vmid != guest.vmid);
    all.insert(0, (guest, until));
    all.truncate(MOST);
    write(&all);
}

/// It needs no looking after any more.
pub(crate) fn remove(vmid: u32) {
    let mut all = read();
    let before = all.len();
    all.retain(|(other, _)| other.vmid != vmid);
    if all.len() != before {
        write(&all);
    }
}

/// Those that are looked after.
pub(crate) fn all() -> Vec<Awaited> {
    read().into_iter().map(|(guest, _)| guest).collect()
}

fn read() -> Vec<(Awaited, u64)> {
    let now = clock::since_epoch().as_secs();
    let kept = memo::get(KEY).and_then(|kept| serde_json::from_slice(&kept).ok());
    let mut all: Vec<(Awaited, u64)> = kept.unwrap_or_default();
    all.retain(|(_, until)| *until > now);
    all
}

fn write(all: &[(Awaited, u64)]) {
    match serde_json::to_vec(all) {
        Ok(text) if !all.is_empty() => {
            memo::set(KEY, text);
        }
        _ => memo::delete(KEY),
    }
}
