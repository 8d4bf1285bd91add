//! Installs Debian packages, if running on Debian as root.

use std::{
    fs,
    io::{Read, Seek},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::needs;

use crate::{interrupt::Interrupt, run::run};

/// A program and its package.
pub(crate) type Wanted = (&'static str, &'static str);

/// Prevents packages from starting their services while it exists.
struct NoServices<'a> {
    /// Absent if there is a foreign policy file.
    written: Option<&'a Path>,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The exact text identifies a file left behind by an earlier run.
const NO_SERVICES: &str = "\
#!/bin/sh
# Written by drowse's `cargo xtask` while it installs packages. It can be removed.
exit 101
";

/// Installs missing programs, where permitted, and returns the programs that are still missing.
pub(crate) fn ensure(wanted: &[Wanted]) -> Result<Vec<&'static str>> {
    let packages = missing(wanted).map(|(_, package)| package).collect::<Vec<_>>();
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    if may_install() {
        install(&packages)?;
    }
    Ok(missing(wanted).map(|(program, _)| program).collect())
}

/// Returns whether this machine permits installing packages: Debian, as root.
pub(crate) fn may_install() -> bool {
    rustix::process::geteuid().is_root()
        && Path::new("/etc/debian_version").exists()
        && needs::program("apt-get").is_some()
}

/// Installs packages without starting their services.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    // Ctrl-C terminates apt-get; this program then cleans up.
    let interrupt = Interrupt::watch()?;
    let _no_services = NoServices::declare(Path::new(POLICY))?;
    let get = || apt_get(&["install", "--yes", "--no-install-recommends", "--quiet"], packages);
    let not_interrupted = || {
        ensure!(!interrupt.asked(), "install {}: interrupted", packages.join(" "));
        Ok(())
    };
    // Try without updating the package lists first, which takes longer.
    if get().is_err() {
        not_interrupted()?;
        apt_get(&["update", "--quiet"], &[])?;
        get()?;
    }
    not_interrupted()
}

fn missing(wanted: &[Wanted]) -> impl Iterator<Item = Wanted> {
    // A Python module is identified by a file of its package instead of a program.
    wanted.iter().copied().filter(|(program, _)| {
        if program.starts_with('/') {
            !Path::new(program).exists()
        } else {
            needs::program(program).is_none()
        }
    })
}

fn apt_get(words: &[&str], packages: &[&str]) -> Result<()> {
    let mut log = tempfile::tempfile()?;
    let mut command = Command::new("apt-get");
    command
        .args(words)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_MODE", "l")
        .stderr(log.try_clone()?)
        .stdout(log.try_clone()?);
    run(&mut command).with_context(|| {
        let mut text = String::new();
        // An unreadable log gives no details.
        let _ = log.rewind().and_then(|()| log.read_to_string(&mut text));
        let last = text.lines().rev().take(10).collect::<Vec<_>>();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    })
}

// === impl NoServices ===

impl<'a> NoServices<'a> {
    /// Does not replace a foreign policy file.
    fn declare(policy: &'a Path) -> Result<Self> {
        if policy.exists() && !is_ours(policy) {
            return Ok(Self { written: None });
        }
        let shown = policy.display();
        fs::write(policy, NO_SERVICES).with_context(|| format!("write {shown}"))?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(Self { written: Some(policy) })
    }
}

impl Drop for NoServices<'_> {
    fn drop(&mut self) {
        if let Some(policy) = self.written
            && let Err(error) = fs::remove_file(policy)
        {
            eprintln!("remove {}: {error}", policy.display());
        }
    }
}

fn is_ours(policy: &Path) -> bool {
    fs::read(policy).is_ok_and(|text| text == NO_SERVICES.as_bytes())
}

#[cfg(test)]
mod tests;
