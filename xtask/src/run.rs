//! Running programs that others wrote, and saying so.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// Says what is done, does it, and says how long it took when that was long.
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

/// Runs a program that shows what it does itself. An error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("    $ {}", words(command));
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("run {}", words(command)))?;
    ensure!(status.success(), "{} ended with {status}", words(command));
    Ok(())
}

/// Runs a program and returns what it wrote to standard output. An error with what it wrote to
/// standard error when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("run {}", words(command)))?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        words(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
    );
    String::from_utf8(output.stdout).with_context(|| format!("{} wrote no text", words(command)))
}

fn words(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
