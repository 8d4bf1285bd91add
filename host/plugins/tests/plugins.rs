//! Plugin files: finding, loading, replacing and missing ones.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use drowse_core::{ErrorCode, Provider as _, ProviderEvent};
use drowse_plugins::{Load, Plugins};
use serde_json::json;
use support::{Echo, Stage, another, grant, hostile, settings, start, until};

const LONG: Duration = Duration::from_secs(300);
const GOOD: &str = "good:127.0.0.1:80";

async fn load(plugins: &Plugins) -> Load {
    plugins.inspect("hostile").await.unwrap().load
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_load_comes_from_the_cache() {
    let stage = Stage::new();
    assert_eq!(load(&stage.plugins).await, Load::Compiled);
    assert_eq!(load(&stage.plugins).await, Load::Cached);
    let next_start = Stage::open(stage.dir.path());
    assert_eq!(load(&next_start).await, Load::Cached);
    let mode = fs::metadata(stage.path("compiled")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for file in fs::read_dir(stage.path("compiled")).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_cache_is_compiled_again() {
    let stage = Stage::new();
    assert_eq!(load(&stage.plugins).await, Load::Compiled);
    for file in fs::read_dir(stage.path("compiled")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "cwasm") {
            let mut code = fs::read(&path).unwrap();
            let middle = code.len() / 2;
            code[middle] ^= 1;
            fs::write(&path, code).unwrap();
        }
    }
    assert_eq!(load(&stage.plugins).await, Load::Compiled);
    assert_eq!(load(&stage.plugins).await, Load::Cached);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_replaces_the_bundled_plugin_until_it_is_removed() {
    let stage = Stage::new();
    let provider = stage.provider(|_| {}).await;
    assert_eq!(provider.state().origin.as_deref(), Some("bundled"));
    stage.drop_in("hostile.wasm", &another(hostile(), 1));
    let file = stage.path("plugins/hostile.wasm");
    let origin = || provider.state().origin.unwrap();
    until("the file is used", || origin() == file.display().to_string()).await;
    start(&provider, GOOD).await.unwrap();
    fs::remove_file(&file).unwrap();
    until("the bundled plugin is used again", || origin() == "bundled").await;
    start(&provider, GOOD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_file_replaces_the_plugin_and_calls_in_flight_finish() {
    let stage = Stage::new();
    stage.drop_in("hostile.wasm", &another(hostile(), 1));
    let echo = Echo::new(stage.dir.path());
    let provider = stage
        .provider(|settings| {
            let mut grant = grant(&echo.socket);
            // Compiling takes long on a busy machine.
            (grant.timeout, settings.limits.wall) = (LONG, LONG);
            settings.endpoints.insert("engine".into(), grant);
        })
        .await;
    let mut events = provider.watch();
    assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
    assert!(matches!(events.recv().await, Some(ProviderEvent::Changed(_))));
    // Compiled beforehand, because on a busy machine that takes longer than the call.
    let newer = stage.path("newer.wasm");
    fs::write(&newer, another(hostile(), 2)).unwrap();
    stage.plugins.inspect(newer.to_str().unwrap()).await.unwrap();
    let flight = tokio::spawn({
        let provider = provider.clone();
        async move { start(&provider, "get:/held").await }
    });
    echo.held().await;
    stage.drop_in("hostile.wasm", &another(hostile(), 2));
    // The restart of watch shows that the newer plugin is in use.
    assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
    assert!(!flight.is_finished(), "the call started before and is still running");
    start(&provider, GOOD).await.unwrap();
    echo.release();
    flight.await.unwrap().expect("it is answered by the instance that it began in");
    assert_eq!((provider.state().faults, provider.state().cause), (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_newer_file_leaves_the_old_plugin_in_use_and_is_reported() {
    let stage = Stage::new();
    stage.drop_in("hostile.wasm", &another(hostile(), 1));
    let provider = stage.provider(|_| {}).await;
    stage.drop_in("hostile.wasm", &hostile()[..hostile().len() / 2]);
    until("the cause is reported", || provider.state().cause.is_some()).await;
    let state = provider.state();
    let cause = state.cause.unwrap();
    assert!(cause.contains("hostile.wasm") && cause.contains("stays in use"), "{cause}");
    assert!(state.usable);
    start(&provider, GOOD).await.unwrap();
    stage.drop_in("hostile.wasm", &another(hostile(), 2));
    until("all is well", || provider.state().cause.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_plugin_is_loaded_when_its_file_appears() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.plugin = "later".into()).await;
    let state = provider.state();
    assert!(!state.usable);
    assert!(
        state.cause.unwrap().contains("plugins/later.wasm; put it there, or use one of: hostile")
    );
    let failure = start(&provider, GOOD).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.message.contains("is not bundled and there is no file"), "{failure}");
    let mut events = provider.watch();
    stage.drop_in("later.wasm", hostile());
    assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)), "its watch started");
    start(&provider, GOOD).await.unwrap();
    assert_eq!(provider.state().cause, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_the_plugin_refuses_are_reported() {
    let stage = Stage::new();
    let provider = stage.provider(|settings| settings.settings = json!({ "refuse": true })).await;
    let state = provider.state();
    assert!(!state.usable);
    let cause = state.cause.unwrap();
    assert!(
        cause.contains("refuses the settings of [provider.hostile]: setting \"refuse\""),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_rule_is_reported() {
    let stage = Stage::new();
    let provider = stage
        .provider(|settings| {
            let mut grant = support::grant(&std::path::PathBuf::from("/run/engine.sock"));
            grant.rules = Some(vec!["GET containers".into()]);
            settings.endpoints.insert("engine".into(), grant);
        })
        .await;
    let cause = provider.state().cause.unwrap();
    assert!(
        cause.starts_with("[provider.hostile]: endpoint.engine.rules: \"GET containers\""),
        "{cause}"
    );
    assert!(start(&provider, GOOD).await.unwrap_err().message.contains("is not a rule"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_and_inspect_show_a_plugin_s_requirements() {
    let stage = Stage::new();
    stage.drop_in("broken.wasm", b"no");
    let listed = stage.plugins.list().await;
    let names: Vec<&str> = listed.iter().map(|listed| listed.name.as_str()).collect();
    assert_eq!(names, ["broken", "hostile"]);
    assert!(listed[0].info.as_ref().unwrap_err().contains("it is not WASM"));
    let path = stage.path("copy.wasm");
    fs::write(&path, hostile()).unwrap();
    let info = stage.plugins.inspect(&path.display().to_string()).await.unwrap();
    assert_eq!((info.name.as_str(), info.contract.as_str()), ("hostile", "0.1.0"));
    assert_eq!(info.size, hostile().len() as u64);
    assert!(info.endpoints[0].rules.contains(&"GET /containers/*/json".to_owned()));
    let imports: Vec<&str> = info.imports.iter().map(String::as_str).collect();
    assert!(imports.contains(&"drowse:provider/http@0.1.0"), "{imports:?}");
    assert!(imports.iter().all(|import| import.starts_with("drowse:provider/")), "{imports:?}");
    assert!(
        !imports.iter().any(|import| import.contains("grpc")),
        "unused imports are no permissions"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_compilation_does_not_delay_other_plugins() {
    let stage = Stage::new();
    let slow = stage.provider(|settings| {
        settings.name = "slow".to_owned().try_into().unwrap();
        settings.settings = json!({ "inside": "spin" });
        settings.limits.cpu = LONG;
    });
    let quick = stage.provider(|_| {});
    let quick = tokio::select! {
        biased;
        _ = slow => panic!("the one that was asked for first was waited for"),
        quick = quick => quick,
    };
    start(&quick, GOOD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_that_start_together_compile_their_plugin_once() {
    let stage = Stage::new();
    let providers = (0..4).map(|n| {
        stage.provider(move |settings| settings.name = format!("p{n}").try_into().unwrap())
    });
    let providers = futures_util::future::join_all(providers).await;
    assert!(providers.iter().all(|provider| provider.state().usable));
    // One of them wrote the compiled code and its checksum.
    assert_eq!(fs::read_dir(stage.path("compiled")).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_of_a_cached_plugin_compile_nothing() {
    let stage = Stage::new();
    stage.plugins.inspect("hostile").await.unwrap();
    let cached = || -> Vec<_> {
        let files = fs::read_dir(stage.path("compiled")).unwrap().map(Result::unwrap);
        let mut files: Vec<_> =
            files.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap())).collect();
        files.sort();
        files
    };
    let before = cached();
    let next_start = Stage::open(stage.dir.path());
    for n in 0..5 {
        let mut settings = settings();
        settings.name = format!("hostile-{n}").try_into().unwrap();
        assert!(next_start.provider(settings).await.state().usable);
    }
    assert_eq!(cached(), before, "a compilation would rewrite the files");
    assert_eq!(load(&next_start).await, Load::Cached);
}

#[tokio::test]
async fn bundled_plugins_are_used_if_the_directory_is_not_accessible() {
    let home = tempfile::tempdir().unwrap();
    // Root may enter every directory, but a file is not one.
    let closed = home.path().join("closed");
    std::fs::write(&closed, "").unwrap();
    let plugins = Stage::open(&closed);
    let info = plugins.inspect("hostile").await.unwrap();
    assert_eq!(info.origin, "bundled");
    let again = plugins.inspect("hostile").await.unwrap();
    assert_eq!(again.load, drowse_plugins::Load::Compiled, "nothing is cached");
    let other = plugins.inspect("other").await.unwrap_err();
    assert!(other.contains("is not bundled") && other.contains("closed/plugins"), "{other}");
}
