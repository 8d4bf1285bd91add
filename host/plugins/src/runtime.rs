//! The one WASM runtime of the router: two engines that share compiled code, their linkers, and
//! the clock that interrupts guests.
//!
//! Instances come from a small pool, which is fastest; when it is in use up, or an instance may
//! need more than a slot holds, they are made on demand.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{HasSelf, Linker},
};

use crate::{bindings, meter::TICK, store::HostState};

/// Instances in the pool.
const SLOTS: u32 = 48;
/// Linear memory that a slot can hold.
const SLOT_MEMORY: u64 = 64 << 20;
/// Bytes of an instance's touched memory that its slot keeps, cleaned, for the next one.
const KEPT: usize = 256 << 10;
/// Core instances of one component: a wasip2 component has four.
const CORE_INSTANCES: u32 = 8;
/// Tables of one component.
const TABLES: u32 = 4;

/// All that runs guests.
pub(crate) struct Runtime {
    pooled: Flavour,
    on_demand: Flavour,
    slots: Arc<Semaphore>,
    _clock: Clock,
}

/// An engine with its linker.
pub(crate) struct Flavour {
    linker: Linker<HostState>,
}

/// Where an instance gets its memory from.
pub(crate) enum Place {
    /// A slot of the pool, free again when the permit is dropped.
    Pooled(OwnedSemaphorePermit),
    /// Memory of its own.
    OnDemand,
}

/// Ticks both engines from a thread that ends with it.
struct Clock {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

// === impl Runtime ===

impl Runtime {
    /// Starts the engines and their clock.
    pub(crate) fn new() -> wasmtime::Result<Self> {
        let pooled = Flavour::new(InstanceAllocationStrategy::Pooling(pool()))?;
        let on_demand = Flavour::new(InstanceAllocationStrategy::OnDemand)?;
        let clock = Clock::start(vec![pooled.engine().clone(), on_demand.engine().clone()])?;
        let slots = Arc::new(Semaphore::new(SLOTS as usize));
        Ok(Self { pooled, on_demand, slots, _clock: clock })
    }

    /// The engine whose instances come from the pool.
    pub(crate) fn pooled(&self) -> &Flavour {
        &self.pooled
    }

    /// The engine whose instances are made on demand.
    pub(crate) fn on_demand(&self) -> &Flavour {
        &self.on_demand
    }

    /// A slot of the pool if one is free and large enough.
    pub(crate) fn place(&self, memory: u64) -> Place {
        if memory > SLOT_MEMORY {
            return Place::OnDemand;
        }
        self.slots.clone().try_acquire_owned().map_or(Place::OnDemand, Place::Pooled)
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
        // Cleaning the pages that an instance has touched is cheaper than having the next one
        // fault them in again.
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEPT).table_keep_resident(KEPT);
    }
    pool
}

// === impl Flavour ===

impl Flavour {
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

/// An engine that only compiles. Its code fits the engines of a [`Runtime`].
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

/// Everything that a component may import: the capabilities, and WASI with nothing granted.
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

// === impl Clock ===

impl Clock {
    fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = ended.clone();
        let thread = std::thread::Builder::new().name("drowse-epoch".into()).spawn(move || {
            let (flag, bell) = &*watched;
            let mut over = flag.lock().unwrap_or_else(PoisonError::into_inner);
            while !*over {
                over = bell.wait_timeout(over, TICK).unwrap_or_else(PoisonError::into_inner).0;
                engines.iter().for_each(Engine::increment_epoch);
            }
        })?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the clock's thread has nothing left to tell.
            let _ = thread.join();
        }
    }
}
