//! Requirements of tests on the machine.

use std::{
    env,
    ffi::OsStr,
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
    sync::OnceLock,
};

use anyhow::Result;

use crate::programs::variables;

/// Path of a program, if it is installed.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A message about the first of these programs that is not installed, if any.
pub fn lacks(names: &[&str]) -> Option<String> {
    let missing = names.iter().find(|name| program(name).is_none())?;
    Some(format!("the program {missing} is missing"))
}

/// Returns whether a skipped test fails: `CI=true`.
pub fn strict() -> bool {
    env::var_os("CI").is_some_and(|value| value == OsStr::new("true"))
}

/// A fixture shared by the tests of one program, started by the first of them. None, with a message,
/// if a requirement is missing.
///
/// # Panics
///
/// If it does not start although all requirements are met.
pub fn shared<T>(
    cell: &'static OnceLock<T>,
    test: &str,
    lack: Option<String>,
    start: impl FnOnce() -> Result<T>,
) -> Option<&'static T> {
    if let Some(lack) = lack {
        skip(test, &lack);
        return None;
    }
    Some(cell.get_or_init(|| start().unwrap_or_else(|error| panic!("{error:#}"))))
}

/// Reports that a test is skipped, on standard output and to `cargo xtask test`. Use as
/// `if let Some(why) = … { return skip(…) }`.
///
/// # Panics
///
/// With `CI=true`, where skipped tests are errors.
pub fn skip(test: &str, why: &str) {
    assert!(!strict(), "{test} cannot run and CI=true does not permit skipping it: {why}");
    println!("skipped {test}: {why}");
    if let Err(error) = record(&format!("{test}: {why}\n")) {
        eprintln!("record that {test} was skipped: {error}");
    }
}

/// Appends a line to the file of skipped tests that `cargo xtask test` reads.
fn record(line: &str) -> io::Result<()> {
    match env::var_os(variables::SKIPPED) {
        // A single write, so that lines of concurrent tests are not interleaved.
        Some(file) => {
            OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
        }
        None => Ok(()),
    }
}
