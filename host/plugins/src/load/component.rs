//! Loading of components: compiled or read from the cache, linked, and prepared for instantiation.

use std::sync::{Arc, OnceLock};

use wasmtime::component;

use super::{
    CONTRACT, PluginCode, PluginHost, PluginSource, PreparedPlugin, blocking, chain, check,
};
use crate::{
    bindings::PluginPre,
    cache::{CacheKey, CompiledCode},
    info::{Load, PluginKind},
    runtime::{EngineLinker, Runtime},
    store::HostState,
};

/// A component, linked for instantiation.
pub(crate) struct Component {
    /// Absent if it needs more than a slot of the pool has.
    pooled: Option<PluginPre<HostState>>,
    on_demand: OnceLock<PluginPre<HostState>>,
}

// === impl Component ===

impl Component {
    pub(crate) fn pooled(&self) -> Option<&PluginPre<HostState>> {
        self.pooled.as_ref()
    }

    /// The form for on-demand allocation, prepared on first use.
    pub(crate) fn on_demand(&self, runtime: &Runtime) -> wasmtime::Result<&PluginPre<HostState>> {
        if let Some(pre) = self.on_demand.get() {
            return Ok(pre);
        }
        let pooled =
            self.pooled.as_ref().expect("at least one of the two forms is prepared on loading");
        let compiled = CompiledCode::of(pooled.instance_pre().component())?;
        let pre = prepare(runtime.on_demand(), &compiled.load(runtime.on_demand().engine())?)?;
        Ok(self.on_demand.get_or_init(|| pre))
    }
}

/// Reads a plugin from the cache, else compiles it. Dropping the future stops the compilation.
pub(super) async fn prepare_plugin(
    host: &Arc<PluginHost>,
    source: &Arc<PluginSource>,
) -> Result<PreparedPlugin, String> {
    let engine = host.runtime.on_demand().engine();
    let key = CacheKey::new(&source.digest, engine);
    let cached_plugin = {
        let (host, source, key) = (host.clone(), source.clone(), key.clone());
        blocking(move || Ok(cached(&host, &source, &key))).await?
    };
    if let Some(ready) = cached_plugin {
        return Ok(ready);
    }
    let compiled = host.compiler.compile(engine, source).await?;
    let host = host.clone();
    blocking(move || {
        let ready = link(&host.runtime, &compiled, Load::Compiled)?;
        host.cache.store(&key, &compiled);
        Ok(ready)
    })
    .await
}

/// Reads a plugin from the cache, if it is there and can be linked.
fn cached(host: &PluginHost, source: &PluginSource, key: &CacheKey) -> Option<PreparedPlugin> {
    let compiled = host.cache.read(key)?;
    link(&host.runtime, &compiled, Load::Cached)
        .inspect_err(|cause| {
            let origin = &source.origin;
            tracing::warn!(
                origin,
                cause,
                "compiled plugin cannot be used and is removed from the cache"
            );
            host.cache.remove(key);
        })
        .ok()
}

/// Links a compiled component for one of the engines, after checking its imports and exports.
fn link(runtime: &Runtime, compiled: &CompiledCode, load: Load) -> Result<PreparedPlugin, String> {
    let (engine_linker, component) = match compiled.load(runtime.pooled().engine()) {
        Ok(component) => (runtime.pooled(), component),
        Err(misfit) => {
            tracing::debug!("a plugin exceeds a pool slot and is allocated on demand: {misfit:#}");
            let component = compiled.load(runtime.on_demand().engine());
            (runtime.on_demand(), component.map_err(|error| chain(&error))?)
        }
    };
    let contract = check::contract_of(&component)?;
    let imports = check::imports(&component)?;
    let pre = prepare(engine_linker, &component).map_err(|error| {
        let cause = chain(&error);
        format!("it does not fit contract {}: {cause}; build it against wit/v0.1", CONTRACT)
    })?;
    let component = if std::ptr::eq(engine_linker, runtime.pooled()) {
        Component { pooled: Some(pre), on_demand: OnceLock::new() }
    } else {
        Component { pooled: None, on_demand: OnceLock::from(pre) }
    };
    let code = PluginCode::Component(Box::new(component));
    Ok(PreparedPlugin { code, kind: PluginKind::Component, contract, imports, load })
}

fn prepare(
    engine_linker: &EngineLinker,
    component: &component::Component,
) -> wasmtime::Result<PluginPre<HostState>> {
    PluginPre::new(engine_linker.linker().instantiate_pre(component)?)
}
