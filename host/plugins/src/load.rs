//! Loading: from the bytes of a file to a callable plugin.

pub(crate) mod check;
mod component;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

pub(crate) use check::CONTRACT;
pub(crate) use component::Component;

use crate::{
    address_policy::EndpointIndex,
    bindings::types,
    cache::{CompiledCache, hex},
    command::{LaunchOptions, ProcessRecords},
    compile::{self, Compiler},
    context::{Grants, ProviderContext},
    dylib::{self, Library, LinkedPlugin},
    function::Describe,
    grants::Rule,
    guest_memory::GuestMemory,
    info::{self, EndpointWish, Load, PluginInfo, PluginKind},
    invocation::{self, INIT_TIMEOUT},
    runtime::Runtime,
    store::HostState,
};

/// What all plugins and providers of the router share.
pub(crate) struct PluginHost {
    pub(crate) runtime: Runtime,
    pub(crate) cache: CompiledCache,
    pub(crate) compiler: Compiler,
    /// Memory limit of all guests.
    pub(crate) memory: Arc<GuestMemory>,
    /// Endpoints of all providers and listeners of the router.
    pub(crate) endpoint_index: Arc<EndpointIndex>,
    /// How granted programs are launched.
    pub(crate) launch_options: LaunchOptions,
    /// Records of running processes.
    pub(crate) records: Arc<ProcessRecords>,
}

/// The bytes of a plugin and their origin.
#[derive(Clone)]
pub(crate) struct PluginSource {
    pub(crate) kind: PluginKind,
    /// `bundled`, or the path.
    pub(crate) origin: String,
    pub(crate) bytes: Cow<'static, [u8]>,
    /// SHA-256, hexadecimal.
    pub(crate) digest: String,
    /// Set for a linked plugin, which needs no loading.
    linked: Option<Library>,
}

/// A loaded plugin.
pub(crate) struct Plugin {
    info: PluginInfo,
    code: PluginCode,
}

/// The executable form of a plugin.
pub(crate) enum PluginCode {
    Component(Box<Component>),
    Dylib(Library),
}

/// Result of the blocking part of loading.
struct PreparedPlugin {
    code: PluginCode,
    kind: PluginKind,
    contract: String,
    imports: Vec<String>,
    load: Load,
}

// === impl PluginSource ===

impl PluginSource {
    /// Origin of plugins that are part of the router's executable.
    pub(crate) const BUNDLED: &str = "bundled";

    pub(crate) fn new(
        kind: PluginKind,
        origin: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let bytes = bytes.into();
        let digest = hex(&Sha256::digest(&bytes));
        Self { kind, origin: origin.into(), bytes, digest, linked: None }
    }

    pub(crate) fn linked(linked: LinkedPlugin) -> Self {
        let LinkedPlugin { name, library } = linked;
        let source = Self::new(PluginKind::Dylib, Self::BUNDLED, name.as_bytes());
        Self { linked: Some(library), ..source }
    }
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
        PluginKind::Component => component::prepare_plugin(host, &source).await,
        PluginKind::Dylib => blocking(move || library(&source)).await,
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

/// Runs a part of loading on a blocking thread.
async fn blocking<R: Send + 'static>(
    load: impl FnOnce() -> Result<R, String> + Send + 'static,
) -> Result<R, String> {
    tokio::task::spawn_blocking(load).await.unwrap_or_else(|_| Err(compile::damaged()))
}

fn library(source: &PluginSource) -> Result<PreparedPlugin, String> {
    let library = match source.linked {
        Some(library) => library,
        None => dylib::open(source)?,
    };
    Ok(PreparedPlugin {
        contract: library.contract(),
        code: PluginCode::Dylib(library),
        kind: PluginKind::Dylib,
        imports: Vec::new(),
        load: Load::Opened,
    })
}

/// Formats an error with its causes in one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    crate::fault::sanitize(&format!("{error:#}"), 1024)
}

async fn describe(host: &PluginHost, plugin: &Plugin) -> Result<types::Description, String> {
    let mut context = ProviderContext::without_grants(&plugin.info.origin);
    context.memory = host.memory.share();
    let grants = Arc::new(Grants::new(Arc::new(context), &[]));
    let state = HostState::new(grants, "describe", None);
    let asked = invocation::run(&host.runtime, plugin, state, None, Describe);
    match tokio::time::timeout(INIT_TIMEOUT, asked).await {
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
