//! Where the programs under test are.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};

/// The variables by which `cargo xtask` says where its files are.
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
    /// The file in which tests note that they were skipped.
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
    /// As `cargo xtask test` names them.
    ///
    /// # Panics
    ///
    /// When it did not: these tests drive built programs and mean nothing without them.
    pub fn from_env() -> Self {
        Self::look().unwrap_or_else(|error| {
            panic!("{error:#}: these tests drive built programs, run `cargo xtask test`")
        })
    }

    fn look() -> Result<Self> {
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
