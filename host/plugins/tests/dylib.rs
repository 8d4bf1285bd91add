//! Dynamic libraries: the same rules as for components at the host's imports, and an ABI that
//! rejects invalid input.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use drowse_core::{
    Ability, ErrorCode, Failure, Provider as _, ProviderEvent, RecreateOptions, RemoveOptions,
    Status, StopOptions,
};
use drowse_plugins::{Load, PluginKind, PluginProvider, Plugins, settings::ProviderSettings};
use drowse_tests::dylibs;
use support::{Echo, Stage, grant, start, stop, target, until};

const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

/// A stage with the guest in its plugin directory.
fn stage() -> Stage {
    let stage = Stage::new();
    stage.drop_in("guest.so", &fs::read(dylibs::built(dylibs::GUEST, TEMPORARY)).unwrap());
    stage
}

async fn guest(stage: &Stage, change: impl FnOnce(&mut ProviderSettings)) -> Arc<PluginProvider> {
    let provider = stage
        .provider(|settings| {
            settings.plugin = "guest".into();
            change(settings);
        })
        .await;
    assert!(provider.state().usable, "{:?}", provider.state());
    provider
}

/// `tests/dylib/odd.c`, compiled with these definitions.
fn odd(stage: &Stage, name: &str, definitions: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dylib/odd.c");
    let built = stage.path(name);
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&built).arg(source);
    compile.args(definitions.iter().map(|definition| format!("-D{definition}")));
    assert!(compile.status().expect("there is a C compiler").success());
    stage.drop_in(&format!("{name}.so"), &fs::read(&built).unwrap());
    built
}

async fn refusal(plugins: &Plugins, name: &str) -> String {
    plugins.inspect(name).await.expect_err("it is refused")
}

