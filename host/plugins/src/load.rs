//! Loading: from the bytes of a file to a callable plugin.

pub(crate) mod check;
pub(crate) mod component;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::component::{PreparedComponent, blocking, prepare_component};
use crate::{
    bindings::types,
    compile,
    context::{Grants, ProviderContext},
    dylib::library,
    function::{Describe, INIT_TIMEOUT},
    grants::Rule,
    host::PluginHost,
    info::{self, EndpointWish, Load, PluginInfo, PluginKind},
    invocation,
    plugin::{Plugin, PluginCode},
    source::PluginSource,
    store::HostState,
};

/// Result of the blocking part of loading.
struct PreparedPlugin {
    code: PluginCode,
    kind: PluginKind,
    contract: String,
    imports: Vec<String>,
    load: Load,
}

/// Checks a plugin, compiles it or reads it from the cache, and calls `describe`. The error says
/// what is wrong with the file and what to do.
pub(crate) async fn load(host: &Arc<PluginHost>, source: PluginSource) -> Result<Plugin, String> {
    let began = Instant::now();
    let origin = source.origin.clone();
    // The cause may contain names from the file.
    let invalid = |cause: String| format!("plugin {origin}: {}", info::line(&cause, 4096));
    let (digest, size) = (source.digest.clone(), source.bytes.len() as u64);
    let source = Arc::new(source);
    let ready = match source.kind {
        PluginKind::Component => prepare_component(host, &source).await.map(PreparedPlugin::from),
        PluginKind::Dylib => blocking(move || prepare_library(&source)).await,
    };
    let ready = ready.map_err(invalid)?;
    let info = PluginInfo {
        name: String::new(),
        version: String::new(),
        summary: String::new(),
        kind: ready.kind,
        origin: origin.clone(),
        digest,
        size,
        contract: ready.contract,
        abilities: Vec::new(),
        endpoints: Vec::new(),
        commands: Vec::new(),
        networks: Vec::new(),
        imports: ready.imports.iter().map(|import| info::line(import, 256)).collect(),
        settings_schema: serde_json::Value::Null,
        target_schema: serde_json::Value::Null,
        load: ready.load,
        load_time: Duration::ZERO,
    };
    let mut plugin = Plugin { info, code: ready.code };
    let described = describe(host, &plugin).await.map_err(invalid)?;
    accept(&mut plugin.info, described).map_err(invalid)?;
    plugin.info.load_time = began.elapsed();
    tracing::info!(
        plugin = plugin.title(),
        origin,
        kind = ?plugin.info.kind,
        cached = (plugin.info.load == Load::Cached),
        milliseconds = compile::milliseconds(plugin.info.load_time),
        "plugin loaded"
    );
    Ok(plugin)
}

impl From<PreparedComponent> for PreparedPlugin {
    fn from(prepared: PreparedComponent) -> Self {
        let PreparedComponent { component, contract, imports, load } = prepared;
        let code = PluginCode::Component(Box::new(component));
        Self { code, kind: PluginKind::Component, contract, imports, load }
    }
}

fn prepare_library(source: &PluginSource) -> Result<PreparedPlugin, String> {
    let library = match source.linked {
        Some(library) => library,
        None => library::open(&source.digest, &source.bytes)?,
    };
    Ok(PreparedPlugin {
        contract: library.contract(),
        code: PluginCode::Dylib(library),
        kind: PluginKind::Dylib,
        imports: Vec::new(),
        load: Load::Opened,
    })
}

async fn describe(host: &PluginHost, plugin: &Plugin) -> Result<types::Description, String> {
    let mut context = ProviderContext::without_grants(&plugin.info.origin);
    context.memory = host.shared.memory.share();
    let grants = Arc::new(Grants::new(Arc::new(context), &[]));
    let state = HostState::new(grants, "describe", None);
    let invocation = invocation::run(&host.runtime, plugin, state, None, Describe);
    match tokio::time::timeout(INIT_TIMEOUT, invocation).await {
        Ok(Ok(Ok(description))) => Ok(description),
        Ok(Ok(Err(error))) => Err(format!("describe: {}", error.message)),
        Ok(Err(fault)) => Err(format!("describe: it {fault}")),
        Err(_) => Err("describe: it did not answer within 5 s".into()),
    }
}

/// Validates the result of `describe` and copies it to `plugin`.
fn accept(plugin: &mut PluginInfo, description: types::Description) -> Result<(), String> {
    let line = |what: &str, text: &str| match text {
        "" => Err(format!("describe: its {what} is empty")),
        text => Ok(info::line(text, 256)),
    };
    let schema = |what: &str, text: &str| {
        let schema: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| format!("describe: its {what} schema is not JSON: {error}"))?;
        match schema {
            serde_json::Value::Object(_) | serde_json::Value::Bool(_) => Ok(info::schema(schema)),
            _ => Err(format!("describe: its {what} schema is neither an object nor a boolean")),
        }
    };
    plugin.name = line("name", &description.name)?;
    plugin.version = line("version", &description.version)?;
    plugin.summary = info::line(&description.summary, 256);
    plugin.abilities = info::abilities(description.abilities);
    plugin.settings_schema = schema("settings", &description.settings_schema)?;
    plugin.target_schema = schema("target", &description.target_schema)?;
    plugin.endpoints = description.endpoints.into_iter().map(EndpointWish::from).collect();
    plugin.commands = description.commands.into_iter().map(info::CommandWish::from).collect();
    plugin.networks = description.networks.into_iter().map(info::NetworkWish::from).collect();
    for wish in &plugin.endpoints {
        if wish.wants_datagrams() && !wish.rules.is_empty() {
            let name = &wish.name;
            return Err(format!(
                "describe: endpoint {name:?}: rules are not allowed on a datagram endpoint"
            ));
        }
        for rule in &wish.rules {
            rule.parse::<Rule>()
                .map_err(|flaw| format!("describe: endpoint {:?}: {flaw}", wish.name))?;
            if info::line(rule, 4096) != *rule {
                let name = &wish.name;
                return Err(format!(
                    "describe: endpoint {name:?}: {rule:?} contains hidden characters"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
