//! `cargo xtask build`: the providers, and the router with the providers in it.

use std::path::PathBuf;

use anyhow::Result;
use drowse_tests::{Programs, programs::variables};

use crate::{
    run::{run as execute, step},
    wasm::{self, Guest, Toolchain},
    workspace::Workspace,
};

/// How to build.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Build the providers by Debian's Rust packages, as where rustup cannot add the target.
    #[arg(long)]
    debian: bool,
}

/// The providers that the router carries.
/// Guests that misbehave on purpose.
const HOSTILE: &[Guest] = &[Guest { package: "drowse-hostile", name: "hostile" }];

const PROVIDERS: &[Guest] = &[
    Guest { package: "drowse-provider-docker", name: "docker" },
    Guest { package: "drowse-provider-process", name: "process" },
];

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let router = router(workspace, options)?;
    println!("\n{}", router.display());
    Ok(())
}

/// Builds the providers and the router and says where the router is.
fn router(workspace: &Workspace, options: &Options) -> Result<PathBuf> {
    let toolchain = if options.debian {
        wasm::ensure_debian()?;
        Toolchain::Debian
    } else {
        wasm::ensure_toolchain()?
    };
    step("build the providers", || {
        wasm::build(workspace, toolchain, PROVIDERS, &workspace.bundle())
    })?;
    step("build the router (the first time takes some minutes)", || {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--locked", "--release", "--package", "drowse"]);
        execute(cargo.env(variables::BUNDLE, workspace.bundle()))
    })?;
    Ok(workspace.release("drowse"))
}

/// Builds everything that the demo, the tests and the benchmarks drive.
pub(crate) fn programs(workspace: &Workspace) -> Result<Programs> {
    let router = router(workspace, &Options::default())?;
    step("build the example backend", || {
        let mut cargo = workspace.cargo();
        execute(cargo.args(["build", "--locked", "--release", "--package", "hello-backend"]))
    })?;
    Ok(Programs {
        router,
        bundle: workspace.bundle(),
        hello: workspace.release("hello-backend"),
        hostile: workspace.hostile(),
    })
}

/// The same, and the hostile guests.
pub(crate) fn programs_for_tests(workspace: &Workspace) -> Result<Programs> {
    let programs = programs(workspace)?;
    let toolchain = wasm::ensure_toolchain()?;
    step("build the hostile guests", || {
        wasm::build(workspace, toolchain, HOSTILE, &workspace.hostile())
    })?;
    Ok(programs)
}
