//! Host state of one instance, and its limits.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use drowse_core::ProviderEvent;
use tokio::sync::{Semaphore, mpsc};
use wasmtime::{ResourceLimiterAsync, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    context::{Grants, ProviderContext},
    cpu_quota::CallCpuQuota,
    fault::Fault,
    guest_memory::Reservation,
    progress::ProgressReporter,
    token_bucket::TokenBucket,
};

/// Maximum elements of a table. Providers use hundreds, mostly function pointers.
const TABLE_ELEMENTS: usize = 100_000;
/// Maximum tables of one instance.
const TABLES: usize = 8;
/// Bytes of one table element.
const TABLE_ELEMENT: u64 = size_of::<usize>() as u64;
/// Maximum open responses of one instance.
const RESPONSES: usize = 8;

/// Maximum resources of one instance: responses, streams and WASI handles.
const HANDLES: usize = 256;
/// Maximum random bytes per WASI call.
const RANDOM: u64 = 64 << 10;
/// Maximum events a second from one `watch`; further ones wait.
const EVENTS: u64 = 5_000;

/// Host state of one instance and its single call.
pub(crate) struct HostState {
    /// Grants and context of the provider.
    pub(crate) grants: Arc<Grants>,
    /// The called operation, as `start` or `watch`.
    pub(crate) operation: &'static str,
    /// The handle the call is about.
    pub(crate) target: Option<String>,
    /// Reports progress to visitors; absent in calls without a target.
    pub(crate) progress: Option<ProgressReporter>,
    /// `describe` or `configure` is running: imports that reach outside are refused.
    pub(crate) initializing: bool,
    /// The fault that ended the instance, if any.
    pub(crate) fault: Option<Fault>,
    /// The last error line that the guest logged: its panic message, if it panics.
    pub(crate) last_error: Option<String>,
    /// Receives the events of `watch`; absent in every other call.
    pub(crate) events: Option<mpsc::Sender<ProviderEvent>>,
    /// Resources that the guest holds.
    pub(crate) table: ResourceTable,
    /// Permits for further open responses.
    pub(crate) held: Arc<Semaphore>,
    pub(crate) cpu_quota: Arc<CallCpuQuota>,
    /// Rate limit of events from `watch`.
    pub(crate) emitted: TokenBucket,
    /// Rate limit of `synced` from `watch`: each one queries the status of every target.
    pub(crate) synced: TokenBucket,
    /// Rate limit of response bytes that `watch` reads.
    pub(crate) received: TokenBucket,
    /// Bytes of memories and tables, drawn from the shared limit of all guests.
    memory: Reservation,
    /// Created on the first WASI call.
    wasi: Option<WasiCtx>,
}

// === impl HostState ===

impl HostState {
    /// The state of a new instance for one operation.
    pub(crate) fn new(grants: Arc<Grants>, operation: &'static str, target: Option<&str>) -> Self {
        let cpu_budget = grants.context.cpu_budget.clone();
        let cpu_quota = Arc::new(CallCpuQuota::new(grants.limits().cpu, Some(cpu_budget)));
        let mut table = ResourceTable::new();
        let (now, received) = (Instant::now(), grants.limits().response);
        table.set_max_capacity(HANDLES);
        let progress = target.map(|target| grants.context.progress.begin_call(target));
        let memory = grants.context.memory.reserve();
        Self {
            grants,
            operation,
            target: target.map(str::to_owned),
            progress,
            initializing: true,
            fault: None,
            last_error: None,
            events: None,
            table,
            cpu_quota,
            emitted: TokenBucket::new(EVENTS, now),
            synced: TokenBucket::new(1, now),
            held: Arc::new(Semaphore::new(RESPONSES)),
            received: TokenBucket::new(received, now),
            memory,
            wasi: None,
        }
    }

    /// `start blog`, `list`
    pub(crate) fn operation_label(&self) -> String {
        match &self.target {
            Some(target) => format!("{} {}", self.operation, crate::text::sanitize(target, 128)),
            None => self.operation.to_owned(),
        }
    }

