//! Loading of components: compiled or read from the cache, linked, and prepared for instantiation.

use std::sync::{Arc, OnceLock};

use wasmtime::component;

use super::check::{self, CONTRACT};
use crate::{
    bindings::PluginPre,
    cache::{CacheKey, CompiledCode},
    compile,
    host::PluginHost,
    info::Load,
    runtime::{EngineLinker, Runtime},
    source::PluginSource,
    store::HostState,
    text::error_chain,
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

/// Result of preparing a component.
pub(super) struct PreparedComponent {
    pub(super) component: Component,
    pub(super) contract: String,
    pub(super) imports: Vec<String>,
    pub(super) load: Load,
}

/// Reads a plugin from the cache, else compiles it. Dropping the future stops the compilation.
pub(super) async fn prepare_component(
    host: &Arc<PluginHost>,
    source: &Arc<PluginSource>,
) -> Result<PreparedComponent, String> {
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
fn cached(host: &PluginHost, source: &PluginSource, key: &CacheKey) -> Option<PreparedComponent> {
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
fn link(
    runtime: &Runtime,
    compiled: &CompiledCode,
    load: Load,
) -> Result<PreparedComponent, String> {
    let (engine_linker, component) = match compiled.load(runtime.pooled().engine()) {
        Ok(component) => (runtime.pooled(), component),
        Err(misfit) => {
            tracing::debug!("a plugin exceeds a pool slot and is allocated on demand: {misfit:#}");
            let component = compiled.load(runtime.on_demand().engine());
            (runtime.on_demand(), component.map_err(|error| error_chain(&error))?)
        }
    };
    let contract = check::contract_of(&component)?;
    let imports = check::imports(&component)?;
    let pre = prepare(engine_linker, &component).map_err(|error| {
        let cause = error_chain(&error);
        format!("it does not fit contract {}: {cause}; build it against wit/v0.1", CONTRACT)
    })?;
    let component = if std::ptr::eq(engine_linker, runtime.pooled()) {
        Component { pooled: Some(pre), on_demand: OnceLock::new() }
    } else {
        Component { pooled: None, on_demand: OnceLock::from(pre) }
    };
    Ok(PreparedComponent { component, contract, imports, load })
}

fn prepare(
    engine_linker: &EngineLinker,
    component: &component::Component,
) -> wasmtime::Result<PluginPre<HostState>> {
    PluginPre::new(engine_linker.linker().instantiate_pre(component)?)
}

/// Runs a part of loading on a blocking thread.
pub(super) async fn blocking<R: Send + 'static>(
    load: impl FnOnce() -> Result<R, String> + Send + 'static,
) -> Result<R, String> {
    tokio::task::spawn_blocking(load).await.unwrap_or_else(|_| Err(compile::damaged()))
}
