//! The settings that are read from a configuration, and that any input is read or refused.

#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use drowse_config::{Config, DefaultPaths, Diagnostics, Item, Paths};
use drowse_core::{ReadyCheck, SleepMethod, SleepPlan, StopOptions, Veto, WakePlan};
use drowse_plugins::{
    AddressRule,
    settings::{Limits, PluginLimits, Secret, Transport, Trust},
};
use drowse_proxy::settings::HttpLimits;
use drowse_routes::{
    AuthKind, HostMatch, Waiting, WakeRules,
    rules::{Bots, Rate},
};
use proptest::prelude::*;

fn valid(name: &str) -> Config {
    let file = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
        .join("tests/valid")
        .join(name);
    Config::load(&file, &DefaultPaths::default()).unwrap()
}

fn parse(text: &str) -> Result<Config, Diagnostics> {
    Config::parse(
        vec![(PathBuf::from("/etc/drowse/drowse.toml"), text.to_owned())],
        &DefaultPaths::default(),
    )
}

#[test]
fn every_setting_is_read_as_written() {
    let config = valid("docker.toml");
    assert_eq!(config.threads, Some(2));
    assert!(config.plugins.ends_with("tests/valid/my-plugins"));
    assert!(config.allow_dylib);
    assert_eq!(config.cache, Path::new("/var/tmp/drowse-cache"));

    let listener = &config.listeners[0];
    assert_eq!(listener.trust.len(), 2);
    assert_eq!(listener.limits.connections, 500);
    assert_eq!(listener.limits.head_bytes, 32 << 10);
    assert_eq!(listener.limits.keep_alive, Duration::from_secs(30));
    assert_eq!(listener.limits.tunnel_idle, Some(Duration::from_secs(3600)));
    assert_eq!(listener.limits.connect_timeout, HttpLimits::default().connect_timeout);

    let names: Vec<_> = config.workloads.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["blog", "cron", "wiki"]);
    let [blog, cron, wiki] = config.workloads.as_slice() else { panic!("three workloads") };
    assert_eq!(blog.target.handle, "blog-web-1");
    assert_eq!(blog.idle, Some(Duration::from_secs(5400)));
    assert_eq!(blog.sleep.signal.as_deref(), Some("SIGTERM"));
    assert_eq!(blog.sleep.grace, Duration::from_secs(30));
    assert_eq!(blog.wake.timeout, Duration::from_secs(90));
    let expected = ReadyCheck::Http {
        port: 80,
        method: "GET".into(),
        path: "/health".into(),
        status: Some(200..=399),
        host: Some("blog.example.org".into()),
        header: None,
    };
    assert_eq!(blog.ready, expected);
    assert_eq!(
        cron.target.settings,
        r#"{"deep":{"list":[1,2.5,true,"2024-01-01"]},"network":"backend"}"#
    );
    assert_eq!(cron.target.handle, "cron");
    assert_eq!(wiki.idle, None);

    assert_eq!(config.routes[0].host, HostMatch::Exact("blog.example.org".into()));
    assert_eq!(config.routes[0].listener, "web");
    assert_eq!(config.routes[1].host, HostMatch::Wildcard("wiki.example.org".into()));
    assert_eq!(config.routes[1].path, "/app");
    assert_eq!(config.routes[1].waiting, Waiting::Hold);
    assert_eq!(config.routes[2].host, HostMatch::Any);
}

