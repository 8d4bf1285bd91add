//! What a test needs of the machine.

use std::{env, ffi::OsStr, path::PathBuf};

/// The program's path, if the machine has it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether a skipped test counts as failed: `CI=true`.
pub fn strict() -> bool {
    env::var_os("CI").is_some_and(|value| value == OsStr::new("true"))
}

/// Says that a test cannot run here. Use as `if let Some(why) = … { return skip(…) }`.
///
/// # Panics
///
/// Under `CI=true`: a skip would hide that nothing was tested.
pub fn skip(test: &str, why: &str) {
    assert!(!strict(), "{test} cannot run here and CI=true forbids to skip it: {why}");
    println!("skipped {test}: {why}");
}
