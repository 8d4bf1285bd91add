//! Where `watch` reports.

use std::time::Instant;

use drowse_core::ProviderEvent;

use crate::{
    bindings::{events, types},
    convert,
    store::HostState,
};

impl events::Host for HostState {
    async fn emit(&mut self, event: types::Event) -> wasmtime::Result<()> {
        self.report(ProviderEvent::Changed(convert::observation(event.observation))).await
    }

    async fn synced(&mut self) -> wasmtime::Result<()> {
        self.report(ProviderEvent::Synced).await
    }
}

impl HostState {
    /// Hands an event to the host and waits while it is behind. Ignored outside `watch`.
    async fn report(&mut self, event: ProviderEvent) -> wasmtime::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        let wait = self.emitted.owe(1, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // Nobody listens any more: the supervisor is about to drop this instance.
        events
            .send(event)
            .await
            .map_err(|_| wasmtime::Error::msg("nobody listens to watch any more"))
    }
}
