//! The suite on providers that are linked into this program: their own source as it compiles natively,
//! with nothing but the border between them and what they are granted.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use drowse_conformance::{About, Plan, Report, Stand, Trial, UNKNOWN, Verdict, Wish, run};
use drowse_core::{Failure, Provider, StopOptions, Target};
use drowse_plugins::{
    Linked, Plugins, PluginsConfig, Vouchers,
    settings::{CommandGrant, CommandLimits, Limits, ProviderSettings, Restart},
};
use drowse_provider_docker::Docker;
use drowse_provider_process::Processes;
use drowse_provider_sdk::dylib::table;
use drowse_tests::{Docker as Engine, Hello, needs};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, runtime::Handle};

/// A provider in this program's hands.
struct Native {
    plugins: Plugins,
    granted: ProviderSettings,
    /// Changes the target behind its back.
    disturb: Vec<String>,
    _cache: TempDir,
}

impl Native {
    fn new<P: drowse_provider_sdk::Provider>(
        granted: ProviderSettings,
        name: &'static str,
        disturb: &[&str],
    ) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let plugins = Plugins::new(PluginsConfig {
            dir: None,
            allow_dylib: false,
            cache: cache.path().to_owned(),
            bundled: &[],
            vouchers: Vouchers::default(),
            state: None,
            launcher: None,
            files: None,
            runtime: Handle::current(),
        });
        let plugins = plugins.unwrap();
        // SAFETY: it is the SDK's own table.
        plugins.link(unsafe { Linked::new(name, table::<P>()) }.unwrap());
        let disturb = disturb.iter().map(|&word| word.to_owned()).collect();
        Self { plugins, granted, disturb, _cache: cache }
    }

    /// Whether every check passed but these, which were skipped.
    async fn conforms(self, trial: Trial, skipped: &[&str]) {
        let plan = Plan { settings: json!({}), trial: Some(trial) };
        let report = run(&self, &plan, &mut |_| {}).await;
        self.plugins.shutdown().await;
        assert!(report.ok(), "{report:#?}");
        assert_eq!(others(&report), skipped, "{report:#?}");
    }
}

/// Those that neither passed nor failed.
fn others(report: &Report) -> Vec<&'static str> {
    let skipped = report.checks.iter().filter(|it| matches!(it.verdict, Verdict::Skipped { .. }));
    skipped.map(|check| check.name).collect()
}

#[async_trait]
impl Stand for Native {
    async fn load(&self) -> Result<About, String> {
        let info = self.plugins.inspect(&self.granted.plugin).await?;
        let wish = |name: &String, interface, optional| Wish {
            name: name.clone(),
            interfaces: [interface].into(),
            optional,
        };
        let endpoints = info.endpoints.iter().map(|it| wish(&it.name, "http", it.optional));
        let commands = info.commands.iter().map(|it| wish(&it.name, "command", it.optional));
        Ok(About {
            wishes: endpoints.chain(commands).collect(),
            name: info.name,
            version: info.version,
            abilities: info.abilities,
            imports: None,
            flaws: Vec::new(),
            settings_schema: info.settings_schema,
            target_schema: info.target_schema,
        })
    }

    async fn bare(&self, settings: &Value) -> Result<Arc<dyn Provider>, Failure> {
        let bare = provider(&self.granted.plugin);
        let bare = ProviderSettings { settings: settings.clone(), ..bare };
        Ok(self.plugins.configured(bare).await?)
    }

    async fn granted(&self) -> Result<Arc<dyn Provider>, Failure> {
        Ok(self.plugins.configured(self.granted.clone()).await?)
    }

    async fn disturb(&self) -> Option<Result<(), String>> {
        let status = Command::new(&self.disturb[0]).args(&self.disturb[1..]).status().await;
        Some(match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("{other:?}")),
        })
    }
}

/// A provider of this plugin with nothing granted.
fn provider(plugin: &str) -> ProviderSettings {
    ProviderSettings {
        name: plugin.to_owned().try_into().unwrap(),
        plugin: plugin.to_owned(),
        settings: json!({}),
        endpoints: BTreeMap::new(),
        commands: BTreeMap::new(),
        networks: BTreeMap::new(),
        reach: None,
        limits: Limits::default(),
    }
}

fn command(run: Vec<String>) -> CommandGrant {
    let mut run = run.into_iter();
    CommandGrant {
        program: run.next().unwrap(),
        arguments: run.collect(),
        environment: BTreeMap::new(),
        directory: None,
        extra_arguments: false,
        extra_environment: Vec::new(),
        end: StopOptions { signal: None, grace: Duration::from_secs(10) },
        restart: Restart::Never,
        restart_limit: 0,
        limits: CommandLimits::default(),
    }
}

fn trial(handle: &str, settings: &Value) -> Trial {
    let target =
        |handle: &str| Target { handle: handle.to_owned(), settings: settings.to_string() };
    Trial {
        target: target(handle),
        unknown: target(UNKNOWN),
        patience: Duration::from_secs(60),
        grace: Duration::from_secs(1),
        addresses: true,
        exec: None,
        without: Vec::new(),
        may_recreate: false,
        may_remove: false,
        keep_data: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_provider_keeps_what_the_contract_promises_without_a_plugin_between() {
    let Some(program) = std::env::var_os("DROWSE_HELLO").map(PathBuf::from) else {
        return needs::skip("a_linked_process_provider", "DROWSE_HELLO is not set");
    };
    let place = tempfile::tempdir().unwrap();
    let hello = Hello::of(&program, place.path(), Duration::ZERO).unwrap();
    let granted = ProviderSettings {
        commands: [("hello".to_owned(), command(hello.run()))].into(),
        ..provider("process")
    };
    let kill = "kill -KILL $(tail -n 1 starts | cut -d ' ' -f 1) 2>/dev/null";
    let disturb = format!("cd {} && until {kill}; do sleep 0.01; done", place.path().display());
    let native = Native::new::<Processes>(granted, "process", &["sh", "-c", &disturb]);
    let trial = trial("hello", &json!({ "port": hello.port() }));
    let skipped = [
        "imports",
        "exec",
        "exec-output",
        "exec-empty",
        "exec-unknown",
        "exec-stopped",
        "exec-paused",
        "recreate",
        "recreate-stopped",
        "remove",
        "remove-again",
    ];
    native.conforms(trial, &skipped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_docker_provider_keeps_what_the_contract_promises_without_a_plugin_between() {
    let Some(engine) = Engine::shared("a_linked_docker_provider") else { return };
    engine.create_web("conform-native", 0.0).unwrap();
    let socket = engine.socket();
    let endpoints = ["engine", "exec", "recreate", "remove"];
    let endpoints = endpoints.map(|name| (name.to_owned(), support::grant_of_engine(&socket)));
    let granted = ProviderSettings { endpoints: endpoints.into(), ..provider("docker") };
    let at = format!("unix://{}", socket.display());
    let disturb = ["docker", "--host", &at, "kill", "conform-native"];
    let native = Native::new::<Docker>(granted, "docker", &disturb);
    let trial = Trial {
        exec: Some((["sh", "-c", "exit 7"].map(str::to_owned).into(), 7)),
        may_recreate: true,
        may_remove: true,
        ..trial("conform-native", &json!({}))
    };
    native.conforms(trial, &["imports"]).await;
}