    /// The provider that the instance runs for.
    pub(crate) fn context(&self) -> &Arc<ProviderContext> {
        &self.grants.context
    }

    /// Ends the instance with a fault if `describe` or `configure` is still running.
    pub(crate) fn require_call_phase(&mut self, function: &'static str) -> wasmtime::Result<()> {
        if self.initializing { Err(self.broke(Fault::Initializing(function))) } else { Ok(()) }
    }

    /// Limits response bytes: `size` more were read, `taken` in total from this response. `watch`
    /// is delayed, any other call fails above the limit.
    pub(crate) async fn receive(&mut self, size: usize, taken: u64) -> wasmtime::Result<()> {
        let allowed = self.grants.limits().response;
        if self.events.is_some() {
            // `watch` reads endlessly, so it is slowed down; the peer sees backpressure.
            let wait = self.received.charge(size as u64, Instant::now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        } else if taken > allowed {
            return Err(self.broke(Fault::Response(allowed)));
        }
        Ok(())
    }

    /// Records the fault; returning the error from a host function ends the instance.
    pub(crate) fn broke(&mut self, fault: Fault) -> wasmtime::Error {
        let error = wasmtime::Error::new(fault.clone());
        self.fault.get_or_insert(fault);
        error
    }
}

impl HostState {
    /// Reserves bytes for a memory or table. The limits apply to the sum of one instance and to the
    /// sum of all.
    async fn take(&mut self, more: u64) -> wasmtime::Result<bool> {
        if self.memory.bytes().saturating_add(more) > self.grants.limits().memory {
            let fault = Fault::Memory(self.grants.limits().memory);
            return Err(self.broke(fault));
        }
        if !self.memory.grow(more).await {
            let fault = Fault::Ceiling(self.context().memory.limit());
            return Err(self.broke(fault));
        }
        Ok(true)
    }
}

#[async_trait]
impl ResourceLimiterAsync for HostState {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.take((desired as u64).saturating_sub(current as u64)).await
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            return Err(self.broke(Fault::Table(TABLE_ELEMENTS)));
        }
        // Tables count as memory.
        self.take(desired.saturating_sub(current) as u64 * TABLE_ELEMENT).await
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        16
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // No arguments, environment, directories or sockets; standard streams are closed.
        let ctx = self.wasi.get_or_insert_with(|| {
            let mut wasi = WasiCtx::builder();
            wasi.allow_tcp(false).allow_udp(false).max_random_size(RANDOM).build()
        });
        WasiCtxView { ctx, table: &mut self.table }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> HostState {
        let grants = Grants::new(Arc::new(ProviderContext::without_grants("test")), &[]);
        HostState::new(Arc::new(grants), "start", None)
    }

    #[tokio::test]
    async fn tables_count_as_memory() {
        let mut state = state();
        let limit = state.grants.limits().memory;
        let table = TABLE_ELEMENTS as u64 * TABLE_ELEMENT;
        for _ in 0..limit / table {
            assert!(state.table_growing(0, TABLE_ELEMENTS, None).await.unwrap());
        }
        assert!(state.table_growing(0, TABLE_ELEMENTS, None).await.is_err());
        assert_eq!(state.fault, Some(Fault::Memory(limit)));
    }

    #[tokio::test]
    async fn memories_count_together() {
        let mut state = state();
        let half = usize::try_from(state.grants.limits().memory / 2).unwrap();
        assert!(state.memory_growing(0, half, None).await.unwrap());
        assert!(state.memory_growing(0, half, None).await.unwrap());
        assert!(state.memory_growing(half, half + 1, None).await.is_err());
    }

    #[test]
    fn imports_are_refused_before_the_call_phase() {
        let mut state = state();
        assert!(state.require_call_phase("http.send").is_err());
        assert_eq!(state.fault, Some(Fault::Initializing("http.send")));
    }
}
