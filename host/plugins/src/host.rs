//! Resources shared by all plugins and providers of the router.

use crate::{cache::CompiledCache, compile::Compiler, context::SharedResources, runtime::Runtime};

/// Engines, compiler and compiled cache, and the resources that providers share.
pub(crate) struct PluginHost {
    pub(crate) runtime: Runtime,
    pub(crate) cache: CompiledCache,
    pub(crate) compiler: Compiler,
    pub(crate) shared: SharedResources,
}
