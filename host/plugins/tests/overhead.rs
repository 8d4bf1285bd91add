//! Overhead of a provider call above its endpoint's own time. Prints figures; the budgets are in
//! the benchmarks, because a timed test fails on a busy machine.
//!
//! `cargo test --release -p drowse-plugins --test overhead -- --nocapture`

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    path::Path,
    time::{Duration, Instant},
};

use drowse_core::{Provider as _, StopOptions};
use drowse_plugins::settings::CommandGrant;
use drowse_tests::{dylibs, programs::variables};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use support::{Echo, Stage, another, grant, hostile, start, target};

const ROUNDS: usize = 3000;
const PROVIDERS: u8 = 10;

/// Median and 99th percentile of a repeated operation.
async fn measure<F: Future<Output = ()> + Send>(
    what: &str,
    mut once: impl FnMut() -> F + Send,
) -> Duration {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        once().await;
        times.push(began.elapsed());
    }
    times.sort();
    let (median, late) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    println!("{what:<48} median {median:>9.1?}  p99 {late:>9.1?}");
    median
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs on a runtime worker, as the engine does; a test's own thread is not one.
async fn on_a_worker(what: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(what).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overhead_of_a_call() {
    on_a_worker(measure_call()).await;
}

async fn measure_call() {
    let stage = Stage::new();
    // On a separate thread, as a platform is another process.
    let platform =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let platform = platform.unwrap();
    let place = stage.path("");
    let echo = platform.spawn(async move { Echo::new(&place) }).await.unwrap();
    let provider = stage
        .provider(|settings| {
            settings.endpoints.insert("engine".into(), grant(&echo.socket));
        })
        .await;
    let provider = &provider;

    let status = measure("status, no endpoint", || async {
        provider.status(&target("good:127.0.0.1:80")).await.unwrap();
    })
    .await;
    let call = measure("start with one request to an endpoint", || async {
        start(provider, "get:/small").await.unwrap();
    })
    .await;

    let stream = tokio::net::UnixStream::connect(&echo.socket).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let sender = tokio::sync::Mutex::new(sender);
    let sender = &sender;
    let endpoint = measure("the same request without a provider", || async {
        let request = http::Request::get("/small")
            .header("host", "localhost")
            .body(Empty::<bytes::Bytes>::new());
        let mut sender = sender.try_lock().unwrap();
        sender.ready().await.unwrap();
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 2);
    })
    .await;
    driving.abort();
    platform.shutdown_background();
    println!("over the endpoint's own time: {:.1?}", call.saturating_sub(endpoint));
    assert!(status < Duration::from_millis(50), "not a budget, but a sign of a serious regression");

    let mut loads = Vec::new();
    for _ in 0..100 {
        loads.push(stage.plugins.inspect("hostile").await.unwrap().load_time);
    }
    loads.sort();
    println!("load from the cache with describe: median {:.1?}, p99 {:.1?}", loads[50], loads[99]);

    let before = resident();
    let mut watched = Vec::new();
    for mark in 0..PROVIDERS {
        stage.drop_in(&format!("hostile-{mark}.wasm"), &another(hostile(), mark));
        let provider = stage.provider(|settings| settings.plugin = format!("hostile-{mark}")).await;
        assert!(provider.state().usable, "{:?}", provider.state());
        let mut events = provider.watch();
        events.recv().await.expect("it watches");
        watched.push((provider, events));
    }
    let each = (resident() - before) / u64::from(PROVIDERS);
    println!("resident for each plugin with its watch: {each} KiB (compiling included)");
}

fn sleeper() -> CommandGrant {
    CommandGrant {
        program: "sleep".into(),
        arguments: vec!["60".into()],
        environment: BTreeMap::new(),
        directory: None,
        extra_arguments: false,
        extra_environment: Vec::new(),
        end: StopOptions { signal: None, grace: Duration::from_secs(1) },
        restart: drowse_plugins::settings::Restart::Never,
        restart_limit: 10,
        limits: drowse_plugins::settings::CommandLimits::default(),
    }
}

/// The provider `process` as component and as dynamic library.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overhead_of_a_call_as_component_and_as_dylib() {
    on_a_worker(measure_component_and_dylib()).await;
}

async fn measure_component_and_dylib() {
    let Some(bundle) = std::env::var_os(variables::BUNDLE) else {
        println!("left out: the bundled providers are built by `cargo xtask build`");
        return;
    };
    let stage = Stage::new();
    let component = Path::new(&bundle).join("process.wasm");
    let library = dylibs::built(dylibs::PROCESS, env!("CARGO_TARGET_TMPDIR"));
    for (name, file) in [("component.wasm", component), ("dylib.so", library)] {
        stage.drop_in(name, &fs::read(file).unwrap());
    }
    for kind in ["component", "dylib"] {
        let before = resident();
        let first = stage.plugins.inspect(kind).await.unwrap();
        let again = stage.plugins.inspect(kind).await.unwrap();
        println!(
            "{kind}: {} KiB; loaded in {:.1?} the first time and {:.1?} the second",
            first.size >> 10,
            first.load_time,
            again.load_time
        );
        let provider = stage
            .provider(|settings| {
                settings.plugin = kind.into();
                settings.limits.calls = 8;
                settings.commands.insert("sleeper".into(), sleeper());
            })
            .await;
        assert!(provider.state().usable, "{:?}", provider.state());
        let mut events = provider.watch();
        events.recv().await.expect("it watches");
        let provider = &provider;
        measure(&format!("{kind}: status of a program"), || async {
            provider.status(&target("sleeper")).await.unwrap();
        })
        .await;
        println!("{kind}: {} KiB more resident", resident().saturating_sub(before));
    }
}
