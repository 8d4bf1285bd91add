//! `drowse plugin test`

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
};

use async_trait::async_trait;
use drowse_config::{Config, DefaultPaths, TrialFile};
use drowse_conformance::{About, Check, Plan, Report, TestHost, Verdict, Wish};
use drowse_core::{Failure, Provider, ProviderName};
use drowse_plugins::{
    EndpointWish, NetworkWish, PluginInfo, Plugins,
    settings::{Limits, ProviderSettings},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::inspected;
use crate::{
    cli::TestPlugin,
    commands::{plugins, runtime},
    error::Error,
    grants, locate,
    output::{Output, Tone},
};

/// The package of the contract's interfaces.
const PACKAGE: &str = "drowse:provider/";
/// The name of the provider without grants.
const BARE: &str = "plugin-test";

/// The plugin under test.
struct Bench {
    plugins: Plugins,
    reference: String,
    file: Option<TrialFile>,
}

/// The result for `--json`.
#[derive(Serialize)]
struct TestResult<'a> {
    plugin: Option<PluginInfo>,
    ok: bool,
    passed: usize,
    failed: usize,
    skipped: usize,
    #[serde(flatten)]
    report: &'a Report,
}

pub(crate) fn test(asked: &TestPlugin, output: &Output) -> Result<(), Error> {
    let (reference, paths) = inspected(&asked.plugin, locate::paths(&asked.config)?);
    let file = asked.grants.as_deref().map(TrialFile::load).transpose().map_err(Error::new)?;
    let plan = Plan {
        settings: file.as_ref().map_or_else(|| json!({}), |file| file.provider.settings.clone()),
        test_target: file.as_ref().map(|file| file.trial.clone()),
    };
    let runtime = runtime()?;
    let (report, plugin) = runtime.block_on(async {
        let plugins = plugins(paths, runtime.handle())?;
        let bench = Bench { plugins, reference, file };
        let plugin = bench.plugins.inspect(&bench.reference).await.ok();
        if let Some(info) = &plugin {
            let title = format!("{} {}, {}\n", info.name, info.version, info.origin);
            output.say(|output| output.paint(&title, Tone::Title));
        }
        let mut print = |check: &Check| output.say(|output| line(check, output));
        // Programs that the plugin has started end with this process.
        let report = tokio::select! {
            report = drowse_conformance::run(&bench, &plan, &mut print) => Ok(report),
            error = interrupted() => Err(error),
        };
        bench.plugins.shutdown().await;
        Ok::<_, Error>((report?, plugin))
    })?;
    let (passed, failed, skipped) = (report.passed(), report.failed(), report.skipped());
    let result = TestResult { plugin, ok: report.ok(), passed, failed, skipped, report: &report };
    output.answer(&result, |_| format!("\n{passed} passed, {failed} failed, {skipped} skipped"))?;
    if report.ok() { Ok(()) } else { Err(Error::printed()) }
}

/// Waits for SIGTERM or SIGINT.
async fn interrupted() -> Error {
    let mut ends = match signal(SignalKind::terminate()) {
        Ok(ends) => ends,
        Err(error) => return Error::new(format!("cannot listen to signals: {error}")),
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = ends.recv() => {}
    }
    Error::new("interrupted; the target is in the state in which the last check left it")
}

/// A check as text.
fn line(check: &Check, output: &Output) -> String {
    let (word, tone) = match &check.verdict {
        Verdict::Passed { .. } => ("passed ", Tone::Good),
        Verdict::Failed { .. } => ("FAILED ", Tone::Bad),
        Verdict::Skipped { .. } => ("skipped", Tone::Quiet),
    };
    let word = output.paint(word, tone);
    let head = format!("{word}  {:<16}  {}", check.name, check.promise);
    match &check.verdict {
        Verdict::Passed { note: None } => head,
        Verdict::Passed { note: Some(note) } => format!("{head} ({note})"),
        Verdict::Failed { expected, actual } => {
            format!("{head}\n           expected  {expected}\n           actual    {actual}")
        }
        Verdict::Skipped { reason } => format!("{head}\n           {reason}"),
    }
}

// === impl Bench ===

#[async_trait]
impl TestHost for Bench {
    async fn load(&self) -> Result<About, String> {
        let info = self.plugins.inspect(&self.reference).await?;
        Ok(about(info))
    }

