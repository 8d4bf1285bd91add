//! Events that `watch` reports.

use std::time::{Duration, Instant};

use drowse_core::ProviderEvent;

use crate::{
    bindings::{events, types},
    store::HostState,
    validate::{self, Origin},
};

impl events::Host for HostState {
    async fn emit(&mut self, event: types::Event) -> wasmtime::Result<()> {
        self.require_call_phase("events.emit")?;
        if self.events.is_none() {
            return Ok(());
        }
        let context = self.context().clone();
        let origin = Origin { operation: "watch", settings: None };
        let seen = validate::observation(&context, origin, event.observation);
        let seen = seen.map_err(|fault| self.broke(fault))?;
        let wait = self.emitted.charge(1, Instant::now());
        self.report(ProviderEvent::Changed(seen), wait).await
    }

    async fn synced(&mut self) -> wasmtime::Result<()> {
        self.require_call_phase("events.synced")?;
        if self.events.is_some() {
            self.context().health.reached();
        }
        let wait = self.synced.charge(1, Instant::now());
        self.report(ProviderEvent::Synced, wait).await
    }
}

impl HostState {
    /// Sends an event to the host after `wait`, the delay owed for earlier events, and blocks while
    /// the event channel is full. Ignored outside `watch`.
    async fn report(&mut self, event: ProviderEvent, wait: Duration) -> wasmtime::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // The receiver is gone; the supervisor is about to drop this instance.
        events
            .send(event)
            .await
            .map_err(|_| wasmtime::Error::msg("the receiver of watch events is closed"))
    }
}
