//! Where [`Provider::watch`](crate::Provider::watch) reports. Elsewhere these do nothing.

use std::time::Duration;

use crate::{
    host,
    words::{Event, Observation},
};

/// What this target is now. Waits while the host is behind.
pub fn emit(observation: Observation) {
    emit_at(observation, Duration::ZERO);
}

/// What this target is now, with the time since the epoch of the change by the platform's clock.
pub fn emit_at(observation: Observation, at: Duration) {
    let at = u64::try_from(at.as_nanos()).unwrap_or(0);
    host::emit(&Event { observation, at, attributes: Vec::new() });
}

/// The provider now sees every change from here on; what happened before may have been missed, so
/// the host asks for the state of its targets again. Once at the start and after each gap.
pub fn synced() {
    host::synced();
}
