//! Default paths of the machine and the user.

use std::{env, path::PathBuf};

/// The environment that default paths depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultPaths {
    /// The user is root.
    pub root: bool,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`
    pub runtime: Option<PathBuf>,
    /// `XDG_CACHE_HOME`
    pub cache: Option<PathBuf>,
    /// `XDG_DATA_HOME`
    pub data: Option<PathBuf>,
    /// `XDG_STATE_HOME`
    pub state: Option<PathBuf>,
    /// The user's ID.
    pub user: u32,
}

// === impl DefaultPaths ===

impl DefaultPaths {
    /// The environment of this process.
    pub fn of_this_user() -> Self {
        let user = rustix::process::geteuid();
        let path = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            root: user.is_root(),
            home: path("HOME"),
            runtime: path("XDG_RUNTIME_DIR"),
            cache: path("XDG_CACHE_HOME"),
            data: path("XDG_DATA_HOME"),
            state: path("XDG_STATE_HOME"),
            user: user.as_raw(),
        }
    }

    /// The control socket. Root's does not depend on the environment, which differs between a service and a
    /// shell.
    pub fn control(&self) -> PathBuf {
        match &self.runtime {
            _ if self.root => "/run/drowse/control.sock".into(),
            Some(runtime) => runtime.join("drowse/control.sock"),
            None => env::temp_dir().join(format!("drowse-{}/control.sock", self.user)),
        }
    }

    /// The directory for compiled plugins.
    pub fn cache(&self) -> PathBuf {
        let home = || self.home.as_ref().map(|home| home.join(".cache"));
        match self.cache.clone().or_else(home) {
            _ if self.root => "/var/cache/drowse".into(),
            Some(cache) => cache.join("drowse"),
            None => env::temp_dir().join(format!("drowse-{}/cache", self.user)),
        }
    }

    /// The directory for state that survives restarts.
    pub fn state(&self) -> PathBuf {
        let home = || self.home.as_ref().map(|home| home.join(".local/state"));
        match self.state.clone().or_else(home) {
            _ if self.root => "/var/lib/drowse".into(),
            Some(state) => state.join("drowse"),
            None => env::temp_dir().join(format!("drowse-{}/state", self.user)),
        }
    }

    /// The directory of plugins, unless there is one beside the configuration.
    pub fn plugins(&self) -> PathBuf {
        let home = || self.home.as_ref().map(|home| home.join(".local/share"));
        match self.data.clone().or_else(home) {
            Some(data) if !self.root => data.join("drowse/plugins"),
            _ => "/var/lib/drowse/plugins".into(),
        }
    }
}
