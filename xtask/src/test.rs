//! `cargo xtask test`: every check and every test.

use std::{env, fs};

use anyhow::{Context, Result, bail};
use drowse_tests::{Docker, Programs, needs, programs::variables as names};

use crate::{
    apt::{self, Wanted},
    build, chaos, licences,
    run::{run as execute, step},
    soak, tools,
    workspace::Workspace,
};

mod suites;

use suites::{Times, Variables};

/// Options of the tests.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the end-to-end tests, and of them those whose name contains FILTER.
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "")]
    e2e: Option<String>,
}

/// Programs that the tests run beside the router, by the names of Debian's packages.
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
    let mut times = Times::default();
    if let Some(filter) = &options.e2e {
        let skipped = end_to_end(workspace, filter, &mut times);
        times.print_slowest();
        sum_up(&skipped?);
        return Ok(());
    }
    step("licences, bans and sources", || licences::check(workspace))?;
    step("formatting", || execute(workspace.cargo().args(["fmt", "--all", "--check"])))?;
    let programs = build::programs_for_tests(workspace)?;
    let variables = variables(workspace, &programs);
    step("lints", || {
        let mut cargo = workspace.cargo();
        cargo.envs(variables.iter().cloned());
        cargo.args(["clippy", "--locked", "--workspace", "--all-targets"]);
        execute(cargo.args(["--", "--deny", "warnings"]))
    })?;
    // One failure does not hide the others: each of these steps runs.
    let mut failures = Failures::default();
    let crates = ["--workspace", "--exclude", "drowse-tests"];
    failures.note(step("unit and property tests", || {
        suites::run(workspace, &crates, "", &variables, &mut times)
    }));
    failures.note(step("examples in the documentation of the crates", || {
        let mut cargo = workspace.cargo();
        cargo.envs(variables.iter().cloned());
        cargo.args(["test", "--locked", "--release", "--doc", "--quiet"]);
        execute(cargo.args(crates))
    }));
    failures.note(step("the gate under loom", || loom(workspace)));
    let skipped = failures.note(end_to_end(workspace, "", &mut times)).unwrap_or_default();
    failures.note(step("a short soak", || soak::briefly(workspace, &programs)));
    failures.note(step("a short chaos", || chaos::briefly(workspace, &programs)));
    times.print_slowest();
    failures.end()?;
    sum_up(&skipped);
    Ok(())
}

/// The steps that failed.
#[derive(Default)]
struct Failures(Vec<String>);

// === impl Failures ===

impl Failures {
    /// Prints an error and keeps it. None when the step failed.
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result
            .inspect_err(|error| {
                println!("    failed: {error:#}");
                self.0.push(format!("{error:#}"));
            })
            .ok()
    }

    /// An error that names all failed steps, if there are any.
    fn end(self) -> Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            failed => bail!("these steps failed:\n  {}", failed.join("\n  ")),
        }
    }
}

/// Prints, last of all, the tests that were skipped.
fn sum_up(skipped: &[String]) {
    match skipped {
        [] => println!("\neverything passed"),
        skipped => {
            println!("\nskipped here, with what they need:\n  {}", skipped.join("\n  "));
            println!("everything else passed");
        }
    }
}

/// Runs the end-to-end tests and returns those that were skipped, each with the reason. Builds the
/// programs first: the tests of the crates leave a router with other features in their place.
fn end_to_end(workspace: &Workspace, filter: &str, times: &mut Times) -> Result<Vec<String>> {
    let programs = build::programs_for_tests(workspace)?;
    tools::ensure(workspace);
    let skipped = tempfile::NamedTempFile::new()?;
    let mut variables = variables(workspace, &programs);
    variables.push((names::CACHE, workspace.compiled()));
    variables.push((names::SKIPPED, skipped.path().to_owned()));
    variables.push(("PATH", tools::path(workspace)?.into()));
    step("end to end", || {
        suites::run(workspace, &["--package", "drowse-tests"], filter, &variables, times)
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

/// Environment variables with the paths of the programs that tests run.
fn variables(workspace: &Workspace, programs: &Programs) -> Variables {
    vec![
        (names::DYLIBS, workspace.dylibs()),
        (names::ROUTER, programs.router.clone()),
        (names::BUNDLE, programs.bundle.clone()),
        (names::HELLO, programs.hello.clone()),
        (names::HOSTILE, programs.hostile.clone()),
    ]
}
