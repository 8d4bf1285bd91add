//! What the host keeps beside one instance, and what bounds it.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use drowse_core::ProviderEvent;
use tokio::sync::{Semaphore, mpsc};
use wasmtime::{ResourceLimiterAsync, Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    fault::Fault, guest_memory::Reservation, meter::Meter, rate::Bucket, runtime::Flavour,
    said::Saying, scope::Scope,
};

/// Function pointers and the like; a provider has hundreds.
const TABLE_ELEMENTS: usize = 100_000;
/// Tables of one instance.
const TABLES: usize = 8;
/// Bytes of one element.
const TABLE_ELEMENT: u64 = size_of::<usize>() as u64;
/// Responses that an instance holds at a time.
const RESPONSES: usize = 8;

/// Responses and WASI handles that a guest may hold at a time.
const HANDLES: usize = 256;
/// Random bytes that a component gets of WASI at once.
const RANDOM: u64 = 64 << 10;
/// Events a second from one `watch`; more wait.
const EVENTS: u64 = 5_000;

/// What belongs to one instance and its one call.
pub(crate) struct HostState {
    /// Whom it works for.
    pub(crate) scope: Arc<Scope>,
    /// What it was asked: `start`, `watch`.
    pub(crate) operation: &'static str,
    /// The handle the call is about.
    pub(crate) target: Option<String>,
    /// For whoever waits for the call; absent where it is about no target.
    pub(crate) saying: Option<Saying>,
    /// It is being asked what it is or being configured: it may not call or wait for anything.
    pub(crate) inside: bool,
    /// How it broke, if it did.
    pub(crate) fault: Option<Fault>,
    /// The last line it logged as an error: a panic hook's, if it panics.
    pub(crate) last_error: Option<String>,
    /// Where `watch` reports; absent in every other call.
    pub(crate) events: Option<mpsc::Sender<ProviderEvent>>,
    /// Responses that the guest holds, among other things.
    pub(crate) table: ResourceTable,
    /// As many responses more as the guest may hold.
    pub(crate) held: Arc<Semaphore>,
    pub(crate) meter: Arc<Meter>,
    /// Events that `watch` emits in a second.
    pub(crate) emitted: Bucket,
    /// How often `watch` may say in a second that it may have missed something: each time every
    /// target is looked at.
    pub(crate) synced: Bucket,
    /// Bytes of responses that `watch` reads in a second.
    pub(crate) received: Bucket,
    /// Its memories and tables, of which all guests together have only so much.
    memory: Reservation,
    /// Made when a component first asks for something of WASI.
    wasi: Option<WasiCtx>,
}

// === impl HostState ===

impl HostState {
    /// The state of an instance that is made for one operation.
    pub(crate) fn new(scope: Arc<Scope>, operation: &'static str, target: Option<&str>) -> Self {
        let account = scope.tenant.account.clone();
        let meter = Arc::new(Meter::new(scope.limits().cpu, Some(account)));
        let mut table = ResourceTable::new();
        let (now, received) = (Instant::now(), scope.limits().response);
        table.set_max_capacity(HANDLES);
        let saying = target.map(|target| scope.tenant.said.begin(target));
        let memory = scope.tenant.memory.reserve();
        Self {
            scope,
            operation,
            target: target.map(str::to_owned),
            saying,
            inside: true,
            fault: None,
            last_error: None,
            events: None,
            table,
            meter,
            emitted: Bucket::new(EVENTS, now),
            synced: Bucket::new(1, now),
            held: Arc::new(Semaphore::new(RESPONSES)),
            received: Bucket::new(received, now),
            memory,
            wasi: None,
        }
    }

    /// `start blog`, `list`
    pub(crate) fn doing(&self) -> String {
        match &self.target {
            Some(target) => format!("{} {}", self.operation, crate::fault::clean(target, 128)),
            None => self.operation.to_owned(),
        }
    }

    /// Breaks the instance when it is not in a call that may use what is outside.
    pub(crate) fn outside(&mut self, function: &'static str) -> wasmtime::Result<()> {
        if self.inside { Err(self.broke(Fault::Outside(function))) } else { Ok(()) }
    }

    /// Bounds what arrives: `size` more bytes of a response of which it has `taken` so many now.
    pub(crate) async fn receive(&mut self, size: usize, taken: u64) -> wasmtime::Result<()> {
        let allowed = self.scope.limits().response;
        if self.events.is_some() {
            // `watch` reads for ever: too fast is slowed down, which its peer notices.
            let wait = self.received.owe(size as u64, Instant::now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        } else if taken > allowed {
            return Err(self.broke(Fault::Response(allowed)));
        }
        Ok(())
    }

    /// Notes how it broke; returning the error from a host function ends the instance.
    pub(crate) fn broke(&mut self, fault: Fault) -> wasmtime::Error {
        let error = wasmtime::Error::new(fault.clone());
        self.fault.get_or_insert(fault);
        error
    }
}

/// A store for this state: bounded in memory and CPU, on this flavour's engine.
pub(crate) fn store(flavour: &Flavour, state: HostState) -> Store<HostState> {
    let mut store = Store::new(flavour.engine(), state);
    store.limiter_async(|state| state);
    // What one call across the border may make the host allocate: a list may name the same guest
    // memory many times over.
    store.set_hostcall_fuel(
        usize::try_from(store.data().scope.limits().memory).unwrap_or(usize::MAX),
    );
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        let state = context.data_mut();
        if state.meter.may_go_on() {
            return Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())));
        }
        let cpu = state.scope.limits().cpu;
        Err(state.broke(Fault::Cpu(cpu)))
    });
    store
}

impl HostState {
    /// All memories and tables of a component count together, and those of all instances.
    async fn take(&mut self, more: u64) -> wasmtime::Result<bool> {
        if self.memory.bytes().saturating_add(more) > self.scope.limits().memory {
            let fault = Fault::memory(self.scope.limits());
            return Err(self.broke(fault));
        }
        if !self.memory.grow(more).await {
            let fault = Fault::Ceiling(self.scope.tenant.memory.limit());
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
        // Tables are memory, too.
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
        // No arguments, environment, directories or sockets; standard streams lead nowhere.
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
    use crate::scope::Tenant;

    fn state() -> HostState {
        let scope = Scope::new(Arc::new(Tenant::nobody("test")), &[]);
        HostState::new(Arc::new(scope), "start", None)
    }

    #[tokio::test]
    async fn tables_count_as_memory() {
        let mut state = state();
        let limit = state.scope.limits().memory;
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
        let half = usize::try_from(state.scope.limits().memory / 2).unwrap();
        assert!(state.memory_growing(0, half, None).await.unwrap());
        assert!(state.memory_growing(0, half, None).await.unwrap());
        assert!(state.memory_growing(half, half + 1, None).await.is_err());
    }

    #[test]
    fn before_its_call_an_instance_calls_nothing() {
        let mut state = state();
        assert!(state.outside("http.send").is_err());
        assert_eq!(state.fault, Some(Fault::Outside("http.send")));
    }
}
