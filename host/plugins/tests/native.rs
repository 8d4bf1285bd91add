//! The suite on providers that are linked into this program: their own source as it compiles natively,
//! with nothing but the border between them and what they are granted.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use drowse_conformance::{About, Plan, Report, TestHost, TestTarget, UNKNOWN, Verdict, Wish, run};
use drowse_core::{Failure, Provider, StopOptions, Target};
use drowse_plugins::{
    Linked, Plugins, PluginsConfig, Vouchers,
    settings::{
        CommandGrant, CommandLimits, EndpointGrant, Limits, ProviderSettings, Restart, Secret,
        Transport, Trust,
    },
};
use drowse_provider_docker::Docker;
use drowse_provider_http_waker::Waker;
use drowse_provider_process::Processes;
use drowse_provider_proxmox::Proxmox;
use drowse_provider_sdk::dylib::table;
use drowse_provider_wake_on_lan::WakeOnLan;
use drowse_tests::{
    Card, Docker as Engine, FakeProxmox, Hello, Plane,
    checks::{OF_HTTP_WAKER, OF_PROCESS, OF_PROXMOX, OF_WAKE_ON_LAN},
    fake_proxmox::{Generation, TOKEN},
    needs,
    plane::KEY,
};
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
        disturb: Vec<String>,
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
            limits: drowse_plugins::settings::PluginLimits::default(),
            files: None,
            runtime: Handle::current(),
        });
        let plugins = plugins.unwrap();
        // SAFETY: it is the SDK's own table.
        plugins.link(unsafe { Linked::new(name, table::<P>()) }.unwrap());
        Self { plugins, granted, disturb, _cache: cache }
    }

    /// Whether every check passed but these, which were skipped.
    async fn conforms(self, trial: TestTarget, skipped: &[&[&str]]) {
        let plan = Plan { settings: self.granted.settings.clone(), test_target: Some(trial) };
        let report = run(&self, &plan, &mut |_| {}).await;
        self.plugins.shutdown().await;
        assert!(report.ok(), "{report:#?}");
        // Nobody can see what one that is linked makes use of.
        let skipped = [&[&["imports"][..]], skipped].concat().concat();
        assert_eq!(others(&report), skipped, "{report:#?}");
    }
}

/// Those that neither passed nor failed.
fn others(report: &Report) -> Vec<&'static str> {
    let skipped = report.checks.iter().filter(|it| matches!(it.verdict, Verdict::Skipped { .. }));
    skipped.map(|check| check.name).collect()
}

#[async_trait]
impl TestHost for Native {
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

    async fn ungranted(&self, settings: &Value) -> Result<Arc<dyn Provider>, Failure> {
        let bare = provider(&self.granted.plugin);
        let bare = ProviderSettings { settings: settings.clone(), ..bare };
        Ok(self.plugins.configured(bare).await?)
    }

    async fn granted(&self) -> Result<Arc<dyn Provider>, Failure> {
        Ok(self.plugins.configured(self.granted.clone()).await?)
    }

