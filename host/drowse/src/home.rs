//! What every command needs: the configuration, the plugins, a runtime, a router to talk to.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use drowse_admin::{Client, ClientError};
use drowse_config::{Config, Mistakes, Places};
use drowse_plugins::{Plugins, PluginsConfig};
use tokio::runtime::{Builder, Runtime};

use crate::bundled::BUNDLED;

/// Where a configuration is looked for when none is named.
const PLACES: [&str; 2] = ["drowse.toml", "/etc/drowse/drowse.toml"];

/// Threads for engine, plugins and admin; visitors have threads of their own.
const WORKERS: usize = 2;

/// The configuration's path: the named one, else the first that exists.
pub(crate) fn config_path(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        anyhow!(
            "there is no configuration: neither {} nor {} exists; write a first one with \
             `drowse init`, or name one with --config",
            PLACES[0],
            PLACES[1]
        )
    })
}

/// The configuration, or everything that is wrong with it.
pub(crate) fn config(named: Option<&Path>) -> Result<Config> {
    let path = config_path(named)?;
    Config::load(&path, &Places::of_this_user()).map_err(|mistakes| told(&mistakes))
}

/// Mistakes as one error text.
pub(crate) fn told(mistakes: &Mistakes) -> anyhow::Error {
    let count = mistakes.iter().count();
    let list: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    anyhow!("{count} {noun} in the configuration\n\n{}", list.join("\n\n"))
}

/// A runtime for everything but visitors.
pub(crate) fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("drowse")
        .enable_all()
        .build()
        .context("start the runtime's threads")
}

/// The plugins of a configuration.
pub(crate) fn plugins(config: &Config, runtime: &Runtime) -> Result<Plugins> {
    plugins_in(&config.plugins, &config.cache, runtime)
}

/// The plugins of a command that works without configuration, too.
pub(crate) fn plugins_anywhere(named: Option<&Path>, runtime: &Runtime) -> Result<Plugins> {
    if named.is_some() || config_path(None).is_ok() {
        return plugins(&config(named)?, runtime);
    }
    let places = Places::of_this_user();
    plugins_in(&places.plugins(), &places.cache(), runtime)
}

fn plugins_in(dir: &Path, cache: &Path, runtime: &Runtime) -> Result<Plugins> {
    Ok(Plugins::new(PluginsConfig {
        dir: Some(dir.to_owned()),
        cache: cache.to_owned(),
        bundled: BUNDLED,
        runtime: runtime.handle().clone(),
    })?)
}

/// A client for the router of this configuration.
pub(crate) fn client(named: Option<&Path>) -> Result<Client> {
    let socket = match config_path(named) {
        Ok(path) => Config::load(&path, &Places::of_this_user())
            .map(|config| config.control)
            .map_err(|mistakes| told(&mistakes))?,
        Err(_) => Places::of_this_user().control(),
    };
    Ok(Client::new(&socket))
}

/// The exit code that tells scripts what kind of failure this is.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::NotRunning { .. }) => 3,
        _ => 1,
    }
}
