//! One invocation: instantiate the plugin, configure it, call one function, drop the instance.

use std::time::Duration;

use crate::{
    cpu_quota::Exhausted,
    dylib,
    fault::Fault,
    function::{Answer, Function},
    load::{Component, Plugin, PluginCode},
    runtime::{InstanceSlot, Runtime},
    store::{self, HostState},
};

/// Time limit of `describe` and `configure`, which may not call imports and so finish fast.
pub(crate) const INIT_TIMEOUT: Duration = Duration::from_secs(5);

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
    let mut store = store::store(engine_linker, state);
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
