//! From bytes to a plugin that can be instantiated.

mod check;

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::{
    bindings::{PluginPre, types},
    cache::{Cache, Compiled, Key, hex},
    command::Records,
    grants::Rule,
    info::{self, EndpointWish, Load, PluginInfo},
    instance::{self, INSIDE},
    reach::Places,
    runtime::{Flavour, Runtime},
    scope::{Scope, Tenant},
    store::HostState,
};

/// Where plugins are loaded and run.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) cache: Cache,
    /// What all providers must know of each other.
    pub(crate) places: Arc<Places>,
    /// The soft limit of open files that programs get; the router's own when absent.
    pub(crate) files: Option<u64>,
    /// Which programs run.
    pub(crate) records: Arc<Records>,
}

/// A plugin's file.
#[derive(Clone)]
pub(crate) struct Source {
    /// `bundled`, or the path.
    pub(crate) origin: String,
    pub(crate) bytes: Cow<'static, [u8]>,
    /// SHA-256, hexadecimal.
    pub(crate) digest: String,
}

/// A plugin that can be instantiated.
pub(crate) struct Plugin {
    info: PluginInfo,
    /// Absent when the component needs more than a slot of the pool has.
    pooled: Option<PluginPre<HostState>>,
    on_demand: OnceLock<PluginPre<HostState>>,
}

/// What the blocking part of loading yields.
struct Ready {
    plugin: Parts,
    contract: String,
    imports: Vec<String>,
    load: Load,
}

struct Parts {
    pooled: Option<PluginPre<HostState>>,
    on_demand: OnceLock<PluginPre<HostState>>,
}

// === impl Source ===

impl Source {
    /// The origin of a plugin that is part of the router's own program.
    pub(crate) const BUNDLED: &str = "bundled";

    pub(crate) fn new(origin: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let bytes = bytes.into();
        let digest = hex(&Sha256::digest(&bytes));
        Self { origin: origin.into(), bytes, digest }
    }
}

// === impl Plugin ===

impl Plugin {
    pub(crate) fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// `docker 0.1.0`
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.info.name, self.info.version)
    }

    pub(crate) fn pooled(&self) -> Option<&PluginPre<HostState>> {
        self.pooled.as_ref()
    }

    /// The form that is instantiated on demand, made when it is first needed.
    pub(crate) fn on_demand(&self, runtime: &Runtime) -> wasmtime::Result<&PluginPre<HostState>> {
        if let Some(pre) = self.on_demand.get() {
            return Ok(pre);
        }
        let pooled =
            self.pooled.as_ref().expect("a plugin has one of its two forms from the start");
        let compiled = Compiled::of(pooled.instance_pre().component())?;
        let pre = prepare(runtime.on_demand(), &compiled.load(runtime.on_demand().engine())?)?;
        Ok(self.on_demand.get_or_init(|| pre))
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
    let ready = tokio::task::spawn_blocking({
        let house = house.clone();
        move || ready(&house, &source)
    });
    let ready = match ready.await {
        Ok(ready) => ready.map_err(wrong)?,
        // The parsers of other people's files are not ours; a panic there is a bad file.
        Err(_) => return Err(wrong("it cannot be read: it is damaged in an unusual way".into())),
    };
    let info = PluginInfo {
        name: String::new(),
        version: String::new(),
        summary: String::new(),
        origin: origin.clone(),
        digest,
        size,
        contract: ready.contract,
        abilities: Vec::new(),
        endpoints: Vec::new(),
        commands: Vec::new(),
        imports: ready.imports.iter().map(|import| info::line(import, 256)).collect(),
        settings_schema: serde_json::Value::Null,
        target_schema: serde_json::Value::Null,
        load: ready.load,
        load_time: Duration::ZERO,
    };
    let Parts { pooled, on_demand } = ready.plugin;
    let mut plugin = Plugin { info, pooled, on_demand };
    let described = describe(&house.runtime, &plugin).await.map_err(wrong)?;
    accept(&mut plugin.info, described).map_err(wrong)?;
    plugin.info.load_time = began.elapsed();
    tracing::info!(
        plugin = plugin.title(),
        origin,
        cached = (plugin.info.load == Load::Cached),
        milliseconds = plugin.info.load_time.as_secs_f64() * 1e3,
        "plugin loaded"
    );
    Ok(plugin)
}

fn ready(house: &House, source: &Source) -> Result<Ready, String> {
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
        format!("it does not fit contract {}: {cause}; build it against wit/v0.1", check::CONTRACT)
    })?;
    let plugin = if std::ptr::eq(flavour, runtime.pooled()) {
        Parts { pooled: Some(pre), on_demand: OnceLock::new() }
    } else {
        Parts { pooled: None, on_demand: OnceLock::from(pre) }
    };
    Ok(Ready { plugin, contract, imports, load })
}

fn prepare(flavour: &Flavour, component: &Component) -> wasmtime::Result<PluginPre<HostState>> {
    PluginPre::new(flavour.linker().instantiate_pre(component)?)
}

async fn describe(runtime: &Runtime, plugin: &Plugin) -> Result<types::Description, String> {
    let scope = Arc::new(Scope::new(Arc::new(Tenant::nobody(&plugin.info.origin)), &[]));
    let state = HostState::new(scope, "describe", None);
    let asked = instance::run(runtime, plugin, state, None, |guest, store| {
        Box::pin(async move { Ok(Ok(guest.call_describe(store).await?)) })
    });
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

/// An error with its causes in one line.
fn chain(error: &wasmtime::Error) -> String {
    crate::fault::clean(&format!("{error:#}"), 1024)
}

#[cfg(test)]
mod tests;
