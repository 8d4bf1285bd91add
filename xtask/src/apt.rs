//! Debian's packages, on machines where installing them is ours to do: Debian, as root.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result};
use drowse_tests::needs;

use crate::run::run;

/// A program and the package it comes in.
pub(crate) type Wanted = (&'static str, &'static str);

/// While it exists, packages do not start the services they bring.
struct NoServices {
    written: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

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
    let _no_services = NoServices::declare()?;
    // The lists may be fresh enough; fetching them takes longer than trying.
    if apt_get(&["install", "--yes", "--no-install-recommends", "--quiet"], packages).is_err() {
        apt_get(&["update", "--quiet"], &[])?;
        apt_get(&["install", "--yes", "--no-install-recommends", "--quiet"], packages)?;
    }
    Ok(())
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
    let log = env::temp_dir().join(format!("drowse-apt-{}.log", std::process::id()));
    let file = fs::File::create(&log)?;
    let mut command = Command::new("apt-get");
    command
        .args(words)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_MODE", "l")
        .stderr(file.try_clone()?)
        .stdout(file);
    let done = run(&mut command).with_context(|| {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().rev().take(10).collect::<Vec<_>>();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    });
    fs::remove_file(&log)?;
    done
}

// === impl NoServices ===

impl NoServices {
    /// Leaves a policy that exists alone.
    fn declare() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { written: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("write {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self { written: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("remove {POLICY}: {error}");
        }
    }
}
