//! The router's WASM runtime: two engines that share compiled code, their linkers, and the epoch
//! thread that interrupts guests.
//!
//! Instances come from a small pool, which is fastest. They are allocated on demand if the pool is
//! in use or if an instance may need more than a slot holds.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{HasSelf, Linker},
};

use crate::{bindings, cpu_quota::TICK, store::HostState};

/// Slots in the pool.
const SLOTS: u32 = 48;
/// Maximum linear memory of a slot, in bytes.
const SLOT_MEMORY: u64 = 64 << 20;
/// Bytes of a slot's touched memory that stay resident, zeroed, for the next instance.
const RESIDENT: usize = 256 << 10;
/// Maximum core instances of one component; a wasip2 component has four.
const CORE_INSTANCES: u32 = 8;
/// Maximum tables of one component.
const TABLES: u32 = 4;

/// Engines and epoch thread.
pub(crate) struct Runtime {
    pooled: EngineLinker,
    on_demand: EngineLinker,
    slots: Arc<Semaphore>,
    _epoch_thread: EpochThread,
}

/// An engine and its linker.
pub(crate) struct EngineLinker {
    linker: Linker<HostState>,
}

/// The allocation of an instance.
pub(crate) enum InstanceSlot {
    /// In a slot of the pool, freed when the permit is dropped.
    Pooled(OwnedSemaphorePermit),
    /// In memory of its own.
    OnDemand,
}

/// The thread that increments the epoch of both engines; dropping this ends it.
struct EpochThread {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

// === impl Runtime ===

impl Runtime {
    /// Creates the engines and starts the epoch thread.
    pub(crate) fn new() -> wasmtime::Result<Self> {
        let pooled = EngineLinker::new(InstanceAllocationStrategy::Pooling(pool()))?;
        let on_demand = EngineLinker::new(InstanceAllocationStrategy::OnDemand)?;
        let epoch_thread =
            EpochThread::start(vec![pooled.engine().clone(), on_demand.engine().clone()])?;
        let slots = Arc::new(Semaphore::new(SLOTS as usize));
        Ok(Self { pooled, on_demand, slots, _epoch_thread: epoch_thread })
    }

    /// The engine with pooled instances.
    pub(crate) fn pooled(&self) -> &EngineLinker {
        &self.pooled
    }

    /// The engine with instances allocated on demand.
    pub(crate) fn on_demand(&self) -> &EngineLinker {
        &self.on_demand
    }

    /// A free slot of the pool if `memory` bytes fit; otherwise allocation on demand.
    pub(crate) fn acquire_slot(&self, memory: u64) -> InstanceSlot {
        if memory > SLOT_MEMORY {
            return InstanceSlot::OnDemand;
        }
        self.slots.clone().try_acquire_owned().map_or(InstanceSlot::OnDemand, InstanceSlot::Pooled)
    }
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS)
        .total_core_instances(SLOTS * CORE_INSTANCES)
        .total_memories(SLOTS)
        .total_tables(SLOTS * TABLES)
        .total_stacks(SLOTS * 2)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .max_memory_size(SLOT_MEMORY as usize)
        .max_unused_warm_slots(8);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        // Zeroing touched pages is cheaper than faulting them in again for the next instance.
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(RESIDENT)
            .table_keep_resident(RESIDENT);
    }
    pool
}

// === impl EngineLinker ===

impl EngineLinker {
    fn new(allocation: InstanceAllocationStrategy) -> wasmtime::Result<Self> {
        Ok(Self { linker: linker(&engine(allocation)?)? })
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.linker.engine()
    }

    pub(crate) fn linker(&self) -> &Linker<HostState> {
        &self.linker
    }
}

/// An engine that only compiles, with code compatible with the engines of a [`Runtime`].
pub(crate) fn compiling_engine() -> wasmtime::Result<Engine> {
    engine(InstanceAllocationStrategy::OnDemand)
}

fn engine(allocation: InstanceAllocationStrategy) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .allocation_strategy(allocation)
        .epoch_interruption(true)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20);
    Engine::new(&config)
}

/// A linker with all imports: the capabilities, and WASI without any grant.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    bindings::types::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::clock::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::http::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::grpc::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::command::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::network::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::udp::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::events::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    bindings::memo::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    Ok(linker)
}

// === impl EpochThread ===

impl EpochThread {
    fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = ended.clone();
        let thread = std::thread::Builder::new().name("drowse-epoch".into()).spawn(move || {
            let (flag, notify) = &*watched;
            let mut over = flag.lock().unwrap_or_else(PoisonError::into_inner);
            while !*over {
                over = notify.wait_timeout(over, TICK).unwrap_or_else(PoisonError::into_inner).0;
                engines.iter().for_each(Engine::increment_epoch);
            }
        })?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for EpochThread {
    fn drop(&mut self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of this thread needs no further handling.
            let _ = thread.join();
        }
    }
}
