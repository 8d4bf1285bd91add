//! Finds the configuration and the control socket.

use std::path::{Path, PathBuf};

use drowse_config::{DefaultPaths, Paths};

use crate::{
    cli::{ConfigFile, Running},
    error::Error,
};

/// Configurations that are used without --config, in the order of the search.
const DEFAULTS: [&str; 2] = ["drowse.toml", "/etc/drowse/drowse.toml"];

/// The configuration to use.
pub(crate) fn config(named: &ConfigFile) -> Result<PathBuf, Error> {
    find(named).ok_or_else(missing)
}

/// The error that there is no configuration.
pub(crate) fn missing() -> Error {
    let [here, system] = DEFAULTS;
    Error::new(format!(
        "there is no configuration: neither ./{here} nor {system} exists; write a first one \
         with `drowse init`, or name one with --config"
    ))
}

/// The configuration to use, if there is one.
pub(crate) fn find(named: &ConfigFile) -> Option<PathBuf> {
    named
        .config
        .clone()
        .or_else(|| DEFAULTS.map(PathBuf::from).into_iter().find(|path| path.exists()))
}

/// The control socket of the running router.
pub(crate) fn control(named: &Running) -> Result<PathBuf, Error> {
    match &named.control {
        Some(control) => Ok(control.clone()),
        None => Ok(paths(&named.config)?.control),
    }
}

/// The paths, with or without a configuration. Fails if a named one cannot be read; errors in its content
/// are ignored.
pub(crate) fn paths(named: &ConfigFile) -> Result<Paths, Error> {
    let defaults = DefaultPaths::of_this_user();
    match find(named).map(|path| Paths::load(&path, &defaults)) {
        Some(Ok(paths)) => Ok(paths),
        Some(Err(errors)) if named.config.is_some() => Err(Error::new(errors)),
        Some(Err(_)) | None => Ok(Paths::defaults(Path::new(""), &defaults)),
    }
}
