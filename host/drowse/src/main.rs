//! A wake-on-demand proxy: backends sleep until a request needs them.

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod bundled;
mod cli;
mod commands;
mod compatibility;
mod control;
mod descriptors;
mod error;
mod grants;
mod locate;
mod logging;
mod output;
mod router;
#[cfg(test)]
mod samples;
mod saved_state;
mod signals;
mod state_dir;
mod table;

/// The running program, even if its file was replaced. It is started again to set the limits of granted
/// programs and to compile plugins.
const LAUNCHER: &str = "/proc/self/exe";

fn main() -> ExitCode {
    if let Some(ended) = drowse_plugins::launched().or_else(drowse_plugins::compile_process) {
        return ended;
    }
    let cli = cli::Cli::parse_or_advise(std::env::args_os());
    let output = output::Output::new(cli.json);
    match commands::execute(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            error.exit_code()
        }
    }
}
