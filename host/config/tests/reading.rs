//! What comes out of a configuration, and that whatever goes in, something comes out.

#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use drowse_config::{Config, Item, Mistakes, Paths, Places};
use drowse_core::{ReadyCheck, SleepMethod, SleepPlan, WakePlan};
use drowse_plugins::settings::{Limits, Secret, Transport, Trust};
use drowse_proxy::settings::HttpLimits;
use drowse_routes::{HostMatch, Waiting};
use proptest::prelude::*;

fn valid(name: &str) -> Config {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid").join(name);
    Config::load(&file, &Places::default()).unwrap()
}

fn parse(text: &str) -> Result<Config, Mistakes> {
    Config::parse(
        vec![(PathBuf::from("/etc/drowse/drowse.toml"), text.to_owned())],
        &Places::default(),
    )
}

#[test]
fn what_is_written_is_what_comes_out() {
    let config = valid("docker.toml");
    assert_eq!(config.threads, Some(2));
    assert!(config.plugins.ends_with("tests/valid/my-plugins"));
    assert_eq!(config.cache, Path::new("/var/tmp/drowse-cache"));

    let listener = &config.listeners[0];
    assert_eq!(listener.trust.len(), 2);
    assert_eq!(listener.limits.connections, 500);
    assert_eq!(listener.limits.head_bytes, 32 << 10);
    assert_eq!(listener.limits.keep_alive, Duration::from_secs(30));
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
fn grants_come_out_with_their_secrets_unread() {
    let config = valid("process.toml");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid");
    let shop = &config.providers[0].commands["shop"];
    assert_eq!(Path::new(&shop.program), directory.join("./bin/shop"));
    assert_eq!(shop.arguments, ["--port", "3000", ""]);
    assert_eq!(shop.directory.as_deref(), Some(directory.join("shop").as_path()));
    assert!(shop.extra_arguments);

    let remote = &config.providers[1];
    assert_eq!(remote.plugin, "/opt/pve.wasm");
    let api = &remote.endpoints["api"];
    let Transport::Https { host, port: 8006, trust: Trust::Fingerprint(digest) } = &api.transport
    else {
        panic!("{:?}", api.transport)
    };
    assert_eq!((host.as_str(), digest[1], digest[31]), ("pve.example.org", 0x11, 0xff));
    assert_eq!(api.base, "/api2/json");
    let secret = Secret::Env { prefix: "PVEAPIToken=".to_owned(), name: "PVE_TOKEN".to_owned() };
    assert!(api.headers.contains(&("Authorization".to_owned(), secret)));
    assert_eq!(shop.environment["PASSWORD"], "hunter2 of the shop");
    let plain = Secret::Literal("hunter2 of the api".to_owned());
    assert!(api.headers.contains(&("X-Plain".to_owned(), plain)));
    let shown = format!("{config:?}");
    assert!(shown.contains("PASSWORD") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_workload_with_a_route_is_ready_when_it_answers_not_when_it_accepts() {
    let config = valid("docker.toml");
    let wiki = config.workloads.iter().find(|it| it.name.as_str() == "wiki").unwrap();
    let expected = ReadyCheck::Http {
        port: 3000,
        method: "GET".into(),
        path: "/".into(),
        status: None,
        host: None,
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
fn a_mistake_found_later_is_told_at_the_items_place() {
    let config = valid("docker.toml");
    let item = Item::Provider(config.providers[0].name.clone());
    let told = config.mistake(&item, "the plugin does not want this").to_string();
    assert!(told.contains("docker.toml:14:11: the plugin does not want this"), "{told}");
    assert!(told.contains("14 | [provider.docker]"), "{told}");
}

#[test]
fn a_missing_file_and_an_empty_directory_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Config::load(&directory.path().join("no.toml"), &Places::default());
    assert!(missing.unwrap_err().to_string().contains("drowse init"));
    let empty = Config::load(directory.path(), &Places::default());
    assert!(empty.unwrap_err().to_string().contains("no *.toml"));
}

#[test]
fn plugins_beside_the_configuration_go_before_the_users() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    std::fs::write(&file, "").unwrap();
    let user = Places { home: Some("/home/u".into()), ..Places::default() };
    let config = Config::load(&file, &user).unwrap();
    assert_eq!(config.plugins, Path::new("/home/u/.local/share/drowse/plugins"));
    std::fs::create_dir(directory.path().join("plugins")).unwrap();
    let config = Config::load(&file, &user).unwrap();
    assert_eq!(config.plugins, directory.path().join("plugins"));
}

#[test]
fn paths_are_found_in_a_broken_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let broken = "control = \"my.sock\"\nidel = 10m\ncache = \"/my/cache\"\n[[[\n";
    std::fs::write(directory.path().join("a.toml"), broken).unwrap();
    std::fs::write(directory.path().join("b.toml"), "plugins = \"mine\"\n[provider").unwrap();
    let paths = Paths::named(directory.path(), &Places::default()).unwrap();
    assert_eq!(paths.control, directory.path().join("my.sock"));
    assert_eq!(paths.cache, Path::new("/my/cache"));
    assert_eq!(paths.plugins, directory.path().join("mine"));
}

#[test]
fn paths_that_a_configuration_does_not_name_are_the_usual_ones() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    std::fs::write(&file, "threads = [[[\n").unwrap();
    let root = Places { root: true, ..Places::default() };
    let paths = Paths::named(&file, &root).unwrap();
    assert_eq!(paths.control, Path::new("/run/drowse/control.sock"));
    assert_eq!(paths.plugins, Path::new("/var/lib/drowse/plugins"));
    std::fs::create_dir(directory.path().join("plugins")).unwrap();
    let paths = Paths::named(&file, &root).unwrap();
    assert_eq!(paths.plugins, directory.path().join("plugins"));
}

#[test]
fn a_configuration_that_cannot_be_read_names_no_paths() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Paths::named(&directory.path().join("no.toml"), &Places::default());
    assert!(missing.unwrap_err().to_string().contains("no.toml"));
}

#[test]
fn every_key_can_be_looked_up() {
    assert!(drowse_config::doc("[workload.NAME]", "idle").unwrap().contains("never"));
    assert_eq!(drowse_config::doc("[workload.NAME]", "idel"), None);
}

#[test]
fn a_flood_of_mistakes_is_told_in_part() {
    let text: String = (0..5_000).map(|n| format!("made-up-{n} = 1\n")).collect();
    let mistakes = parse(&text).unwrap_err();
    assert_eq!(mistakes.iter().count(), 100);
    assert!(mistakes.to_string().contains("4900 more"));
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
        if let Err(mistakes) = parse(&lines.join("\n")) {
            prop_assert!(!mistakes.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), more in "[\\[\\]{}=\"'.a-z0-9\n #éß-]{0,200}") {
        for text in [text, more] {
            if let Err(mistakes) = parse(&text) {
                prop_assert!(!mistakes.to_string().is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_in_a_file_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("drowse.toml");
        std::fs::write(&file, &bytes).unwrap();
        if let Err(mistakes) = Config::load(&file, &Places::default()) {
            prop_assert!(!mistakes.to_string().is_empty());
        }
    }

    #[test]
    fn a_secret_is_never_told_wherever_the_file_is_cut(cut in 0usize..2_000) {
        let text = include_str!("invalid/secrets_are_masked.toml");
        let cut = cut.min(text.len());
        // A cut through the secret itself leaves a beginning that no test can tell from a word.
        if text.is_char_boundary(cut) && let Err(mistakes) = parse(&text[..cut]) {
            prop_assert!(!mistakes.to_string().contains("hunter"), "{mistakes}");
        }
    }
}
