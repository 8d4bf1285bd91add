//! Paths of the programs under test.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};

/// Environment variables by which `cargo xtask` passes the paths of its files.
pub mod variables {
    /// The router.
    pub const ROUTER: &str = "DROWSE_BIN";
    /// The directory of the bundled providers.
    pub const BUNDLE: &str = "DROWSE_BUNDLE";
    /// The example backend.
    pub const HELLO: &str = "DROWSE_HELLO";
    /// The directory of the hostile guests.
    pub const HOSTILE: &str = "DROWSE_HOSTILE";
    /// The directory of providers built as dynamic libraries.
    pub const DYLIBS: &str = "DROWSE_DYLIBS";
    /// The directory of compiled plugins that the end-to-end tests share.
    pub const CACHE: &str = "DROWSE_CACHE";
    /// The file in which skipped tests are recorded.
    pub const SKIPPED: &str = "DROWSE_SKIPPED";
}

/// Built programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The router.
    pub router: PathBuf,
    /// The directory of the bundled providers.
    pub bundle: PathBuf,
    /// The example backend.
    pub hello: PathBuf,
    /// The directory of the hostile guests.
    pub hostile: PathBuf,
}

// === impl Programs ===

impl Programs {
    /// The programs built by `cargo xtask test`.
    ///
    /// # Panics
    ///
    /// If an environment variable is not set.
    pub fn from_env() -> Self {
        Self::read_env()
            .unwrap_or_else(|error| panic!("{error:#}: run these tests with `cargo xtask test`"))
    }

    fn read_env() -> Result<Self> {
        let path = |name| {
            env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set"))
        };
        Ok(Self {
            router: path(variables::ROUTER)?,
            bundle: path(variables::BUNDLE)?,
            hello: path(variables::HELLO)?,
            hostile: path(variables::HOSTILE)?,
        })
    }
}
