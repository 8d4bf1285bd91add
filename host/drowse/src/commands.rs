//! One module per command.

use drowse_admin::{Action, Client};
use drowse_config::Paths;
use drowse_plugins::{Plugins, PluginsConfig};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    LAUNCHER,
    bundled::BUNDLED,
    cli::{Cli, Command, Forcible, Plugin, Recreate, Running},
    error::Error,
    locate,
    output::Output,
};

mod check;
mod init;
mod lock;
mod operate;
mod ops;
mod plugin;
mod run;
mod status;

/// Runs the command.
pub(crate) fn execute(cli: Cli, output: &Output) -> Result<(), Error> {
    match cli.command {
        Command::Run(run) => run::run(&run),
        Command::Check(config) => check::check(&config, output),
        Command::Init(init) => init::init(&init, output),
        Command::Status(running) => status::status(&running, output),
        Command::Wake(operate) => operate::operate(&operate, Action::Wake, output),
        Command::Sleep(Forcible { operate, force }) => {
            operate::operate(&operate, Action::Sleep { force }, output)
        }
        Command::Restart(Forcible { operate, force }) => {
            operate::operate(&operate, Action::Restart { force }, output)
        }
        Command::Recreate(Recreate { forcible: Forcible { operate, force }, refresh }) => {
            operate::operate(&operate, Action::Recreate { force, refresh }, output)
        }
        Command::Ops(ops) => ops::ops(&ops, output),
        Command::Plugin(Plugin::List(config)) => plugin::list(&config, output),
        Command::Plugin(Plugin::Inspect { plugin, config }) => {
            plugin::inspect(&plugin, &config, output)
        }
        Command::Plugin(Plugin::Lock { plugins, config }) => lock::lock(&plugins, &config, output),
        Command::Plugin(Plugin::Verify { plugins, config }) => {
            lock::verify(&plugins, &config, output)
        }
        Command::Plugin(Plugin::Test(asked)) => plugin::trial::test(&asked, output),
        Command::Plugin(Plugin::New(asked)) => plugin::new::new(&asked, output),
    }
}

/// A runtime for a command.
fn runtime() -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(format!("cannot start threads: {error}")))
}

/// The plugins of these directories and the bundled ones, for inspection: they run only to describe
/// themselves.
pub(crate) fn plugins(paths: Paths, runtime: &Handle) -> Result<Plugins, Error> {
    let config = PluginsConfig {
        dir: Some(paths.plugins),
        allow_dylib: paths.allow_dylib,
        cache: paths.cache,
        bundled: BUNDLED,
        trust: paths.trust,
        state: None,
        launcher: Some(LAUNCHER.into()),
        limits: paths.plugin_limits,
        files: None,
        runtime: runtime.clone(),
    };
    Plugins::new(config).map_err(Error::new)
}

/// The running router.
fn client(running: &Running) -> Result<Client, Error> {
    Ok(Client::new(locate::control(running)?))
}

/// A time in its two largest units.
pub(crate) fn two_units(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
