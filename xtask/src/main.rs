//! Builds, demonstrates, tests and measures drowse.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod bench;
mod build;
mod demo;
mod interrupt;
mod licences;
mod run;
mod test;
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
    /// Build the providers and the router with the providers in it.
    Build(build::Options),
    /// Show a backend asleep behind the router that wakes for a request.
    Demo(demo::Options),
    /// Run every check and every test.
    Test(test::Options),
    /// Measure.
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
    let workspace = Workspace::find()?;
    match task {
        Kind::Build(options) => build::run(&workspace, &options),
        Kind::Demo(options) => demo::run(&workspace, &options),
        Kind::Test(options) => test::run(&workspace, &options),
        Kind::Bench(bench) => bench::run(&workspace, &bench),
    }
}
