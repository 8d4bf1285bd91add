//! Wall clock, monotonic clock and sleep: the only clocks a guest has.

use std::time::Duration;

use crate::{bindings::clock, store::HostState, time};

/// Maximum sleep in one call; every call's wall limit is shorter, and tokio's timer can represent
/// it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl clock::Host for HostState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(time::wall_clock())
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        Ok(self.context().monotonic())
    }

    async fn sleep(&mut self, nanoseconds: u64) -> wasmtime::Result<()> {
        self.require_call_phase("clock.sleep")?;
        tokio::time::sleep(Duration::from_nanos(nanoseconds).min(LONGEST)).await;
        Ok(())
    }
}
