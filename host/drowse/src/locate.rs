//! Where the configuration and the control socket are.

use std::path::{Path, PathBuf};

use drowse_config::{Config, Places};

use crate::{
    cli::{ConfigFile, Running},
    error::Error,
};

/// Looked for in this order when nothing is named.
const USUAL: [&str; 2] = ["drowse.toml", "/etc/drowse/drowse.toml"];

/// The configuration to use.
pub(crate) fn config(named: &ConfigFile) -> Result<PathBuf, Error> {
    find(named).ok_or_else(|| {
        let [here, system] = USUAL;
        Error::new(format!(
            "there is no configuration: neither ./{here} nor {system} exists; write a first one \
             with `drowse init`, or name one with --config"
        ))
    })
}

/// The configuration to use, if there is one.
pub(crate) fn find(named: &ConfigFile) -> Option<PathBuf> {
    named.config.clone().or_else(|| USUAL.map(PathBuf::from).into_iter().find(|path| path.exists()))
}

/// The control socket of the running router.
pub(crate) fn control(named: &Running) -> PathBuf {
    let places = Places::of_this_user();
    match (&named.control, find(&named.config)) {
        (Some(control), _) => control.clone(),
        (None, Some(config)) => Config::control_of(&config, &places),
        (None, None) => places.control(),
    }
}

/// The directories of plugins and of the compiled cache, with or without a configuration.
pub(crate) fn plugins(named: &ConfigFile) -> (PathBuf, PathBuf) {
    let places = Places::of_this_user();
    let config = find(named).and_then(|path| Config::load(&path, &places).ok());
    match config {
        Some(config) => (config.plugins, config.cache),
        None => {
            let beside = Path::new("plugins");
            let plugins = if beside.is_dir() { beside.to_owned() } else { places.plugins() };
            (plugins, places.cache())
        }
    }
}
