//! Builds, demonstrates, tests and measures drowse.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod bench;
mod build;
mod chaos;
mod compile;
mod demo;
mod interrupt;
mod licences;
mod run;
mod soak;
mod structure;
mod test;
mod tools;
mod wasm;
mod workspace;

use workspace::Workspace;

/// Builds, demonstrates, tests and measures drowse.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Task {
    #[command(subcommand)]
    task: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// Build the router with its bundled providers.
    Build(build::Options),
    /// Run the demo: a sleeping backend that a request wakes.
    Demo(demo::Options),
    /// Run all checks and tests.
    Test(test::Options),
    /// Wake workloads and put them to sleep thousands of times under constant load.
    Soak(soak::Options),
    /// Backend program of the soak.
    #[command(hide = true)]
    SoakBackend(soak::backend::Options),
    /// Inject faults into containers, the engine and the router under load.
    Chaos(chaos::Options),
    /// Backend program in the containers of the chaos run.
    #[command(hide = true)]
    ChaosBackend(chaos::backend::Options),
    /// Measure the structure of the source: file sizes, import circles, style of the prose.
    Structure(structure::Options),
    /// Run a benchmark.
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    match run(Task::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Kind) -> anyhow::Result<()> {
    match task {
        Kind::Build(options) => build::run(&Workspace::find()?, &options),
        Kind::Demo(options) => demo::run(&Workspace::find()?, &options),
        Kind::Test(options) => test::run(&Workspace::find()?, &options),
        Kind::Soak(options) => soak::run(&Workspace::find()?, &options),
        Kind::SoakBackend(options) => soak::backend::run(&options),
        Kind::Chaos(options) => chaos::run(&Workspace::find()?, &options),
        Kind::ChaosBackend(options) => chaos::backend::run(&options),
        Kind::Structure(options) => structure::run(&Workspace::find()?, &options),
        Kind::Bench(bench) => bench::run(&Workspace::find()?, &bench),
    }
}