#[test]
fn grants_are_read_without_reading_their_secrets() {
    let config = valid("process.toml");
    let directory =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
            .join("tests/valid");
    let shop = &config.providers[0].commands["shop"];
    assert_eq!(Path::new(&shop.program), directory.join("./bin/shop"));
    assert_eq!(shop.arguments, ["--port", "3000", ""]);
    assert_eq!(shop.directory.as_deref(), Some(directory.join("shop").as_path()));
    assert!(shop.extra_arguments);

    let remote = &config.providers[1];
    assert_eq!(remote.plugin, "/opt/pve.wasm");
    let reach = ["10.0.0.0/8", "::1", "10.0.0.1:8006", ".lan"];
    let reach: Vec<AddressRule> = reach.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(remote.reach.as_ref(), Some(&reach));
    assert_eq!(config.providers[0].reach, None);
    let api = &remote.endpoints["api"];
    let Transport::Https { host, port: 8006, trust: Trust::Fingerprints(digests), identity: None } =
        &api.transport
    else {
        panic!("{:?}", api.transport)
    };
    assert_eq!(host, "pve.example.org");
    let ends = digests.iter().map(|digest| (digest[1], digest[31])).collect::<Vec<_>>();
    assert_eq!(ends, [(0x11, 0xff), (0, 1)]);
    assert_eq!(api.base, "/api2/json");
    let Transport::Https { trust: Trust::Ca(ca), identity: Some(own), .. } =
        &remote.endpoints["other"].transport
    else {
        panic!("{:?}", remote.endpoints["other"].transport)
    };
    let files = [ca, &own.certificate, &own.key];
    assert_eq!(
        files,
        ["ca.pem", "cert.pem", "key.pem"].map(|file| directory.join(file)).each_ref()
    );
    let udp = Transport::Udp { host: "192.168.1.255".to_owned(), port: 9 };
    assert_eq!(remote.endpoints["lan"].transport, udp);
    let backend = &remote.networks["backend"];
    assert_eq!(backend.config, directory.join("cni/backend.conflist"));
    assert_eq!(backend.plugins, [Path::new("/opt/cni/bin"), Path::new("/usr/lib/cni")]);
    assert_eq!(backend.results, Path::new("/var/lib/cni/drowse"));
    assert_eq!(backend.timeout, Duration::from_secs(5));
    let secret = Secret::Env { prefix: "PVEAPIToken=".to_owned(), name: "PVE_TOKEN".to_owned() };
    assert!(api.headers.contains(&("Authorization".to_owned(), secret)));
    assert_eq!(shop.environment["PASSWORD"], "hunter2 of the shop");
    let plain = Secret::Literal("hunter2 of the api".to_owned());
    assert!(api.headers.contains(&("X-Plain".to_owned(), plain)));
    let shown = format!("{config:?}");
    assert!(shown.contains("PASSWORD") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_route_overrides_the_wake_rules_of_its_workload() {
    let config = valid("who.toml");
    let [blog, admin, public, wiki] = config.routes.as_slice() else { panic!("four routes") };
    let networks = |texts: &[&str]| -> Vec<ipnet::IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };

    let rules = &blog.wake;
    let paths: Vec<_> = rules.paths.iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["/", "/posts/*"]);
    assert_eq!(rules.methods, ["GET", "HEAD"]);
    assert_eq!(rules.from, networks(&["192.168.0.0/16", "2001:db8::/32"]));
    assert_eq!(rules.not_from, networks(&["192.168.66.0/24"]));
    assert_eq!(rules.agents[0].to_string(), "Mozilla/*");
    assert_eq!(rules.not_agents[0].to_string(), "*preview*");
    assert_eq!(rules.bots, Bots::Ignore);
    assert_eq!(rules.limits.all, Some(Rate { count: 10, per: Duration::from_secs(3600) }));
    assert_eq!(rules.limits.client, Some(Rate { count: 3, per: Duration::from_secs(600) }));
    let [health, balancer] = rules.health_checks.as_slice() else { panic!("two probes") };
    assert_eq!((health.status, health.counts_as_visit, health.agent.is_none()), (204, false, true));
    assert_eq!(
        (balancer.status, balancer.counts_as_visit, balancer.path.is_none()),
        (200, true, true)
    );
    assert!(Arc::ptr_eq(&blog.wake, &public.wake), "the same rules are there once");

    assert_eq!(admin.wake.from, networks(&["192.168.1.0/24"]));
    assert!(admin.wake.paths.is_empty() && admin.wake.health_checks.is_empty());
    assert_eq!(admin.wake.bots, Bots::Wake);
    assert_eq!(admin.wake.not_from, rules.not_from, "what it does not say is the workload's");
    assert_eq!(admin.wake.limits, rules.limits);
    assert_eq!(*wiki.wake, WakeRules::default());

    let spec = config.workloads.iter().find(|it| it.name.as_str() == "blog").unwrap();
    assert_eq!(spec.wake.timeout, Duration::from_secs(90));
    let proxies = &config.listeners[0].proxy_protocol;
    assert_eq!(*proxies, networks(&["10.0.0.2/32", "fd00::/8"]));
}

