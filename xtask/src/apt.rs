//! Debian's packages, on machines where installing them is ours to do: Debian, as root.

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

/// A program and the package it comes in.
pub(crate) type Wanted = (&'static str, &'static str);

/// While it exists, packages do not start the services they bring.
struct NoServices<'a> {
    /// Absent when there is a policy of somebody else's.
    written: Option<&'a Path>,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// By its words it is known for ours, should one have been left behind.
const NO_SERVICES: &str = "\
#!/bin/sh
# Written by drowse's `cargo xtask` for as long as it installs packages. It can be removed.
exit 101
";

/// Installs what is missing of these, where that is ours to do, and returns the programs that are
/// missing afterwards.
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

/// Whether installing packages is ours to do here.
pub(crate) fn may_install() -> bool {
    rustix::process::geteuid().is_root()
        && Path::new("/etc/debian_version").exists()
        && needs::program("apt-get").is_some()
}

/// Installs packages without starting their services.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    // Ctrl-C ends apt-get, and then this in order.
    let interrupt = Interrupt::watch()?;
    let _no_services = NoServices::declare(Path::new(POLICY))?;
    let get = || apt_get(&["install", "--yes", "--no-install-recommends", "--quiet"], packages);
    let not_interrupted = || {
        ensure!(!interrupt.asked(), "install {}: interrupted", packages.join(" "));
        Ok(())
    };
    // The lists may be fresh enough; fetching them takes longer than trying.
    if get().is_err() {
        not_interrupted()?;
        apt_get(&["update", "--quiet"], &[])?;
        get()?;
    }
    not_interrupted()
}

fn missing(wanted: &[Wanted]) -> impl Iterator<Item = Wanted> {
    // A module of Python is named by its package's file instead of a program.
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
        // What cannot be read says nothing.
        let _ = log.rewind().and_then(|()| log.read_to_string(&mut text));
        let last = text.lines().rev().take(10).collect::<Vec<_>>();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    })
}

// === impl NoServices ===

impl<'a> NoServices<'a> {
    /// Leaves a policy of somebody else's alone.
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
