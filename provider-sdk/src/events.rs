//! Reports of [`Provider::watch`](crate::Provider::watch). No effect in other calls.

use std::time::Duration;

use crate::{
    host,
    words::{Event, Observation},
};

/// Reports the current state of a target. Waits while the host is busy.
pub fn emit(observation: Observation) {
    emit_at(observation, Duration::ZERO);
}

/// Reports the current state of a target, with the time of the change since the epoch by the
/// platform's clock.
pub fn emit_at(observation: Observation, at: Duration) {
    let at = u64::try_from(at.as_nanos()).unwrap_or(0);
    host::emit(&Event { observation, at, attributes: Vec::new() });
}

/// Reports that the provider sees every change from now on. Earlier changes may have been missed,
/// so the host queries its targets again. Call it at the start and after each gap.
pub fn synced() {
    host::synced();
}
