//! The engine is killed while a container is recreated, and started again.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::time::Duration;

use drowse_core::{Provider as _, RecreateOptions, Status, StopOptions};
use drowse_tests::{Docker, Recorder, recorder::Cut};
use support::{Stage, start, target};

/// Runs until SIGTERM.
const POLITE: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreation_interrupted_by_an_engine_crash_succeeds_on_the_next_call() {
    let test = "a_recreation_interrupted_by_an_engine_crash_succeeds_on_the_next_call";
    let Some(engine) = Docker::shared(test) else { return };
    let stage = Stage::new();
    let recorder = Recorder::begin(&stage.path("docker.sock"), engine.socket()).unwrap();
    let endpoints = ["engine", "recreate"].map(|name| (name, recorder.socket()));
    let Some(provider) = support::docker(test, &stage, &endpoints).await else { return };
    let options = RecreateOptions {
        refresh: false,
        stop: StopOptions { signal: None, grace: Duration::from_secs(5) },
    };
    let script = format!("[ -e /data/kept ] || echo data >/data/kept; {POLITE}");
    let words =
        ["create", "--name", "killed", "--volume", "/data", "web", "/bin/sh", "-c", &script];
    engine.run(&words).unwrap();
    start(&provider, "killed").await.unwrap();
    let volume = || engine.inspect("killed").unwrap()["Mounts"][0]["Name"].clone();
    let data = volume();
    for step in ["/stop", "/rename", "/create", "/start", "DELETE"] {
        recorder.cut(Cut::Before, move |asked| {
            let is_it = asked.path.ends_with(step) || asked.method == step;
            if is_it {
                engine.crash().unwrap();
            }
            is_it
        });
        let broken = provider.recreate(&target("killed"), &options).await.unwrap_err();
        assert!(!recorder.is_to_cut(), "{step} was asked for");
        engine.start_again().unwrap();
        let seen = provider.recreate(&target("killed"), &options).await;
        let seen = seen.unwrap_or_else(|error| panic!("{step}: {error}, after {broken}"));
        assert_eq!(seen.status, Status::Running, "{step}");
        let all = engine.run(&["ps", "--all", "--format", "{{.Names}}"]).unwrap();
        assert_eq!(all, "killed", "{step}");
        assert_eq!(volume(), data, "{step}");
        let kept =
            engine.run(&["exec", "killed", "/bin/sh", "-c", "read it </data/kept; echo $it"]);
        assert_eq!(kept.unwrap(), "data", "{step}");
    }
}
