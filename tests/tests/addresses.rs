//! The router connects to no refused address, whatever a provider reports: tested with the router itself
//! and an engine that listens on TCP.

use std::{
    io::ErrorKind,
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, Router};

const PATIENCE: Duration = Duration::from_secs(20);

/// A workload of the process provider that runs `sleep` without a configured port, with a route to
/// `port`.
fn workload(name: &str, keys: &str, port: u16) -> String {
    format!(
        "[workload.{name}]\nprovider = \"process\"\ntarget = \"{name}\"\n{keys}\n\n\
         [[route]]\nhost = \"{name}.example\"\nworkload = \"{name}\"\nport = {port}\n\n"
    )
}

/// Waits until the router logs `words` for a workload.
fn logged(router: &Router, workload: &str, words: &str) -> Result<()> {
    let matches = |line: &str| line.contains(words) && line.contains(workload);
    router.log().wait(&format!("{workload}: {words}"), 0, PATIENCE, matches)?;
    Ok(())
}

#[test]
fn no_visitor_reaches_an_engine_or_the_router_itself_through_a_route() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let engine = TcpListener::bind("127.0.0.1:0")?;
    engine.set_nonblocking(true)?;
    let (port, own) = (engine.local_addr()?.port(), home.address().port());
    let sleeps = ["engine", "mapped", "probed", "loop"];
    let commands =
        sleeps.map(|name| format!("command.{name} = {{ run = [\"sleep\", \"600\"] }}\n"));
    let started = "ready = { started = true }";
    let mapped = format!("settings = {{ address = \"[::ffff:127.0.0.1]:{port}\" }}\n{started}");
    home.configure(
        &[
            format!("{}\n{}\n", hello.provider().trim_end(), commands.concat()),
            "[provider.plane]\nplugin = \"http-waker\"\n".to_owned(),
            format!("endpoint.api = {{ url = \"http://127.0.0.1:{port}\" }}\n\n"),
            hello.workload("never"),
            workload("engine", started, port),
            workload("mapped", &mapped, port),
            workload("probed", "wake = { timeout = \"2s\" }", port),
            workload("loop", started, own),
        ]
        .concat(),
    )?;
    let router = home.start()?;

    let endpoint = "it is an endpoint of provider \"plane\", which is not for visitors";
    for (name, status) in [("engine", 502), ("mapped", 502), ("probed", 503)] {
        let answer = router.get(&format!("{name}.example"), "/containers/json")?;
        ensure!(answer.status == status, "{name}: {}: {}", answer.status, answer.text());
    }
    logged(&router, "engine", endpoint)?;
    logged(&router, "mapped", endpoint)?;
    let failure = router.workload("probed")?["failure"].to_string();
    ensure!(failure.contains("which is not for visitors"), "probed: {failure}");
    let begun = Instant::now();
    let answer = router.get("loop.example", "/")?;
    ensure!(answer.status == 502, "loop: {}: {}", answer.status, answer.text());
    ensure!(begun.elapsed() < PATIENCE, "the visitor waited {:?}", begun.elapsed());
    logged(&router, "loop", "the router itself listens at")?;

    // The engine got no connection, and others are served.
    let error = engine.accept().err().context("a connection to the engine was made")?;
    ensure!(error.kind() == ErrorKind::WouldBlock, "{error}");
    ensure!(router.get("any.example", "/")?.status == 200, "the good workload is not served");
    Ok(())
}