fn code(failed: &Result<impl Sized, Failure>) -> &ErrorCode {
    &failed.as_ref().err().expect("it fails").code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_behaves_like_a_component() {
    let stage = stage();
    let echo = Echo::new(stage.dir.path());
    let provider = guest(&stage, |settings| {
        settings.endpoints.insert("engine".into(), grant(&echo.socket));
    })
    .await;
    assert_eq!(provider.state().plugin.unwrap(), "guest 0.1.0 (dylib)");

    let seen = provider.status(&target("lamp")).await.unwrap();
    assert_eq!((seen.handle.as_str(), seen.status), ("lamp", Status::Running));
    assert_eq!(seen.addresses.len(), 1);

    let answer = start(&provider, "get:/what").await.unwrap().detail.unwrap();
    assert!(answer.starts_with("GET /what HTTP/1.1"), "{answer}");

    let stopped = stop(&provider, "lamp", Duration::from_secs(7)).await.unwrap();
    assert_eq!(stopped.detail.unwrap(), "None 7000");
    assert_eq!(provider.logs(&target("lamp"), 2).await.unwrap(), ["line 0", "line 1"]);
    // The memo survives calls.
    assert_eq!(start(&provider, "count").await.unwrap().detail.unwrap(), "0");
    assert_eq!(start(&provider, "count").await.unwrap().detail.unwrap(), "1");

    let killed = provider.kill(&target("lamp"), Some("SIGINT")).await.unwrap();
    assert_eq!(killed.detail.unwrap(), "SIGINT");
    let stop = StopOptions { signal: Some("SIGHUP".into()), grace: Duration::from_millis(9) };
    let options = RecreateOptions { refresh: true, stop };
    let new = provider.recreate(&target("lamp"), &options).await.unwrap();
    assert_eq!(new.detail.unwrap(), "true Some(\"SIGHUP\") 9");
    let fetched = provider.fetch(&target("lamp")).await;
    assert_eq!(code(&fetched), &ErrorCode::Unavailable);
    let keep = |preserve_data| RemoveOptions { preserve_data };
    assert!(provider.remove(&target("lamp"), &keep(true)).await.is_ok());
    assert_eq!(code(&provider.remove(&target("lamp"), &keep(false)).await), &ErrorCode::Denied);
    let exit = provider.exec(&target("lamp"), &["a".into(), "b".into()]).await.unwrap();
    assert_eq!((exit.status, exit.output), (-3, vec!["a".to_owned(), "b".to_owned()]));
    let used = provider.usage(&target("lamp")).await.unwrap();
    assert_eq!((used.cpu_percent, used.memory), (Some(12.5), Some(1 << 40)));
    let (page, next) = provider.list(None).await.unwrap();
    assert_eq!((page[0].handle.as_str(), page[0].status.clone()), ("first", Status::Paused));
    let (page, end) = provider.list(next.as_deref()).await.unwrap();
    assert_eq!((page[0].handle.as_str(), end), ("second", None));
    let able = [Ability::Kill, Ability::List, Ability::Watch, Ability::Usage];
    assert_eq!(provider.state().abilities, able);

    let failed = start(&provider, "conflict").await;
    assert_eq!(code(&failed), &ErrorCode::Conflict);
    assert!(failed.unwrap_err().message.ends_with("another operation is running"));
    assert_eq!(code(&provider.pause(&target("lamp")).await), &ErrorCode::Unsupported);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_s_imports_reach_only_what_was_granted() {
    let stage = stage();
    let provider = guest(&stage, |_| {}).await;
    let failed = start(&provider, "get:/what").await;
    assert_eq!(code(&failed), &ErrorCode::Denied);
    let message = failed.unwrap_err().message;
    assert!(message.contains("add to [provider.hostile]: endpoint.engine = "), "{message}");

    let echo = Echo::new(stage.dir.path());
    let provider = guest(&stage, |settings| {
        settings.endpoints.insert("engine".into(), grant(&echo.socket));
        settings.limits.response = 1 << 20;
    })
    .await;
    let failed = start(&provider, "get:/endless").await;
    let message = failed.unwrap_err().message;
    assert!(message.contains("read a response larger than 1 MiB"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_do_not_cross_the_abi() {
    let stage = stage();
    let provider = guest(&stage, |_| {}).await;
    for (handle, said) in [("panic", "panicked: no such luck (at "), ("sore", "panicked: ")] {
        let failed = start(&provider, handle).await;
        assert_eq!(code(&failed), &ErrorCode::Internal);
        let message = failed.unwrap_err().message;
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(provider.state().faults, 2);
    assert!(start(&provider, "lamp").await.is_ok());

    let broken = stage
        .provider(|settings| {
            settings.plugin = "guest".into();
            settings.settings = serde_json::json!({ "panic": true });
        })
        .await;
    let cause = broken.state().cause.unwrap();
    assert!(cause.contains("cannot be configured: it panicked: no such luck"), "{cause}");
    let refused = stage
        .provider(|settings| {
            settings.plugin = "guest".into();
            settings.settings = serde_json::json!({ "refuse": true });
        })
        .await;
    let cause = refused.state().cause.unwrap();
    assert!(
        cause.contains("refuses the settings of [provider.hostile]: refused settings"),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_reports_and_is_restarted_when_it_panics() {
    let stage = stage();
    for watch in ["well", "panic"] {
        let provider = guest(&stage, |settings| {
            settings.settings = serde_json::json!({ "watch": watch });
        })
        .await;
        let mut events = provider.watch();
        for _ in 0..if watch == "panic" { 2 } else { 1 } {
            assert!(matches!(events.recv().await, Some(ProviderEvent::Synced)));
            let Some(ProviderEvent::Changed(seen)) = events.recv().await else {
                panic!("it reports a target");
            };
            assert_eq!(seen.handle, "seen");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_unwinds_at_its_next_import() {
    let stage = stage();
    let provider = guest(&stage, |settings| settings.limits.calls = 1).await;
    let mark = stage.path("mark");
    let call = tokio::spawn({
        let (provider, handle) = (provider.clone(), format!("wait:{}", mark.display()));
        async move { start(&provider, &handle).await }
    });
    let says = |word: &str| fs::read_to_string(&mark).is_ok_and(|said| said == word);
    until("it waits in an import", || says("begun")).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // The single call permit is free, and so is the thread.
    assert!(start(&provider, "lamp").await.is_ok());
    until("its values are dropped", || says("dropped")).await;

    let provider =
        guest(&stage, |settings| settings.limits.wall = Duration::from_millis(300)).await;
    fs::remove_file(&mark).unwrap();
    let failed = start(&provider, &format!("wait:{}", mark.display())).await;
    assert_eq!(code(&failed), &ErrorCode::Timeout);
    until("its values are dropped", || says("dropped")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_calls_keep_their_threads_until_none_is_left() {
    let stage = stage();
    let provider = guest(&stage, |settings| {
        settings.limits.calls = 1;
        settings.limits.wall = Duration::from_millis(500);
    })
    .await;
    let held = stage.path("held");
    fs::write(&held, "").unwrap();
    let hang = format!("hang:{}", held.display());
    for _ in 0..2 {
        let failed = start(&provider, &hang).await;
        assert_eq!(code(&failed), &ErrorCode::Timeout, "{failed:?}");
    }
    let failed = start(&provider, "lamp").await;
    assert_eq!(code(&failed), &ErrorCode::Unavailable);
    let message = failed.unwrap_err().message;
    assert!(message.contains("blocks all of its 2 worker threads (limits.max-calls)"), "{message}");
    assert!(provider.state().cause.unwrap().contains("blocks all of its 2 worker threads"));

    // Other providers are unaffected, even with the same library.
    let other = guest(&stage, |_| {}).await;
    assert!(start(&other, "lamp").await.is_ok());

    fs::remove_file(&held).unwrap();
    // They end by themselves; each attempt waits a while for a thread.
    while start(&provider, "lamp").await.is_err() {}
}

#[tokio::test]
async fn a_library_is_refused_until_the_operator_allows_it() {
    let stage = stage();
    let plugins = Stage::open_with(stage.dir.path(), false);
    let cause = refusal(&plugins, "guest").await;
    assert!(
        cause.ends_with("at the top of the router's configuration: allow-dylib = true"),
        "{cause}"
    );
    let path = stage.path("plugins/guest.so");
    assert_eq!(refusal(&plugins, &path.display().to_string()).await, cause);

    let info = stage.plugins.inspect("guest").await.unwrap();
    assert_eq!(
        (info.kind, info.load, info.contract.as_str()),
        (PluginKind::Dylib, Load::Opened, "0.1.0")
    );
    assert_eq!(stage.plugins.inspect(&path.display().to_string()).await.unwrap().name, "guest");
    let compiled: Vec<_> = fs::read_dir(stage.path("compiled")).unwrap().collect();
    assert!(compiled.is_empty(), "no private copy is left: {compiled:?}");
}

#[tokio::test]
async fn a_library_is_opened_from_sealed_memory_even_without_a_cache() {
    let stage = stage();
    odd(&stage, "sealed", &["NAME=\"s\""]);
    let shared = stage.path("shared");
    fs::create_dir(&shared).unwrap();
    // With write access another user could replace the cache directory.
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let plugins = Stage::open_as(stage.dir.path(), |config| config.cache = shared.join("compiled"));
    assert_eq!(plugins.inspect("sealed").await.unwrap().name, "s");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains("/memfd:drowse-plugin"), "{maps}");
    let root = stage.dir.path().display().to_string();
    assert!(!maps.contains(&root), "no file of a directory is mapped: {maps}");
    assert_eq!(fs::read_dir(shared.join("compiled")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_component_of_the_same_name_takes_precedence() {
    let stage = stage();
    stage.drop_in("guest.wasm", support::hostile());
    assert_eq!(stage.plugins.inspect("guest").await.unwrap().kind, PluginKind::Component);
}

#[tokio::test]
async fn incompatible_libraries_are_refused_with_the_reason() {
    let stage = stage();
    odd(&stage, "later", &["MAJOR=2"]);
    odd(&stage, "nameless", &["SYMBOL=some_other_table"]);
    odd(&stage, "empty", &["FUNCTIONS=1"]);
    let whole = fs::read(stage.path("plugins/guest.so")).unwrap();
    for (name, size) in [("half", whole.len() / 2), ("short", whole.len() - 1), ("head", 100)] {
        stage.drop_in(&format!("{name}.so"), &whole[..size]);
    }
    stage.drop_in("text.so", b"#!/bin/sh");
    for (name, expected) in [
        ("later", "it is built for contract 0.2.0, and this router speaks 0.1.0"),
        ("nameless", "it does not export drowse_provider_table, so it is not a drowse provider"),
        ("empty", "its table of 24 bytes has no configure"),
        ("half", "it is not a complete dynamic library"),
        ("short", "it is not a complete dynamic library"),
        ("head", "it is not a complete dynamic library"),
        ("text", "it is not a dynamic library"),
    ] {
        let cause = refusal(&stage.plugins, name).await;
        assert!(cause.contains(expected), "{name}: {cause}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_and_newer_libraries_work_with_the_common_functions() {
    let stage = stage();
    odd(&stage, "older", &["FUNCTIONS=6"]);
    odd(&stage, "newer", &["FUNCTIONS=40", "MINOR=9"]);
    for (name, contract) in [("older", "0.1.0"), ("newer", "0.1.9")] {
        assert_eq!(stage.plugins.inspect(name).await.unwrap().contract, contract);
        let provider = stage.provider(|settings| settings.plugin = name.into()).await;
        assert_eq!(start(&provider, "x").await.unwrap().native_status, "up");
        // It calls an import that this router does not know.
        assert!(provider.status(&target("x")).await.is_ok());
        let failed = provider.logs(&target("x"), 1).await;
        assert_eq!(code(&failed), &ErrorCode::Unsupported, "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_bytes_fail_only_the_call() {
    let stage = stage();
    odd(&stage, "garbage", &["GARBAGE"]);
    let provider = stage.provider(|settings| settings.plugin = "garbage".into()).await;
    let failures = [
        (start(&provider, "x").await, "sent its answer that contract 0.1 does not define"),
        (stop(&provider, "x", Duration::ZERO).await, "sent a return code that"),
        (provider.pause(&target("x")).await, "sent an import's arguments that"),
    ];
    for (failed, expected) in failures {
        assert_eq!(code(&failed), &ErrorCode::Internal);
        let message = failed.unwrap_err().message;
        assert!(message.contains(expected), "{message}");
    }
    assert!(provider.status(&target("x")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libraries_with_the_same_symbols_are_independent() {
    let stage = stage();
    odd(&stage, "one", &["NAME=\"a\""]);
    odd(&stage, "two", &["NAME=\"b\""]);
    for (file, name) in [("one", "a"), ("two", "b"), ("guest", "guest"), ("one", "a")] {
        assert_eq!(stage.plugins.inspect(file).await.unwrap().name, name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_file_replaces_the_library() {
    let stage = stage();
    odd(&stage, "lamp", &["NAME=\"a\""]);
    let provider = stage.provider(|settings| settings.plugin = "lamp".into()).await;
    assert_eq!(provider.state().plugin.unwrap(), "a 1.0 (dylib)");
    odd(&stage, "lamp", &["NAME=\"b\""]);
    until("the new file is used", || provider.state().plugin.unwrap() == "b 1.0 (dylib)").await;
}