#[test]
fn a_route_overrides_the_authentication_of_its_workload() {
    let config = valid("who.toml");
    let [blog, admin, public, wiki] = config.routes.as_slice() else { panic!("four routes") };
    let AuthKind::Forward(sso) = &blog.auth.as_ref().unwrap().kind else { panic!("{blog:?}") };
    assert_eq!((sso.host.as_str(), sso.port), ("authelia", 9091));
    assert_eq!(sso.path, "/api/authz/forward-auth?rd=x");
    assert_eq!(sso.headers, ["remote-user", "remote-groups"]);
    assert_eq!(sso.timeout, Duration::from_secs(2));

    let family = admin.auth.as_ref().unwrap();
    assert_eq!(family.name, "family");
    let AuthKind::Basic(basic) = &family.kind else { panic!("{family:?}") };
    let directory =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
            .join("tests/valid");
    assert_eq!(basic.users, directory.join("family.users"));
    assert_eq!(basic.realm, "At home");
    assert_eq!(basic.user_header.as_deref(), Some("remote-user"));

    assert_eq!(public.auth, None);
    // Headers that authentication sets on one route cannot be set by clients of another.
    for route in [blog, admin, public] {
        assert_eq!(*route.identity_headers, ["remote-groups", "remote-user"]);
    }
    assert!(wiki.identity_headers.is_empty());
    assert_eq!(wiki.auth, None);
}

#[test]
fn a_command_inside_a_container_keeps_its_path() {
    let text = "[provider.docker]\nplugin = \"docker\"\n[workload.a]\nprovider = \"docker\"\n\
                ready = { exec = [\"./healthy\", \"\"] }\nkeep-awake-if = { exec = [\"bin/busy\"] }\n";
    let config = parse(text).unwrap();
    let exec = |command: &[&str]| ReadyCheck::Exec {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    };
    assert_eq!(config.workloads[0].ready, exec(&["./healthy", ""]));
    assert_eq!(config.workloads[0].vetoes, [Veto::Busy(exec(&["bin/busy"]))]);
}

#[test]
fn a_program_gets_the_stop_options_of_its_workload_for_the_end_of_the_router() {
    let text = "[provider.local]\nplugin = \"process\"\n\
                command.world = { run = [\"world\"] }\ncommand.tool = { run = [\"tool\"] }\n\
                [workload.minecraft]\nprovider = \"local\"\ntarget = \"world\"\n\
                sleep = { signal = \"SIGINT\", grace = \"1m\" }\n";
    let config = parse(text).unwrap();
    let commands = &config.providers[0].commands;
    let grace = Duration::from_secs(60);
    assert_eq!(commands["world"].end, StopOptions { signal: Some("SIGINT".to_owned()), grace });
    let usual = StopOptions { signal: None, grace: SleepPlan::default().grace };
    assert_eq!(commands["tool"].end, usual);
}

#[test]
fn a_workload_with_a_route_is_ready_by_default_when_it_answers_a_request() {
    let config = valid("docker.toml");
    let wiki = config.workloads.iter().find(|it| it.name.as_str() == "wiki").unwrap();
    let expected = ReadyCheck::Http {
        port: 3000,
        method: "GET".into(),
        path: "/".into(),
        status: None,
        host: None,
        header: None,
    };
    assert_eq!(wiki.ready, expected);
    let cron = config.workloads.iter().find(|it| it.name.as_str() == "cron").unwrap();
    assert_eq!(cron.ready, ReadyCheck::Started);
}

#[test]
fn the_documented_defaults_are_the_defaults_of_the_crates_that_take_them() {
    let config = parse(
        "[[listener]]\nname = \"a\"\nbind = \"[::1]:1\"\n\
         [provider.p]\nplugin = \"p\"\n\
         [workload.w]\nprovider = \"p\"\n",
    )
    .unwrap();
    assert_eq!(config.listeners[0].limits, HttpLimits::default());
    assert_eq!(config.providers[0].limits, Limits::default());
    assert_eq!(config.workloads[0].sleep, SleepPlan::default());
    assert_eq!(config.workloads[0].sleep.method, SleepMethod::default());
    assert_eq!(config.workloads[0].wake, WakePlan::default());
}

#[test]
fn a_directory_is_read_as_one_configuration() {
    let config = valid("directory");
    assert_eq!(config.files().count(), 2);
    assert_eq!(config.routes[0].workload.as_str(), "blog");
    assert_eq!(config.providers[0].name.as_str(), "docker");
}

#[test]
fn a_diagnostic_found_later_points_at_the_item() {
    let config = valid("docker.toml");
    let item = Item::Provider(config.providers[0].name.clone());
    let shown = config.diagnostic(&item, "the plugin does not want this").to_string();
    assert!(shown.contains("docker.toml:15:11: the plugin does not want this"), "{shown}");
    assert!(shown.contains("15 | [provider.docker]"), "{shown}");
}

