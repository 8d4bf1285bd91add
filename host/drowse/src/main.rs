//! A wake-on-demand proxy: backends sleep until somebody knocks.

#![forbid(unsafe_code)]

mod check;
mod cli;
mod home;
mod init;
mod logging;
mod operate;
mod output;
mod plugin;
mod run;
mod status;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, PluginCommand};

mod bundled {
    //! The providers that come with the router.

    include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
}

fn main() -> ExitCode {
    let Cli { config, json, command } = Cli::parse();
    let config = config.as_deref();
    let done = match command {
        Command::Check => check::run(config, json),
        Command::Init(options) => init::run(&options),
        Command::Plugin(PluginCommand::Inspect { plugin }) => plugin::inspect(config, &plugin, json),
        Command::Plugin(PluginCommand::List) => plugin::list(config, json),
        Command::Run(options) => run::run(config, &options),
        Command::Sleep(options) => operate::sleep(config, &options, json),
        Command::Status => status::run(config, json),
        Command::Wake(options) => operate::wake(config, &options, json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error:#}", output::error_mark());
            ExitCode::from(home::exit_code(&error))
        }
    }
}