    async fn disturb(&self) -> Option<Result<(), String>> {
        let [program, arguments @ ..] = &self.disturb[..] else { return None };
        let status = Command::new(program).args(arguments).status().await;
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

/// What the plugin asks for, at this place.
fn endpoint(transport: Transport, headers: &[(&str, String)]) -> EndpointGrant {
    let header =
        |(name, value): &(&str, String)| ((*name).to_owned(), Secret::Literal(value.clone()));
    EndpointGrant {
        transport,
        base: String::new(),
        headers: headers.iter().map(header).collect(),
        rules: None,
        token: None,
        timeout: Duration::from_secs(30),
    }
}

/// Host and port of a url.
fn place(url: &str) -> (String, u16) {
    let (_, place) = url.split_once("://").unwrap();
    let (host, port) = place.split_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

/// A backend whose starts are noted in this directory. None after saying that there is none.
fn backend(test: &str, place: &Path) -> Option<Hello> {
    let Some(program) = std::env::var_os("DROWSE_HELLO").map(PathBuf::from) else {
        needs::skip(test, "DROWSE_HELLO is not set");
        return None;
    };
    Some(Hello::of(&program, place, Duration::ZERO).unwrap())
}

fn trial(handle: &str, settings: &Value) -> TestTarget {
    let target =
        |handle: &str| Target { handle: handle.to_owned(), settings: settings.to_string() };
    TestTarget {
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
    let place = tempfile::tempdir().unwrap();
    let Some(hello) = backend("a_linked_process_provider", place.path()) else { return };
    let granted = ProviderSettings {
        commands: [("hello".to_owned(), command(hello.run()))].into(),
        ..provider("process")
    };
    let native = Native::new::<Processes>(granted, "process", hello.kill_the_last().into());
    let trial = trial("hello", &json!({ "port": hello.port() }));
    native.conforms(trial, &OF_PROCESS).await;
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
    let native = Native::new::<Docker>(granted, "docker", disturb.map(str::to_owned).into());
    let trial = TestTarget {
        exec: Some((["sh", "-c", "exit 7"].map(str::to_owned).into(), 7)),
        may_recreate: true,
        may_remove: true,
        ..trial("conform-native", &json!({}))
    };
    native.conforms(trial, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http_waker_provider_keeps_what_the_contract_promises_without_a_plugin_between() {
    let home = tempfile::tempdir().unwrap();
    let Some(hello) = backend("a_linked_http_waker_provider", home.path()) else { return };
    let plane = Plane::begin(&hello).unwrap();
    let (host, port) = place(&plane.url());
    let (name, key) = KEY;
    let api = EndpointGrant {
        rules: Some(vec!["* /servers/**".to_owned()]),
        ..endpoint(Transport::Http { host, port }, &[(name, key.to_owned())])
    };
    let post = |verb: &str| json!({ "path": format!("/servers/{{name}}/{verb}") });
    let granted = ProviderSettings {
        endpoints: [("api".to_owned(), api)].into(),
        settings: json!({
            "poll": "50ms",
            "patience": "10s",
            "pause": post("pause"),
            "resume": post("resume"),
            "kill": post("kill"),
            "status": { "id": "/id" },
            "list": { "path": "/servers", "items": "/servers", "every": "50ms" },
        }),
        ..provider("http-waker")
    };
    let native = Native::new::<Waker>(granted, "http-waker", hello.kill_the_last().into());
    native.conforms(trial("lobby", &json!({})), &OF_HTTP_WAKER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxmox_provider_keeps_it_of_a_fake_without_a_plugin_between() {
    let home = tempfile::tempdir().unwrap();
    let Some(hello) = backend("a_linked_proxmox_provider", home.path()) else { return };
    let fake = FakeProxmox::begin(Generation::New).unwrap();
    fake.add_machine(101, &hello, Duration::from_millis(50));
    let (host, port) = place(&fake.url());
    let digest = fake.fingerprint().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    let digest: Vec<u8> = digest.collect();
    let trust = Trust::Fingerprints(vec![digest.try_into().unwrap()]);
    let api = endpoint(
        Transport::Https { host, port, trust, identity: None },
        &[("Authorization", format!("PVEAPIToken={TOKEN}"))],
    );
    let granted = ProviderSettings {
        endpoints: [("api".to_owned(), api)].into(),
        settings: json!({ "networks": ["127.0.0.0/8"], "poll": "50ms", "every": "200ms" }),
        ..provider("proxmox")
    };
    let native = Native::new::<Proxmox>(granted, "proxmox", hello.kill_the_last().into());
    let unknown = Target { handle: "999".to_owned(), settings: "{}".to_owned() };
    let trial = TestTarget { unknown, ..trial("101", &json!({})) };
    native.conforms(trial, &OF_PROXMOX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wake_on_lan_provider_keeps_what_the_contract_promises_without_a_plugin_between() {
    let home = tempfile::tempdir().unwrap();
    let Some(hello) = backend("a_linked_wake_on_lan_provider", home.path()) else { return };
    // The command that puts it to sleep makes a file of the machine's name.
    let card = Card::begin(&hello, home.path().join("nas")).unwrap();
    let (host, port) = place(&card.url());
    let sleep = CommandGrant {
        extra_arguments: true,
        directory: Some(home.path().to_owned()),
        ..command(vec!["touch".to_owned()])
    };
    let granted = ProviderSettings {
        endpoints: [("lan".to_owned(), endpoint(Transport::Udp { host, port }, &[]))].into(),
        commands: [("sleep".to_owned(), sleep)].into(),
        ..provider("wake-on-lan")
    };
    let native = Native::new::<WakeOnLan>(granted, "wake-on-lan", Vec::new());
    let settings = json!({ "mac": "02:11:22:aa:bb:cc", "address": hello.address().to_string() });
    let unknown = Target { handle: UNKNOWN.to_owned(), settings: "{}".to_owned() };
    let trial = TestTarget { unknown, ..trial("nas", &settings) };
    native.conforms(trial, &OF_WAKE_ON_LAN).await;
}
