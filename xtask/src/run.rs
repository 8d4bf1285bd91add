//! Runs external programs and prints their command lines.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// Prints a step, runs it, and prints its duration if it is longer than 2 s.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("==> {what}");
    let begin = Instant::now();
    let done = work().with_context(|| what.to_owned())?;
    let took = begin.elapsed();
    if took > Duration::from_secs(2) {
        println!("    {:.0} s", took.as_secs_f64());
    }
    Ok(done)
}

/// Runs a program with inherited output. An error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("    $ {}", words(command));
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("run {}", words(command)))?;
    ensure!(status.success(), "{} exited with {status}", words(command));
    Ok(())
}

/// Runs a program and returns its standard output. If it fails, the error contains its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("run {}", words(command)))?;
    ensure!(
        output.status.success(),
        "{} exited with {}: {}",
        words(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
    );
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of {} is not UTF-8", words(command)))
}

fn words(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
