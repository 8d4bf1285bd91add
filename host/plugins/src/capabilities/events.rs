//! Where `watch` reports.

use std::time::{Duration, Instant};

use drowse_core::ProviderEvent;

use crate::{
    bindings::{events, types},
    observed::{self, Origin},
    store::HostState,
};

impl events::Host for HostState {
    async fn emit(&mut self, event: types::Event) -> wasmtime::Result<()> {
        self.outside("events.emit")?;
        if self.events.is_none() {
            return Ok(());
        }
        let tenant = self.scope.tenant.clone();
        let origin = Origin { doing: "watch", settings: None };
        let seen = observed::observation(&tenant, origin, event.observation);
        let seen = seen.map_err(|fault| self.broke(fault))?;
        let wait = self.emitted.owe(1, Instant::now());
        self.report(ProviderEvent::Changed(seen), wait).await
    }

    async fn synced(&mut self) -> wasmtime::Result<()> {
        self.outside("events.synced")?;
        if self.events.is_some() {
            self.scope.tenant.health.reached();
        }
        let wait = self.synced.owe(1, Instant::now());
        self.report(ProviderEvent::Synced, wait).await
    }
}

impl HostState {
    /// Hands an event to the host and waits while it is behind, first for so long because of what
    /// came before. Ignored outside `watch`.
    async fn report(&mut self, event: ProviderEvent, wait: Duration) -> wasmtime::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
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
