//! The bundled docker provider with a real engine.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use drowse_core::{ErrorCode, Provider as _, Status};
use drowse_plugins::PluginProvider;
use drowse_tests::Docker;
use support::{Stage, start, stop, target, until};

/// Exits with status 7 on SIGTERM, once it has logged that it is ready.
const POLITE: &str = "trap 'exit 7' TERM; echo polite; while :; do sleep 0.05; done";

/// The engine and a provider for it with these endpoints granted. None, after logging a skip, if
/// unavailable.
async fn docker(
    test: &str,
    granted: &[&str],
) -> Option<(&'static Docker, Stage, Arc<PluginProvider>)> {
    let engine = Docker::shared(test)?;
    let stage = Stage::new();
    let socket = engine.socket();
    let endpoints: Vec<_> = granted.iter().map(|name| (*name, socket.as_path())).collect();
    let provider = support::docker(test, &stage, &endpoints).await?;
    Some((engine, stage, provider))
}

fn create(engine: &Docker, name: &str, script: &str) {
    engine.run(&["create", "--name", name, "web", "/bin/sh", "-c", script]).unwrap();
}

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_returns_status_and_output() {
    let test = "exec_returns_status_and_output";
    let Some((engine, _stage, provider)) = docker(test, &["engine", "exec"]).await else { return };
    create(engine, "exec", POLITE);
    let conflict = provider.exec(&target("exec"), &command(&["sh"])).await.unwrap_err();
    assert_eq!(conflict.code, ErrorCode::Conflict, "{conflict}");
    start(&provider, "exec").await.unwrap();
    let script = command(&["sh", "-c", "echo out; echo $((1 + 1)) >&2; exit 3"]);
    let mut exit = provider.exec(&target("exec"), &script).await.unwrap();
    exit.output.sort();
    assert_eq!((exit.status, exit.output), (3, vec!["2".to_owned(), "out".to_owned()]));
    let exit = provider.exec(&target("exec"), &command(&["sh", "-c", "exit 0"])).await.unwrap();
    assert_eq!((exit.status, exit.output.len()), (0, 0));
    let nowhere = provider.exec(&target("exec"), &command(&["nowhere"])).await.unwrap();
    assert!(matches!(nowhere.status, 126 | 127), "{nowhere:?}");
    assert!(nowhere.output.concat().contains("nowhere"), "{nowhere:?}");
    let missing = provider.exec(&target("nobody"), &command(&["sh"])).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound, "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_without_its_grant_is_denied_with_the_line_to_add() {
    let test = "exec_without_its_grant_is_denied_with_the_line_to_add";
    let Some((engine, _stage, provider)) = docker(test, &["engine"]).await else { return };
    create(engine, "denied", POLITE);
    start(&provider, "denied").await.unwrap();
    let denied = provider.exec(&target("denied"), &command(&["sh"])).await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::Denied, "{denied}");
    let line =
        "add to [provider.docker]: endpoint.exec = { url = \"unix:///var/run/docker.sock\" }";
    assert!(denied.message.ends_with(line), "{denied}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_distinguishes_busy_and_idle_containers() {
    let test = "usage_distinguishes_busy_and_idle_containers";
    let Some((engine, _stage, provider)) = docker(test, &["engine"]).await else { return };
    create(engine, "busy", "while :; do :; done");
    create(engine, "idle", "sleep 1000");
    let stopped = provider.usage(&target("busy")).await.unwrap();
    assert_eq!((stopped.cpu_percent, stopped.memory), (Some(0.0), Some(0)));
    start(&provider, "busy").await.unwrap();
    start(&provider, "idle").await.unwrap();
    let busy = provider.usage(&target("busy")).await.unwrap();
    let idle = provider.usage(&target("idle")).await.unwrap();
    engine.run(&["kill", "busy", "idle"]).unwrap();
    // On a busy machine it still gets some CPU, and at most one core.
    let percent = busy.cpu_percent.unwrap();
    assert!((5.0..130.0).contains(&percent), "{busy:?}");
    assert!(idle.cpu_percent.unwrap() < 5.0, "{idle:?}");
    for usage in [busy, idle] {
        assert!((1 << 12..1 << 30).contains(&usage.memory.unwrap()), "{usage:?}");
    }
    let missing = provider.usage(&target("nobody")).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound, "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_container_is_resumed_by_start_and_ended_by_stop_and_kill() {
    let test = "a_paused_container_is_resumed_by_start_and_ended_by_stop_and_kill";
    let Some((engine, _stage, provider)) = docker(test, &["engine"]).await else { return };
    create(engine, "paused", POLITE);
    let lives = Cell::new(0);
    let pause = || async {
        let seen = start(&provider, "paused").await.unwrap();
        assert_eq!(seen.status, Status::Running);
        lives.set(lives.get() + 1);
        until("it can be asked to end", || {
            engine.run(&["logs", "paused"]).unwrap().lines().count() >= lives.get()
        })
        .await;
        let life = seen.attributes["started-at"].clone();
        assert_eq!(provider.pause(&target("paused")).await.unwrap().status, Status::Paused);
        life
    };
    let life = pause().await;
    let seen = start(&provider, "paused").await.unwrap();
    assert_eq!((seen.status, &seen.attributes["started-at"]), (Status::Running, &life));
    stop(&provider, "paused", Duration::ZERO).await.unwrap();

    // Much longer than needed, so that only a graceful exit is this fast.
    let grace = Duration::from_secs(50);
    for signal in [None, Some("SIGTERM".to_owned())] {
        pause().await;
        let began = Instant::now();
        let options = drowse_core::StopOptions { signal, grace };
        let seen = provider.stop(&target("paused"), &options).await.unwrap();
        assert_eq!(seen.status, Status::Stopped);
        assert_eq!(seen.attributes["exit-status"], "7", "it exited by itself: {options:?}");
        assert!(began.elapsed() < grace);
    }
    pause().await;
    let seen = provider.kill(&target("paused"), None).await.unwrap();
    assert_eq!((seen.status, seen.attributes["exit-status"].as_str()), (Status::Stopped, "137"));
    let (listed, _) = provider.list(None).await.unwrap();
    let listed = listed.iter().find(|seen| seen.handle == "paused").unwrap();
    assert_eq!(listed.attributes["exit-status"], "137", "the list reports it too");
}