#[test]
fn a_missing_file_and_an_empty_directory_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Config::load(&directory.path().join("no.toml"), &DefaultPaths::default());
    assert!(missing.unwrap_err().to_string().contains("drowse init"));
    let empty = Config::load(directory.path(), &DefaultPaths::default());
    assert!(empty.unwrap_err().to_string().contains("no *.toml"));
}

#[test]
fn plugins_beside_the_configuration_take_precedence() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    std::fs::write(&file, "").unwrap();
    let user = DefaultPaths { home: Some("/home/u".into()), ..DefaultPaths::default() };
    let config = Config::load(&file, &user).unwrap();
    assert_eq!(config.plugins, Path::new("/home/u/.local/share/drowse/plugins"));
    std::fs::create_dir(directory.path().join("plugins")).unwrap();
    let config = Config::load(&file, &user).unwrap();
    assert_eq!(config.plugins, directory.path().join("plugins"));
}

#[test]
fn limits_of_all_plugins_are_read() {
    let usual = PluginLimits::default();
    assert_eq!(parse("").unwrap().plugin_limits, usual);
    let text = "[plugin-limits]\nmemory = \"96MiB\"\ncompile-cpu-time = \"2m\"\n";
    let limits = parse(text).unwrap().plugin_limits;
    assert_eq!(limits.memory, 96 << 20);
    assert_eq!(limits.compile.time, Duration::from_secs(120));
    assert_eq!(limits.compile.memory, usual.compile.memory);
    let errors = parse("plugin-limits.memory = \"0B\"\n").unwrap_err().to_string();
    assert!(errors.contains("`memory` in [plugin-limits]"), "{errors}");

    // Commands that look at plugins keep them also where something else is wrong.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    std::fs::write(&file, format!("idel = 10m\n{text}compile-memory = 7\n")).unwrap();
    let paths = Paths::load(&file, &DefaultPaths::default()).unwrap();
    assert_eq!(paths.plugin_limits, limits);
}

#[test]
fn paths_are_found_in_a_broken_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let broken = "control-socket = \"my.sock\"\nidel = 10m\ncache-dir = \"/my/cache\"\n\
                  require-signatures = true\nplugin-keys = [\"RWnone\"]\n[[[\n";
    std::fs::write(directory.path().join("a.toml"), broken).unwrap();
    std::fs::write(directory.path().join("b.toml"), "plugin-dir = \"mine\"\n[provider").unwrap();
    let paths = Paths::load(directory.path(), &DefaultPaths::default()).unwrap();
    assert_eq!(paths.control, directory.path().join("my.sock"));
    assert_eq!(paths.cache, Path::new("/my/cache"));
    assert_eq!(paths.plugins, directory.path().join("mine"));
    // An error does not widen the trust.
    assert!(paths.trust.signatures_required && paths.trust.signers.is_empty());
    assert_eq!(paths.trust.lock.unwrap().file, directory.path().join("drowse.lock"));
}

#[test]
fn paths_that_a_configuration_does_not_name_are_the_default_ones() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    std::fs::write(&file, "threads = [[[\n").unwrap();
    let root = DefaultPaths { root: true, ..DefaultPaths::default() };
    let paths = Paths::load(&file, &root).unwrap();
    assert_eq!(paths.control, Path::new("/run/drowse/control.sock"));
    assert_eq!(paths.plugins, Path::new("/var/lib/drowse/plugins"));
    std::fs::create_dir(directory.path().join("plugins")).unwrap();
    let paths = Paths::load(&file, &root).unwrap();
    assert_eq!(paths.plugins, directory.path().join("plugins"));
}

#[test]
fn a_configuration_that_cannot_be_read_names_no_paths() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Paths::load(&directory.path().join("no.toml"), &DefaultPaths::default());
    assert!(missing.unwrap_err().to_string().contains("no.toml"));
}

#[test]
fn every_key_can_be_looked_up() {
    assert!(drowse_config::doc("[workload.NAME]", "idle").unwrap().contains("never"));
    assert_eq!(drowse_config::doc("[workload.NAME]", "idel"), None);
}

#[test]
fn a_flood_of_errors_is_shown_in_part() {
    let text: String = (0..5_000).map(|n| format!("made-up-{n} = 1\n")).collect();
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.iter().count(), 100);
    assert!(errors.to_string().contains("4900 more"));
}

