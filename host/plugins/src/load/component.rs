//! A plugin that is a component: compiled or taken from the cache, linked, ready to be instantiated.

use std::sync::OnceLock;

use wasmtime::component;

use super::{CONTRACT, Code, House, Ready, Source, check};
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

pub(super) fn ready(house: &House, source: &Source) -> Result<Ready, String> {
    let key = Key::new(&source.digest, house.runtime.on_demand().engine());
    if let Some(compiled) = house.cache.read(&key) {
        match link(&house.runtime, &compiled, Load::Cached) {
            Ok(ready) => return Ok(ready),
            Err(cause) => {
                tracing::warn!(
                    origin = source.origin,
                    cause,
                    "compiled plugin cannot be used and is dropped"
                );
                house.cache.drop(&key);
            }
        }
    }
    let component = check::component(&source.bytes)?;
    let compiled = Compiled::compile(house.runtime.on_demand().engine(), &component)
        .map_err(|error| format!("it is not a valid component: {}", chain(&error)))?;
    let ready = link(&house.runtime, &compiled, Load::Compiled)?;
    house.cache.keep(&key, &compiled);
    Ok(ready)
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
    let contract = check::contract(&component)?;
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
    Ok(Ready {
        code: Code::Component(Box::new(component)),
        kind: Kind::Component,
        contract,
        imports,
        load,
    })
}

fn prepare(
    flavour: &Flavour,
    component: &component::Component,
) -> wasmtime::Result<PluginPre<HostState>> {
    PluginPre::new(flavour.linker().instantiate_pre(component)?)
}

/// An error with its causes in one line.
fn chain(error: &wasmtime::Error) -> String {
    crate::fault::clean(&format!("{error:#}"), 1024)
}
