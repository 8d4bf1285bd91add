//! A plugin that is a component: compiled or taken from the cache, linked, ready to be instantiated.

use std::sync::{Arc, OnceLock};

use wasmtime::component;

use super::{CONTRACT, Code, House, Ready, Source, blocking, chain, check};
use crate::{
    bindings::PluginPre,
    cache::{Compiled, Key},
    info::{Kind, Load},
    runtime::{Flavour, Runtime},
    store::HostState,
};

/// A component that can be instantiated.
pub(crate) struct Component {
    /// Absent when it needs more than a slot of the pool has.
    pooled: Option<PluginPre<HostState>>,
    on_demand: OnceLock<PluginPre<HostState>>,
}

// === impl Component ===

impl Component {
    pub(crate) fn pooled(&self) -> Option<&PluginPre<HostState>> {
        self.pooled.as_ref()
    }

    /// The form that is instantiated on demand, made when it is first needed.
    pub(crate) fn on_demand(&self, runtime: &Runtime) -> wasmtime::Result<&PluginPre<HostState>> {
        if let Some(pre) = self.on_demand.get() {
            return Ok(pre);
        }
        let pooled =
            self.pooled.as_ref().expect("a component has one of its two forms from the start");
        let compiled = Compiled::of(pooled.instance_pre().component())?;
        let pre = prepare(runtime.on_demand(), &compiled.load(runtime.on_demand().engine())?)?;
        Ok(self.on_demand.get_or_init(|| pre))
    }
}

/// A plugin from the cache, else compiled. Dropping the future ends the compilation.
pub(super) async fn ready(house: &Arc<House>, source: &Arc<Source>) -> Result<Ready, String> {
    let engine = house.runtime.on_demand().engine();
    let key = Key::new(&source.digest, engine);
    let kept = {
        let (house, source, key) = (house.clone(), source.clone(), key.clone());
        blocking(move || Ok(cached(&house, &source, &key))).await?
    };
    if let Some(ready) = kept {
        return Ok(ready);
    }
    let compiled = house.compiler.compile(engine, source).await?;
    let house = house.clone();
    blocking(move || {
        let ready = link(&house.runtime, &compiled, Load::Compiled)?;
        house.cache.keep(&key, &compiled);
        Ok(ready)
    })
    .await
}

/// A plugin from the cache, if it is there and fits.
fn cached(house: &House, source: &Source, key: &Key) -> Option<Ready> {
    let compiled = house.cache.read(key)?;
    link(&house.runtime, &compiled, Load::Cached)
        .inspect_err(|cause| {
            let origin = &source.origin;
            tracing::warn!(origin, cause, "compiled plugin cannot be used and is dropped");
            house.cache.drop(key);
        })
        .ok()
}

/// Links a compiled component for one of the engines, after a look at what it imports and exports.
fn link(runtime: &Runtime, compiled: &Compiled, load: Load) -> Result<Ready, String> {
    let (flavour, component) = match compiled.load(runtime.pooled().engine()) {
        Ok(component) => (runtime.pooled(), component),
        Err(misfit) => {
            tracing::debug!(
                "a plugin does not fit the pool and is instantiated on demand: {misfit:#}"
            );
            let component = compiled.load(runtime.on_demand().engine());
            (runtime.on_demand(), component.map_err(|error| chain(&error))?)
        }
    };
    let contract = check::contract_of(&component)?;
    let imports = check::imports(&component)?;
    let pre = prepare(flavour, &component).map_err(|error| {
        let cause = chain(&error);
        format!("it does not fit contract {}: {cause}; build it against wit/v0.1", CONTRACT)
    })?;
    let component = if std::ptr::eq(flavour, runtime.pooled()) {
        Component { pooled: Some(pre), on_demand: OnceLock::new() }
    } else {
        Component { pooled: None, on_demand: OnceLock::from(pre) }
    };
    let code = Code::Component(Box::new(component));
    Ok(Ready { code, kind: Kind::Component, contract, imports, load })
}

fn prepare(
    flavour: &Flavour,
    component: &component::Component,
) -> wasmtime::Result<PluginPre<HostState>> {
    PluginPre::new(flavour.linker().instantiate_pre(component)?)
}
