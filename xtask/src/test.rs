//! `cargo xtask test`: every check and every test.

use std::{env, fs, process::Command};

use anyhow::{Context, Result, bail};
use drowse_tests::{Docker, Programs, needs, programs::variables};

use crate::{
    apt::{self, Wanted},
    build, chaos, licences,
    run::{run as execute, step},
    soak, tools,
    workspace::Workspace,
};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the end-to-end tests, and of them those whose name contains FILTER.
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "")]
    e2e: Option<String>,
}

/// What the tests run beside the router, by the names of Debian's packages.
pub(crate) const ENGINES: &[Wanted] = &[
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("unshare", "util-linux"),
    ("dockerd", "docker.io"),
    ("podman", "podman"),
    ("/usr/lib/podman/netavark", "netavark"),
    ("docker-registry", "docker-registry"),
    ("busybox", "busybox-static"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("curl", "curl"),
    ("haproxy", "haproxy"),
    ("htpasswd", "apache2-utils"),
    ("nginx", "nginx-light"),
    ("hey", "hey"),
    ("minisign", "minisign"),
    ("clang", "clang"),
    ("wasm-ld", "lld"),
    ("/usr/include/wasm32-wasi/stdlib.h", "wasi-libc"),
    ("tar", "tar"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("/usr/bin/python3", "python3"),
    ("/usr/lib/python3/dist-packages/websockets/__init__.py", "python3-websockets"),
];

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let missing = step("look for engines and clients", || apt::ensure(ENGINES))?;
    if !missing.is_empty() && needs::strict() {
        bail!("CI=true forbids to skip tests: {} are missing", missing.join(", "));
    }
    if let Some(lack) = Docker::lacks() {
        println!("    tests that need a Docker engine are skipped: {lack}");
    }
    if let Some(filter) = &options.e2e {
        return end_to_end(workspace, filter).map(|skipped| sum_up(&skipped));
    }
    step("licences, bans and sources", || licences::check(workspace))?;
    step("formatting", || execute(workspace.cargo().args(["fmt", "--all", "--check"])))?;
    let programs = build::programs_for_tests(workspace)?;
    step("lints", || {
        let mut cargo = workspace.cargo();
        cargo.args(["clippy", "--locked", "--workspace", "--all-targets"]);
        execute(with_programs(&mut cargo, workspace, &programs).args(["--", "--deny", "warnings"]))
    })?;
    step("unit and property tests", || {
        let mut cargo = workspace.cargo();
        // What fails first hides nothing.
        cargo.args(["test", "--locked", "--release", "--no-fail-fast"]);
        cargo.args(["--workspace", "--exclude", "drowse-tests"]);
        execute(with_programs(&mut cargo, workspace, &programs))
    })?;
    step("the gate under loom", || loom(workspace))?;
    let skipped = end_to_end(workspace, "")?;
    step("a short soak", || soak::briefly(workspace, &programs))?;
    step("a short chaos", || chaos::briefly(workspace, &programs))?;
    sum_up(&skipped);
    Ok(())
}

/// The last words: what could not be tested here is not to be overlooked.
fn sum_up(skipped: &[String]) {
    match skipped {
        [] => println!("\neverything passed"),
        skipped => {
            println!("\nskipped here, with what they need:\n  {}", skipped.join("\n  "));
            println!("everything else passed");
        }
    }
}

/// Runs them and returns which were skipped and why. Builds first: the tests of the crates leave a
/// router of their own kind in place.
fn end_to_end(workspace: &Workspace, filter: &str) -> Result<Vec<String>> {
    let programs = build::programs_for_tests(workspace)?;
    tools::ensure(workspace);
    let skipped = tempfile::NamedTempFile::new()?;
    step("end to end", || {
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--locked", "--release", "--no-fail-fast"]);
        cargo.args(["--package", "drowse-tests", filter]);
        cargo.env(variables::SKIPPED, skipped.path());
        cargo.env("PATH", tools::path(workspace)?);
        execute(with_programs(&mut cargo, workspace, &programs))
    })?;
    let noted = fs::read_to_string(skipped.path()).context("read which tests were skipped")?;
    Ok(noted.lines().map(str::to_owned).collect())
}

/// The model checker needs its own build of everything that it looks into.
fn loom(workspace: &Workspace) -> Result<()> {
    let mut flags = env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" --cfg drowse_loom");
    let mut cargo = workspace.cargo();
    cargo
        .args(["test", "--locked", "--release", "--package", "drowse-core", "--lib", "loom"])
        .env("RUSTFLAGS", flags.trim_start())
        .env("CARGO_TARGET_DIR", workspace.target().join("loom"));
    execute(&mut cargo)
}

fn with_programs<'a>(
    cargo: &'a mut Command,
    workspace: &Workspace,
    programs: &Programs,
) -> &'a mut Command {
    cargo
        .env(variables::DYLIBS, workspace.dylibs())
        .env(variables::ROUTER, &programs.router)
        .env(variables::BUNDLE, &programs.bundle)
        .env(variables::HELLO, &programs.hello)
        .env(variables::HOSTILE, &programs.hostile)
}
