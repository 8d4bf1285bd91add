//! Builds with cargo and shows one line of progress instead of a line for each crate.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(15);

/// A message of `cargo --message-format=json`. Messages about artifacts have all fields but
/// `executable`, which only programs have.
#[derive(Deserialize)]
pub(crate) struct Message {
    reason: String,
    fresh: Option<bool>,
    pub(crate) executable: Option<PathBuf>,
    pub(crate) manifest_path: Option<PathBuf>,
    pub(crate) profile: Option<Profile>,
    pub(crate) target: Option<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Profile {
    pub(crate) test: bool,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// Runs a cargo command that builds. Warnings and errors of the compiler are shown as usual.
///
/// # Errors
///
/// When cargo cannot be run, or when something does not build.
pub(crate) fn compile(cargo: &mut Command) -> Result<()> {
    artifacts(cargo, |_| Ok(()))
}

/// As [`compile`]; `each` gets each message of cargo about an artifact.
pub(crate) fn artifacts(
    cargo: &mut Command,
    mut each: impl FnMut(Message) -> Result<()>,
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
        if message.reason != "compiler-artifact" {
            continue;
        }
        compiled += usize::from(message.fresh == Some(false));
        if printed.elapsed() > INTERVAL {
            printed = Instant::now();
            println!("    {compiled} crates compiled in {} s", begin.elapsed().as_secs());
        }
        each(message)?;
    }
    let ended = running.wait().context("wait for cargo")?;
    ensure!(ended.success(), "cargo ended with {ended}");
    Ok(())
}
