//! Where the configuration and the control socket are.

use std::path::{Path, PathBuf};

use drowse_config::{DefaultPaths, Paths};

use crate::{
    cli::{ConfigFile, Running},
    error::Error,
};

/// Looked for in this order when nothing is named.
const USUAL: [&str; 2] = ["drowse.toml", "/etc/drowse/drowse.toml"];

/// The configuration to use.
pub(crate) fn config(named: &ConfigFile) -> Result<PathBuf, Error> {
    find(named).ok_or_else(missing)
}

/// There is none.
pub(crate) fn missing() -> Error {
    let [here, system] = USUAL;
    Error::new(format!(
        "there is no configuration: neither ./{here} nor {system} exists; write a first one \
         with `drowse init`, or name one with --config"
    ))
}

/// The configuration to use, if there is one.
pub(crate) fn find(named: &ConfigFile) -> Option<PathBuf> {
    named.config.clone().or_else(|| USUAL.map(PathBuf::from).into_iter().find(|path| path.exists()))
}

/// The control socket of the running router.
pub(crate) fn control(named: &Running) -> Result<PathBuf, Error> {
    match &named.control {
        Some(control) => Ok(control.clone()),
        None => Ok(paths(&named.config)?.control),
    }
}

/// Where things are, with or without a configuration. One that is named must be there; what is
/// wrong with its content is for others to tell.
pub(crate) fn paths(named: &ConfigFile) -> Result<Paths, Error> {
    let places = DefaultPaths::of_this_user();
    match find(named).map(|path| Paths::named(&path, &places)) {
        Some(Ok(paths)) => Ok(paths),
        Some(Err(errors)) if named.config.is_some() => Err(Error::new(errors)),
        Some(Err(_)) | None => Ok(Paths::usual(Path::new(""), &places)),
    }
}
