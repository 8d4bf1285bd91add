//! A loaded plugin.

use crate::{
    dylib::library::Library,
    info::{PluginInfo, PluginKind},
    load::component::Component,
};

/// A loaded plugin.
pub(crate) struct Plugin {
    pub(crate) info: PluginInfo,
    pub(crate) code: PluginCode,
}

/// The executable form of a plugin.
pub(crate) enum PluginCode {
    Component(Box<Component>),
    Dylib(Library),
}

// === impl Plugin ===

impl Plugin {
    pub(crate) fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// `docker 0.1.0`
    pub(crate) fn title(&self) -> String {
        let PluginInfo { name, version, .. } = &self.info;
        match self.info.kind {
            PluginKind::Component => format!("{name} {version}"),
            PluginKind::Dylib => format!("{name} {version} (dylib)"),
        }
    }

    pub(crate) fn code(&self) -> &PluginCode {
        &self.code
    }
}
