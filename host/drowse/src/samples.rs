//! Test data that several modules share.

use std::time::Duration;

use drowse_plugins::{Load, PluginInfo, PluginKind};
use serde_json::json;

/// A plugin without requirements.
pub(crate) fn plugin(name: &str) -> PluginInfo {
    PluginInfo {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        summary: String::new(),
        kind: PluginKind::Component,
        origin: "bundled".to_owned(),
        digest: String::new(),
        size: 1,
        contract: "0.1.0".to_owned(),
        abilities: Vec::new(),
        endpoints: Vec::new(),
        commands: Vec::new(),
        networks: Vec::new(),
        imports: Vec::new(),
        settings_schema: json!({}),
        target_schema: json!({}),
        load: Load::Cached,
        load_time: Duration::ZERO,
    }
}
