//! Started guests without an address in time. `watch` polls them until they have one: a virtual
//! machine may boot for minutes before its agent answers.

use std::time::Duration;

use drowse_provider_sdk::{clock, memo};
use serde::{Deserialize, Serialize};

const KEY: &str = "awaited";

/// Time for which a guest is polled.
const LIFETIME: Duration = Duration::from_secs(600);

/// Maximum number of guests; older ones are dropped.
const MAX_GUESTS: usize = 32;

/// A guest, and the filter of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Awaited {
    pub(crate) vmid: u32,
    /// The workload's own setting.
    pub(crate) networks: Option<Vec<String>>,
}

/// Starts polling this guest.
pub(crate) fn add(guest: Awaited) {
    let until = clock::since_epoch().saturating_add(LIFETIME).as_secs();
    let mut all = read();
    all.retain(|(other, _)| other.vmid != guest.vmid);
    all.insert(0, (guest, until));
    all.truncate(MAX_GUESTS);
    write(&all);
}

/// Stops polling this guest.
pub(crate) fn remove(vmid: u32) {
    let mut all = read();
    let before = all.len();
    all.retain(|(other, _)| other.vmid != vmid);
    if all.len() != before {
        write(&all);
    }
}

/// The guests to poll.
pub(crate) fn all() -> Vec<Awaited> {
    read().into_iter().map(|(guest, _)| guest).collect()
}

fn read() -> Vec<(Awaited, u64)> {
    let now = clock::since_epoch().as_secs();
    let cached = memo::get(KEY).and_then(|cached| serde_json::from_slice(&cached).ok());
    let mut all: Vec<(Awaited, u64)> = cached.unwrap_or_default();
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
