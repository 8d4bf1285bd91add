//! From bytes to a plugin that can be called.

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
    bindings::types,
    cache::{Cache, hex},
    command::{Records, Starter},
    compile::{self, Compiler},
    dylib::{self, Library, Linked},
    function::Describe,
    grants::Rule,
    guest_memory::GuestMemory,
    info::{self, EndpointWish, Kind, Load, PluginInfo},
    instance::{self, INSIDE},
    reach::Places,
    runtime::Runtime,
    scope::{Scope, Tenant},
    store::HostState,
};

/// Where plugins are loaded and run.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) cache: Cache,
    pub(crate) compiler: Compiler,
    /// The memory of all guests.
    pub(crate) memory: Arc<GuestMemory>,
    /// What all providers must know of each other.
    pub(crate) places: Arc<Places>,
    /// By what programs begin.
    pub(crate) starter: Starter,
    /// Which programs run.
    pub(crate) records: Arc<Records>,
}

/// A plugin's file.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) kind: Kind,
    /// `bundled`, or the path.
    pub(crate) origin: String,
    pub(crate) bytes: Cow<'static, [u8]>,
    /// SHA-256, hexadecimal.
    pub(crate) digest: String,
    /// What is linked into the router's own program needs no opening.
    linked: Option<Library>,
}

/// A plugin that can be called.
pub(crate) struct Plugin {
    info: PluginInfo,
    code: Code,
}

/// What a plugin is built as.
pub(crate) enum Code {
    Component(Box<Component>),
    Dylib(Library),
}

/// What the blocking part of loading yields.
struct Ready {
    code: Code,
    kind: Kind,
    contract: String,
    imports: Vec<String>,
    load: Load,
}

// === impl Source ===

impl Source {
    /// The origin of a plugin that is part of the router's own program.
    pub(crate) const BUNDLED: &str = "bundled";

    pub(crate) fn new(
        kind: Kind,
        origin: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let bytes = bytes.into();
        let digest = hex(&Sha256::digest(&bytes));
        Self { kind, origin: origin.into(), bytes, digest, linked: None }
    }

    pub(crate) fn linked(linked: Linked) -> Self {
        let Linked { name, library } = linked;
        let source = Self::new(Kind::Dylib, Self::BUNDLED, name.as_bytes());
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
            Kind::Component => format!("{name} {version}"),
            Kind::Dylib => format!("{name} {version} (dylib)"),
        }
    }

    pub(crate) fn code(&self) -> &Code {
        &self.code
    }
}

/// Checks, compiles or takes from the cache, and asks what the plugin is. The error says what is
/// wrong with the file and what to do.
pub(crate) async fn load(house: &Arc<House>, source: Source) -> Result<Plugin, String> {
    let began = Instant::now();
    let origin = source.origin.clone();
    // Names from the file are among the words.
    let wrong = |cause: String| format!("plugin {origin}: {}", info::line(&cause, 4096));
    let (digest, size) = (source.digest.clone(), source.bytes.len() as u64);
    let source = Arc::new(source);
    let ready = match source.kind {
        Kind::Component => component::ready(house, &source).await,
        Kind::Dylib => blocking(move || library(&source)).await,
    };
    let ready = ready.map_err(wrong)?;
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
    let described = describe(house, &plugin).await.map_err(wrong)?;
    accept(&mut plugin.info, described).map_err(wrong)?;
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

/// Does a part of loading on a thread that may block.
async fn blocking<R: Send + 'static>(
    load: impl FnOnce() -> Result<R, String> + Send + 'static,
) -> Result<R, String> {
    tokio::task::spawn_blocking(load).await.unwrap_or_else(|_| Err(compile::damaged()))
}

fn library(source: &Source) -> Result<Ready, String> {
    let library = match source.linked {
        Some(library) => library,
        None => dylib::open(source)?,
    };
    Ok(Ready {
        contract: library.contract(),
        code: Code::Dylib(library),
        kind: Kind::Dylib,
        imports: Vec::new(),
        load: Load::Opened,
    })
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    crate::fault::clean(&format!("{error:#}"), 1024)
}

async fn describe(house: &House, plugin: &Plugin) -> Result<types::Description, String> {
    let mut tenant = Tenant::nobody(&plugin.info.origin);
    tenant.memory = house.memory.share();
    let scope = Arc::new(Scope::new(Arc::new(tenant), &[]));
    let state = HostState::new(scope, "describe", None);
    let asked = instance::run(&house.runtime, plugin, state, None, Describe);
    match tokio::time::timeout(INSIDE, asked).await {
        Ok(Ok(Ok(description))) => Ok(description),
        Ok(Ok(Err(error))) => Err(format!("describe: {}", error.message)),
        Ok(Err(fault)) => Err(format!("describe: it {fault}")),
        Err(_) => Err("describe: it did not answer within 5 s".into()),
    }
}

/// Takes over what a plugin says of itself if it makes sense.
fn accept(plugin: &mut PluginInfo, said: types::Description) -> Result<(), String> {
    let line = |what: &str, text: &str| match text {
        "" => Err(format!("describe: its {what} is empty")),
        text => Ok(info::line(text, 256)),
    };
    let schema = |what: &str, text: &str| {
        let schema: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| format!("describe: its {what} schema is not JSON: {error}"))?;
        match schema {
            serde_json::Value::Object(_) | serde_json::Value::Bool(_) => Ok(info::schema(schema)),
            _ => Err(format!("describe: its {what} schema is neither an object nor a truth value")),
        }
    };
    plugin.name = line("name", &said.name)?;
    plugin.version = line("version", &said.version)?;
    plugin.summary = info::line(&said.summary, 256);
    plugin.abilities = info::abilities(said.abilities);
    plugin.settings_schema = schema("settings", &said.settings_schema)?;
    plugin.target_schema = schema("target", &said.target_schema)?;
    plugin.endpoints = said.endpoints.into_iter().map(EndpointWish::from).collect();
    plugin.commands = said.commands.into_iter().map(info::CommandWish::from).collect();
    plugin.networks = said.networks.into_iter().map(info::NetworkWish::from).collect();
    for wish in &plugin.endpoints {
        if wish.wants_datagrams() && !wish.rules.is_empty() {
            let name = &wish.name;
            return Err(format!(
                "describe: endpoint {name:?}: it has rules and is for datagrams, which have none"
            ));
        }
        for rule in &wish.rules {
            rule.parse::<Rule>()
                .map_err(|flaw| format!("describe: endpoint {:?}: {flaw}", wish.name))?;
            if info::line(rule, 4096) != *rule {
                let name = &wish.name;
                return Err(format!("describe: endpoint {name:?}: {rule:?} is not plain text"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
