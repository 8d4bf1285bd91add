//! `cargo xtask bench`: compares with a reference in one run. Absolute numbers depend on the machine.

use anyhow::Result;
use clap::Subcommand;

use crate::workspace::Workspace;

mod cpu;
mod http;
mod relay;
pub(crate) mod samples;
mod wake;

/// The benchmark to run.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Wake overhead of the router, without the engine's own time.
    Wake(wake::Options),
    /// Requests per second, latency and CPU time compared with nginx.
    Http(http::Options),
}

pub(crate) fn run(workspace: &Workspace, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Wake(options) => wake::run(workspace, options),
        Bench::Http(options) => http::run(workspace, options),
    }
}
