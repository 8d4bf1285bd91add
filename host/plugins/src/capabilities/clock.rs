//! Time: the guest has no other clock.

use std::time::Duration;

use crate::{bindings::clock, scope, store::HostState};

/// Longest wait in one call: nobody waits longer for a provider, and the runtime's clock can hold
/// it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl clock::Host for HostState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(scope::wall_clock())
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        Ok(self.scope.tenant.monotonic())
    }

    async fn sleep(&mut self, nanoseconds: u64) -> wasmtime::Result<()> {
        self.outside("clock.sleep")?;
        tokio::time::sleep(Duration::from_nanos(nanoseconds).min(LONGEST)).await;
        Ok(())
    }
}