    async fn ungranted(&self, settings: &Value) -> Result<Arc<dyn Provider>, Failure> {
        let name = ProviderName::parse(BARE).expect("the name is one");
        let settings = ProviderSettings {
            name,
            plugin: self.reference.clone(),
            settings: settings.clone(),
            endpoints: BTreeMap::new(),
            networks: BTreeMap::new(),
            commands: BTreeMap::new(),
            reach: None,
            limits: Limits::default(),
        };
        Ok(self.plugins.configured(settings).await?)
    }

    async fn granted(&self) -> Result<Arc<dyn Provider>, Failure> {
        let Some(file) = &self.file else { return self.ungranted(&json!({})).await };
        let settings = ProviderSettings { plugin: self.reference.clone(), ..file.provider.clone() };
        Ok(self.plugins.configured(settings).await?)
    }

    async fn disturb(&self) -> Option<Result<(), String>> {
        let [program, arguments @ ..] = self.file.as_ref()?.disturb.as_deref()? else {
            return None;
        };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        Some(match command.output().await {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(format!("{program}: {}: {said}", output.status))
            }
            Err(error) => Err(format!("{program}: {error}")),
        })
    }
}

/// The description of a plugin for the suite.
fn about(info: PluginInfo) -> About {
    let interface = |import: &String| {
        let (interface, _) = import.strip_prefix(PACKAGE)?.split_once('@')?;
        Some(interface.to_owned())
    };
    // Imports are known only of components.
    let imports: BTreeSet<_> = info.imports.iter().filter_map(interface).collect();
    let endpoints = info.endpoints.iter().map(|wish| Wish {
        name: wish.name.clone(),
        interfaces: interfaces(wish),
        optional: wish.optional,
    });
    let commands = info.commands.iter().map(|wish| Wish {
        name: wish.name.clone(),
        interfaces: ["command"].into(),
        optional: wish.optional,
    });
    let networks = info.networks.iter().map(|wish| Wish {
        name: wish.name.clone(),
        interfaces: ["network"].into(),
        optional: wish.optional,
    });
    About {
        flaws: flaws(&info),
        wishes: endpoints.chain(commands).chain(networks).collect(),
        imports: (!info.imports.is_empty()).then_some(imports),
        name: info.name,
        version: info.version,
        abilities: info.abilities,
        settings_schema: info.settings_schema,
        target_schema: info.target_schema,
    }
}

/// The interfaces through which a required endpoint is called, according to its rules.
fn interfaces(wish: &EndpointWish) -> BTreeSet<&'static str> {
    let of_rule = |rule: &String| if rule.starts_with('/') { "grpc" } else { "http" };
    let called: BTreeSet<_> = wish.rules.iter().map(of_rule).collect();
    match called.is_empty() {
        true if wish.wants_datagrams() => ["udp"].into(),
        true => ["http"].into(),
        false => called,
    }
}

/// Requirements that are invalid as grants, as `drowse init` writes them, and networks that are named by
/// unknown settings.
fn flaws(info: &PluginInfo) -> Vec<String> {
    let endpoints = info.endpoints.iter();
    let endpoints: Vec<_> =
        endpoints.map(|wish| EndpointWish { optional: false, ..wish.clone() }).collect();
    let networks = info.networks.iter();
    let networks: Vec<_> =
        networks.map(|wish| NetworkWish { optional: false, ..wish.clone() }).collect();
    let mut text = format!("[provider.{BARE}]\nplugin = \"{BARE}\"\n");
    grants::write(BARE, &endpoints, &mut text);
    grants::write_networks(BARE, &networks, &mut text);
    let parsed = Config::parse(vec![(PathBuf::from("grants"), text)], &DefaultPaths::default());
    let refused = parsed.err().into_iter().flatten().map(|error| error.message);
    let settings: BTreeSet<_> = [&info.settings_schema, &info.target_schema]
        .into_iter()
        .flat_map(|schema| grants::properties(schema).into_keys())
        .collect();
    let named = networks.iter().filter_map(|wish| Some((&wish.name, wish.setting.as_ref()?)));
    let unknown =
        named.filter(|(_, setting)| !settings.contains(*setting)).map(|(name, setting)| {
            format!("network {name:?}: it is named by setting {setting:?}, which no schema has")
        });
    refused.chain(unknown).collect()
}

#[cfg(test)]
mod tests;
