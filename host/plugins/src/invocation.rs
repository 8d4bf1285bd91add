//! One invocation: instantiate the plugin, configure it, call one function, drop the instance.

use wasmtime::{Store, UpdateDeadline};

use crate::{
    cpu_quota::Exhausted,
    dylib,
    fault::Fault,
    function::{Answer, Function, INIT_TIMEOUT},
    load::component::Component,
    plugin::{Plugin, PluginCode},
    runtime::{EngineLinker, InstanceSlot, Runtime},
    store::HostState,
};

/// Instantiates the plugin, passes it its settings if there are any, and calls one of its
/// functions. The error is the fault that ended the instance. Dropping the future ends the call and
/// the instance.
pub(crate) async fn run<F: Function>(
    runtime: &Runtime,
    plugin: &Plugin,
    state: HostState,
    settings: Option<&str>,
    function: F,
) -> Result<Answer<F::Answer>, Fault> {
    match plugin.code() {
        PluginCode::Component(component) => {
            self::component(runtime, component, state, settings, function).await
        }
        PluginCode::Dylib(library) => dylib::run(library, state, settings, function).await,
    }
}

async fn component<F: Function>(
    runtime: &Runtime,
    component: &Component,
    state: HostState,
    settings: Option<&str>,
    function: F,
) -> Result<Answer<F::Answer>, Fault> {
    let slot = runtime.acquire_slot(state.grants.limits().memory);
    let trapped = |error: wasmtime::Error| Fault::of(&error, None, None);
    let (pre, engine_linker, _permit) = match (component.pooled(), slot) {
        (Some(pre), InstanceSlot::Pooled(slot)) => (pre, runtime.pooled(), Some(slot)),
        _ => (component.on_demand(runtime).map_err(trapped)?, runtime.on_demand(), None),
    };
    let cpu_quota = state.cpu_quota.clone();
    let mut store = self::store(engine_linker, state);
    let outcome = cpu_quota
        .drive(async {
            let instance = pre.instantiate_async(&mut store).await?;
            let guest = instance.drowse_provider_provider();
            if let Some(settings) = settings {
                let configured = guest.call_configure(&mut store, settings);
                match tokio::time::timeout(INIT_TIMEOUT, configured).await {
                    Ok(Ok(Ok(()))) => store.data_mut().initializing = false,
                    Ok(Ok(Err(error))) => return Ok(Err(error)),
                    Ok(Err(broken)) => return Err(broken),
                    Err(_) => return Err(store.data_mut().broke(Fault::Wall(INIT_TIMEOUT))),
                }
            }
            function.call(guest, &mut store).await
        })
        .await;
    let state = store.data_mut();
    state.context().log_limiter.report_dropped(&state.operation_label());
    let outcome = outcome.map_err(|Exhausted| Fault::Cpu(state.grants.limits().cpu))?;
    outcome.map_err(|error| Fault::of(&error, state.fault.take(), state.last_error.take()))
}

/// A store for this state with limits on memory and CPU.
fn store(engine_linker: &EngineLinker, state: HostState) -> Store<HostState> {
    let mut store = Store::new(engine_linker.engine(), state);
    store.limiter_async(|state| state);
    // Bounds what the host allocates for the arguments of one call: a list may reference the same
    // guest memory many times.
    store.set_hostcall_fuel(
        usize::try_from(store.data().grants.limits().memory).unwrap_or(usize::MAX),
    );
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        let state = context.data_mut();
        if state.cpu_quota.may_continue() {
            return Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())));
        }
        let cpu = state.grants.limits().cpu;
        Err(state.broke(Fault::Cpu(cpu)))
    });
    store
}
