//! Tests of the test support code.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Docker, Process, client, needs, process, until};

#[test]
fn a_program_that_ignores_sigterm_is_killed_with_its_owner() -> Result<()> {
    let mut stubborn = Command::new("sh");
    stubborn.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
    stubborn.stdout(Stdio::piped());
    let mut stubborn = Process::spawn(
        "a program that ignores SIGTERM",
        &mut stubborn,
        Duration::from_millis(200),
    )?;
    wait_for_output(&mut stubborn)?;
    let id = stubborn.id();
    assert!(process::exists(id));
    drop(stubborn);
    assert!(!process::exists(id));
    Ok(())
}

#[test]
fn a_program_that_finishes_its_work_first_gets_a_second_sigterm() -> Result<()> {
    let mut busy = Command::new("sh");
    busy.args(["-c", "trap 'trap \"exit 0\" TERM' TERM; echo ready; while :; do sleep 0.1; done"]);
    busy.stdout(Stdio::piped());
    let busy = Process::spawn("a busy program", &mut busy, Duration::from_secs(20))?;
    let mut busy = busy.with_second_sigterm_after(Duration::from_secs(1));
    wait_for_output(&mut busy)?;
    assert!(busy.stop()?, "it had to be killed");
    Ok(())
}

#[test]
fn the_private_engine_runs_containers_and_leaves_nothing_behind() -> Result<()> {
    if let Some(lack) = Docker::lacks() {
        needs::skip("the_engine_of_the_tests", &lack);
        return Ok(());
    }
    let engine = Docker::start()?;
    let socket = engine.socket();
    engine.create_web("web", 0.0)?;
    engine.create_echo("echo")?;
    let events = engine.events("web")?;
    assert!(!engine.is_running("web")?);
    engine.run(&["start", "web", "echo"])?;
    events.wait("start", Duration::from_secs(10))?;
    for name in ["web", "echo"] {
        let inspected = engine.inspect(name)?;
        let address = inspected["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default();
        let address = format!("{address}:80").parse()?;
        until(&format!("{name} answers"), Duration::from_secs(20), || {
            client::answers(address).then_some(())
        })?;
    }
    drop(events);
    drop(engine);
    assert!(!socket.exists());
    let bridge = Path::new("/sys/class/net").join(format!("drowse{}", std::process::id()));
    assert!(!bridge.exists());
    Ok(())
}

/// Waits for its first line of output. From then on its signal handlers are installed.
fn wait_for_output(program: &mut Process) -> Result<()> {
    let output = program.child().stdout.take().context("it has no output")?;
    ensure!(BufReader::new(output).read_line(&mut String::new())? > 0, "it exited at once");
    Ok(())
}
