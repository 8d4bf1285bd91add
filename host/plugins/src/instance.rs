//! One instance for one call: made, configured, asked, and gone.

use std::time::Duration;

use futures_util::future::BoxFuture;
use wasmtime::Store;

use crate::{
    bindings::{Guest, types},
    fault::Fault,
    load::Plugin,
    meter::Exhausted,
    runtime::{Place, Runtime},
    store::{self, HostState},
};

/// `describe` and `configure` call nothing, so they have no reason to take long.
pub(crate) const INSIDE: Duration = Duration::from_secs(5);

/// What a guest answers: its result, or its own error.
pub(crate) type Answer<R> = Result<R, types::Error>;

/// Makes an instance of the plugin, hands it its settings if there are any, and lets `act` call
/// it. The error is how the instance broke. Dropping the future ends the call and the instance.
pub(crate) async fn run<R>(
    runtime: &Runtime,
    plugin: &Plugin,
    state: HostState,
    settings: Option<&str>,
    act: impl for<'a> FnOnce(
        &'a Guest,
        &'a mut Store<HostState>,
    ) -> BoxFuture<'a, wasmtime::Result<Answer<R>>>,
) -> Result<Answer<R>, Fault> {
    let place = runtime.place(state.scope.limits().memory);
    let trapped = |error: wasmtime::Error| Fault::of(&error, None, None);
    let (pre, flavour, _slot) = match (plugin.pooled(), place) {
        (Some(pre), Place::Pooled(slot)) => (pre, runtime.pooled(), Some(slot)),
        _ => (plugin.on_demand(runtime).map_err(trapped)?, runtime.on_demand(), None),
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
            act(guest, &mut store).await
        })
        .await;
    let state = store.data_mut();
    state.scope.tenant.notes.settle(&state.doing());
    let outcome = outcome.map_err(|Exhausted| Fault::Cpu(state.scope.limits().cpu))?;
    outcome.map_err(|error| Fault::of(&error, state.fault.take(), state.last_error.take()))
}
