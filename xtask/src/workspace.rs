//! Paths of the workspace.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::run::output;

/// The checkout and its build directory.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

// === impl Workspace ===

impl Workspace {
    /// Queries cargo.
    pub(crate) fn find() -> Result<Self> {
        let metadata = cargo_metadata(&["--no-deps"])?;
        let path = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("no {key} from cargo"))
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// Root of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The target directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A program built with the release profile.
    pub(crate) fn release(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// Directory of the bundled providers.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.target.join("drowse-bundle")
    }

    /// Directory of the hostile guests of the tests.
    pub(crate) fn hostile(&self) -> PathBuf {
        self.target.join("drowse-hostile")
    }

    /// Directory of providers built as dynamic libraries.
    pub(crate) fn dylibs(&self) -> PathBuf {
        self.target.join("drowse-dylibs")
    }

    /// Directory of compiled plugins, kept between runs.
    pub(crate) fn compiled(&self) -> PathBuf {
        self.target.join("drowse-cache")
    }

    /// A cargo command in the checkout that builds in the target directory.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }
}

/// Output of `cargo metadata`.
pub(crate) fn cargo_metadata(arguments: &[&str]) -> Result<serde_json::Value> {
    let text = output(
        cargo()
            .current_dir(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into()))
            .args(["metadata", "--format-version", "1"])
            .args(arguments),
    )?;
    serde_json::from_str(&text).context("cargo metadata gave no JSON")
}

/// A cargo command without the variables that `cargo run` sets for this program. Build scripts that depend
/// on them would be rerun whenever cargo is used directly and through this program alternately.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if of_package.iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command
}
