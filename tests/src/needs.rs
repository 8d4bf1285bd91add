//! What a test needs of the machine.

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

/// The program's path, if the machine has it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Which of these programs the machine lacks, in words.
pub fn lacks(names: &[&str]) -> Option<String> {
    let missing = names.iter().find(|name| program(name).is_none())?;
    Some(format!("the program {missing} is missing"))
}

/// Whether a skipped test counts as failed: `CI=true`.
pub fn strict() -> bool {
    env::var_os("CI").is_some_and(|value| value == OsStr::new("true"))
}

/// What the tests of one program share, started by the first that needs it. None where the machine
/// lacks something for it, after saying so.
///
/// # Panics
///
/// When it does not start although the machine has what it needs.
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

/// Says that a test cannot run here, also to `cargo xtask test`. Use as
/// `if let Some(why) = … { return skip(…) }`.
///
/// # Panics
///
/// Under `CI=true`: a skip would hide that nothing was tested.
pub fn skip(test: &str, why: &str) {
    assert!(!strict(), "{test} cannot run here and CI=true forbids to skip it: {why}");
    println!("skipped {test}: {why}");
    if let Err(error) = note(&format!("{test}: {why}\n")) {
        eprintln!("note that {test} was skipped: {error}");
    }
}

/// A line in the file in which `cargo xtask test` looks for what was skipped.
fn note(line: &str) -> io::Result<()> {
    match env::var_os(variables::SKIPPED) {
        // One write, so that tests that run at the same time do not mix their lines.
        Some(file) => {
            OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
        }
        None => Ok(()),
    }
}
