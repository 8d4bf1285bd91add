//! `cargo xtask build`: the providers, and the router with the providers in it.

use anyhow::Result;
use drowse_tests::{
    Programs,
    dylibs::{self, Dylib},
    programs::variables,
};

use crate::{
    compile::compile,
    run::step,
    wasm::{self, Guest, Toolchain},
    workspace::Workspace,
};

/// How to build.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Build the providers by Debian's Rust packages, as where rustup cannot add the target.
    #[arg(long)]
    debian: bool,
    /// Build the providers as dynamic libraries, too.
    #[arg(long)]
    dylib: bool,
}

/// Guests that misbehave on purpose.
const HOSTILE: &[Guest] = &[Guest { package: "drowse-hostile", name: "hostile" }];

/// The providers that the router carries.
const PROVIDERS: &[Guest] = &[
    Guest { package: "drowse-provider-containerd", name: "containerd" },
    Guest { package: "drowse-provider-docker", name: "docker" },
    Guest { package: "drowse-provider-http-waker", name: "http-waker" },
    Guest { package: "drowse-provider-process", name: "process" },
    Guest { package: "drowse-provider-proxmox", name: "proxmox" },
    Guest { package: "drowse-provider-wake-on-lan", name: "wake-on-lan" },
];

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let toolchain = if options.debian {
        wasm::ensure_debian()?;
        Toolchain::Debian
    } else {
        wasm::ensure_toolchain()?
    };
    providers(workspace, toolchain)?;
    binaries(workspace, &["drowse"])?;
    if options.dylib {
        let all = PROVIDERS.iter().map(|&Guest { package, name }| Dylib { package, name });
        dylibs(workspace, &all.collect::<Vec<_>>())?;
    }
    println!("\n{}", workspace.release("drowse").display());
    Ok(())
}

/// Builds everything that the demo and the benchmarks drive.
pub(crate) fn programs(workspace: &Workspace) -> Result<Programs> {
    providers(workspace, wasm::ensure_toolchain()?)?;
    binaries(workspace, &["drowse", "hello-backend"])?;
    Ok(Programs {
        router: workspace.release("drowse"),
        bundle: workspace.bundle(),
        hello: workspace.release("hello-backend"),
        hostile: workspace.hostile(),
    })
}

/// Builds everything that the tests drive.
pub(crate) fn programs_for_tests(workspace: &Workspace) -> Result<Programs> {
    let toolchain = wasm::ensure_toolchain()?;
    step("build the hostile guests", || {
        wasm::build(workspace, toolchain, HOSTILE, &workspace.hostile())
    })?;
    dylibs(workspace, &dylibs::TESTED)?;
    programs(workspace)
}

fn dylibs(workspace: &Workspace, libraries: &[Dylib]) -> Result<()> {
    step("build providers as dynamic libraries", || {
        dylibs::build(&mut workspace.cargo(), workspace.target(), libraries, &workspace.dylibs())
    })
}

fn providers(workspace: &Workspace, toolchain: Toolchain) -> Result<()> {
    step("build the providers", || {
        wasm::build(workspace, toolchain, PROVIDERS, &workspace.bundle())
    })
}

/// The size of a build from nothing; most of it is the compiler for WebAssembly.
const FIRST_BUILD: &str = ": some 400 crates, 8 minutes on 2 cores; later builds take seconds";

/// Builds programs, with the features that the whole workspace asks of its dependencies: so the
/// tests, which do the same, find wasmtime built.
fn binaries(workspace: &Workspace, names: &[&str]) -> Result<()> {
    let expected = if workspace.release("drowse").exists() { "" } else { FIRST_BUILD };
    step(&format!("build {}{expected}", names.join(" and ")), || {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--locked", "--release", "--workspace"]);
        cargo.args(names.iter().flat_map(|name| ["--bin", name]));
        compile(cargo.env(variables::BUNDLE, workspace.bundle()))
    })
}
