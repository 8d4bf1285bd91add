//! Builds with cargo and shows one line of progress instead of a line for each crate.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(15);

/// A message of `cargo --message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    fresh: Option<bool>,
}

/// Runs a cargo command that builds. Warnings and errors of the compiler are shown as usual.
///
/// # Errors
///
/// When cargo cannot be run, or when something does not build.
pub(crate) fn compile(cargo: &mut Command) -> Result<()> {
    messages(cargo, |_| Ok(()))
}

/// As [`compile`]; `each` gets each JSON message of cargo.
pub(crate) fn messages(
    cargo: &mut Command,
    mut each: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let mut running = cargo
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("run cargo")?;
    let lines = BufReader::new(running.stdout.take().context("cargo has no output")?).lines();
    let begin = Instant::now();
    let (mut printed, mut compiled) = (begin, 0);
    for line in lines {
        let line = line.context("read cargo's messages")?;
        let message: Message = serde_json::from_str(&line).context("read a message of cargo")?;
        compiled +=
            usize::from(message.reason == "compiler-artifact" && message.fresh == Some(false));
        if printed.elapsed() > INTERVAL {
            printed = Instant::now();
            println!("    {compiled} crates compiled in {} s", begin.elapsed().as_secs());
        }
        each(&line)?;
    }
    let ended = running.wait().context("wait for cargo")?;
    ensure!(ended.success(), "cargo ended with {ended}");
    Ok(())
}