/// Lines that a configuration is made of, so that random ones get past the parser.
fn line() -> impl Strategy<Value = String> {
    let tables = prop::sample::select(vec![
        "[[listener]]",
        "[listener]",
        "[provider.a]",
        "[provider.a.endpoint.b]",
        "[workload.a]",
        "[workload.a.ready]",
        "[[route]]",
        "[provider]",
        "[workload.a.sleep]",
        "[[workload.a]]",
    ]);
    let keys = prop::sample::select(vec![
        "name",
        "bind",
        "plugin",
        "settings",
        "url",
        "headers",
        "rules",
        "limits",
        "idle",
        "sleep",
        "ready",
        "http",
        "tcp",
        "port",
        "host",
        "path",
        "workload",
        "provider",
        "trust",
        "grace",
        "endpoint.x",
        "command.y",
        "threads",
        "log",
        "fingerprint",
        "signal",
        "run",
    ]);
    let values = prop::sample::select(vec![
        "\"a\"",
        "1",
        "-1",
        "0x7f",
        "1.5",
        "inf",
        "true",
        "[]",
        "{}",
        "\"10m\"",
        "\"64MiB\"",
        "\"/\"",
        "[\"a\"]",
        "{ env = \"A\" }",
        "{ http = \"/\" }",
        "\"*.x\"",
        "1979-05-27",
        "\"\"",
        "99999999999999999999999999",
        "\"unix:///s\"",
        "\"é\"",
        "[[1], {}]",
        "\"\\u0000\"",
        "10m",
        "\"200-399\"",
        "'''x\ny'''",
    ]);
    prop_oneof![
        tables.prop_map(str::to_owned),
        (keys, values).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

proptest! {
    #[test]
    fn any_lines_of_toml_are_read_or_refused(lines in prop::collection::vec(line(), 0..30)) {
        if let Err(errors) = parse(&lines.join("\n")) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), more in "[\\[\\]{}=\"'.a-z0-9\n #éß-]{0,200}") {
        for text in [text, more] {
            if let Err(errors) = parse(&text) {
                prop_assert!(!errors.to_string().is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_in_a_file_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("drowse.toml");
        std::fs::write(&file, &bytes).unwrap();
        if let Err(errors) = Config::load(&file, &DefaultPaths::default()) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn a_secret_is_never_shown_wherever_the_file_is_cut(cut in 0usize..2_000) {
        let text = include_str!("invalid/secrets_are_masked.toml");
        let cut = cut.min(text.len());
        // A cut inside the secret leaves a part of it that the test cannot recognise.
        if text.is_char_boundary(cut) && let Err(errors) = parse(&text[..cut]) {
            prop_assert!(!errors.to_string().contains("hunter"), "{errors}");
        }
    }
}

/// To be fuzzed: its corpus is replayed.
#[test]
fn fuzzed_text_is_read_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Err(errors) = parse(text) {
            assert!(!errors.to_string().is_empty());
        }
    });
}

#[test]
fn a_half_protected_host_is_a_warning_until_it_is_confirmed() {
    let text = |said: &str| {
        format!(
            "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n\
             [provider.docker]\nplugin = \"docker\"\n\
             [auth.sso]\nforward = \"http://authelia:9091/\"\n\
             [workload.app]\nprovider = \"docker\"\n\
             [[route]]\nworkload = \"app\"\nport = 80\n\
             [[route]]\nworkload = \"app\"\nport = 80\npath = \"/admin\"\nauth = \"sso\"\n{said}"
        )
    };
    let warnings = parse(&text("")).unwrap().warnings();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.message.contains("/admin") && warning.message.contains("similar-paths"));
    for said in ["refuse", "allow"] {
        let config = parse(&text(&format!("similar-paths = \"{said}\"\n"))).unwrap();
        assert!(config.warnings().is_empty(), "{said}");
    }
}

#[test]
fn settings_of_the_waiting_page_are_read() {
    let config = parse("[waiting]\ntheme = \"terminal\"\nlog-lines = 5\nmax-held = 7\n").unwrap();
    assert_eq!(config.waiting.theme, "terminal");
    assert_eq!((config.waiting.logs, config.waiting.max_held), (5, 7));
    assert_eq!(parse("").unwrap().waiting, drowse_proxy::WaitingSettings::default());
}

#[test]
fn themes_beside_the_configuration_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir(directory.path().join("themes")).unwrap();
    let config = Config::load(&file, &DefaultPaths::default()).unwrap();
    assert_eq!(config.waiting.themes, Some(directory.path().join("themes")));
}
