//! One instance for one call: made, configured, asked, and gone.

use std::time::Duration;

use crate::{
    dylib,
    fault::Fault,
    function::{Answer, Function},
    load::{Code, Component, Plugin},
    meter::Exhausted,
    runtime::{Place, Runtime},
    store::{self, HostState},
};

/// `describe` and `configure` call nothing, so they have no reason to take long.
pub(crate) const INSIDE: Duration = Duration::from_secs(5);

/// Makes an instance of the plugin, hands it its settings if there are any, and calls a function
/// of it. The error is how the instance broke. Dropping the future ends the call and the instance.
pub(crate) async fn run<F: Function>(
    runtime: &Runtime,
    plugin: &Plugin,
    state: HostState,
    settings: Option<&str>,
    function: F,
) -> Result<Answer<F::Answer>, Fault> {
    match plugin.code() {
        Code::Component(component) => {
            self::component(runtime, component, state, settings, function).await
        }
        Code::Dylib(library) => dylib::run(library, state, settings, function).await,
    }
}

async fn component<F: Function>(
    runtime: &Runtime,
    component: &Component,
    state: HostState,
    settings: Option<&str>,
    function: F,
) -> Result<Answer<F::Answer>, Fault> {
    let place = runtime.place(state.scope.limits().memory);
    let trapped = |error: wasmtime::Error| Fault::of(&error, None, None);
    let (pre, flavour, _slot) = match (component.pooled(), place) {
        (Some(pre), Place::Pooled(slot)) => (pre, runtime.pooled(), Some(slot)),
        _ => (component.on_demand(runtime).map_err(trapped)?, runtime.on_demand(), None),
    };
    let meter = state.meter.clone();
    let mut store = store::store(flavour, state);
    let outcome = meter
        .drive(async {
            let instance = pre.instantiate_async(&mut store).await?;
            let guest = instance.drowse_provider_provider();
            if let Some(settings) = settings {
                let configured = guest.call_configure(&mut store, settings);
                match tokio::time::timeout(INSIDE, configured).await {
                    Ok(Ok(Ok(()))) => store.data_mut().inside = false,
                    Ok(Ok(Err(error))) => return Ok(Err(error)),
                    Ok(Err(broken)) => return Err(broken),
                    Err(_) => return Err(store.data_mut().broke(Fault::Wall(INSIDE))),
                }
            }
            function.call(guest, &mut store).await
        })
        .await;
    let state = store.data_mut();
    state.scope.tenant.notes.settle(&state.doing());
    let outcome = outcome.map_err(|Exhausted| Fault::Cpu(state.scope.limits().cpu))?;
    outcome.map_err(|error| Fault::of(&error, state.fault.take(), state.last_error.take()))
}
