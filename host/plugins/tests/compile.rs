//! Compilation of plugins in a process with resource limits.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use drowse_core::Provider as _;
use drowse_plugins::{Load, Plugins};
use drowse_tests::{Programs, bombs};
use support::{Stage, another, hostile, settings, start, until};

/// Needs many times what the limits below allow.
const FUNCTIONS: usize = 190_000;

/// Compiles with the built router, within these limits.
fn by_router(stage: &Stage, memory: u64, time: Duration) -> Plugins {
    Stage::open_as(stage.dir.path(), |config| {
        config.launcher = Some(Programs::from_env().router);
        (config.limits.compile.memory, config.limits.compile.time) = (memory, time);
    })
}

/// A compiler that runs this script.
fn script(stage: &Stage, script: &str) -> PathBuf {
    let path = stage.path("compiler.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn by_script(stage: &Stage, text: &str) -> Plugins {
    let launcher = script(stage, text);
    Stage::open_as(stage.dir.path(), |config| config.launcher = Some(launcher))
}

async fn refusal(stage: &Stage, plugins: &Plugins, bytes: &[u8]) -> String {
    stage.drop_in("bomb.wasm", bytes);
    plugins.inspect("bomb").await.expect_err("it is refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_compiled_by_a_child_process_is_cached_and_used() {
    let stage = Stage::new();
    let plugins = by_router(&stage, 1 << 30, Duration::from_secs(60));
    assert_eq!(plugins.inspect("hostile").await.unwrap().load, Load::Compiled);
    assert_eq!(plugins.inspect("hostile").await.unwrap().load, Load::Cached);
    let provider = plugins.provider(settings()).await;
    start(&provider, "good:127.0.0.1:80").await.unwrap();
    // The child's refusal of an invalid file is passed on.
    let cause = refusal(&stage, &plugins, b"#!/bin/sh").await;
    assert!(cause.contains("bomb.wasm: it is not WASM; build it"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compilation_above_its_cpu_limit_is_stopped_and_reported() {
    let stage = Stage::new();
    let plugins = by_router(&stage, 2 << 30, Duration::from_secs(1));
    let cause = refusal(&stage, &plugins, &bombs::functions(FUNCTIONS)).await;
    let words = "bomb.wasm: compiling it took more than 1 s of CPU time and was stopped \
                 (plugin-limits.compile-cpu-time)";
    assert!(cause.contains(words), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compilation_above_its_memory_limit_is_stopped_and_reported() {
    let stage = Stage::new();
    let plugins = by_router(&stage, 128 << 20, Duration::from_secs(60));
    let cause = refusal(&stage, &plugins, &bombs::functions(FUNCTIONS)).await;
    let words = "bomb.wasm: compiling it took more than 128 MiB of memory and was stopped \
                 (plugin-limits.compile-memory)";
    assert!(cause.contains(words), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_file_cancels_the_compilation_of_an_older_one() {
    let stage = Stage::new();
    let good = another(hostile(), 1);
    stage.drop_in("hostile.wasm", &good);
    // From here on it is in the cache.
    stage.plugins.inspect("hostile").await.unwrap();
    let mark = stage.path("compiler.pid");
    let plugins = by_script(&stage, &format!("echo $$ > {}; exec sleep 60", mark.display()));
    stage.drop_in("hostile.wasm", &another(hostile(), 2));
    let compiler = || fs::read_to_string(&mark).ok()?.trim().parse::<u32>().ok();
    let (provider, ()) = tokio::join!(plugins.provider(settings()), async {
        until("the older file is being compiled", || compiler().is_some()).await;
        stage.drop_in("hostile.wasm", &good);
    });
    assert_eq!(provider.state().cause, None);
    start(&provider, "good:127.0.0.1:80").await.unwrap();
    let process = PathBuf::from(format!("/proc/{}", compiler().unwrap()));
    until("its compiler is gone", || !process.exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unrelated_file_does_not_cancel_a_compilation() {
    let stage = Stage::new();
    let (mark, again) = (stage.path("begun"), stage.path("again"));
    let text = format!(
        "test -e {mark} && echo > {again}; echo > {mark}; exec sleep 60",
        mark = mark.display(),
        again = again.display()
    );
    let plugins = by_script(&stage, &text);
    let other = async {
        until("it is being compiled", || mark.exists()).await;
        stage.drop_in("other.wasm", b"x");
        let mut later = settings();
        later.plugin = "other".into();
        let later = plugins.provider(later).await;
        fs::remove_file(stage.path("plugins/other.wasm")).unwrap();
        // Every provider is notified of a change at the same time.
        let missed = || later.state().cause.is_some_and(|cause| cause.contains("no file"));
        until("the change was noticed", missed).await;
    };
    tokio::select! {
        _ = plugins.provider(settings()) => panic!("nothing compiles it"),
        () = other => {}
    }
    plugins.shutdown().await;
    assert!(!again.exists(), "it was started a second time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_output_is_not_loaded() {
    for text in [
        "exit 0",
        "echo nonsense",
        // A header without a body and with a wrong digest.
        "head -c 41 /dev/zero",
        "head -c 41 /dev/zero; echo more",
        "echo out of order >&2; exit 3",
        "kill -SEGV $$",
    ] {
        let stage = Stage::new();
        let plugins = by_script(&stage, text);
        let cause = plugins.inspect("hostile").await.expect_err("it is refused");
        assert!(cause.contains("cannot be compiled: the compiler ended ("), "{text}: {cause}");
        assert_eq!(fs::read_dir(stage.path("compiled")).unwrap().count(), 0, "nothing is cached");
    }
}

#[test]
fn a_compiler_exits_when_its_standard_input_is_closed() {
    let mut compiler = Command::new(Programs::from_env().router)
        .arg("compile-within-limits")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = bombs::functions(FUNCTIONS);
    let order = [600, 4 << 30, file.len() as u64].map(u64::to_le_bytes).concat();
    let mut input = compiler.stdin.take().unwrap();
    input.write_all(&order).unwrap();
    input.write_all(&file).unwrap();
    let own = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", compiler.id())).unwrap();
    // It has read the whole file, so the limits are applied.
    assert_eq!(own("oom_score_adj").trim(), "1000");
    assert!(
        own("limits")
            .lines()
            .any(|it| it.starts_with("Max data size") && it.contains("4294967296"))
    );
    drop(input);
    let status = compiler.wait().unwrap();
    assert_eq!(status.code(), Some(1), "it has not finished compiling");
}
