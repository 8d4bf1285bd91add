//! Cargo tools required by tests, installed below the target directory.

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::{Context, Result};
use drowse_tests::needs;

use crate::{
    run::{run, step},
    workspace::Workspace,
};

/// Generates the bindings of examples in other languages. Same version as the SDK's library.
const WIT_BINDGEN: &str = "wit-bindgen-cli@0.61.1";

/// Installs missing tools. If that fails, the tests that need them are skipped.
pub(crate) fn ensure(workspace: &Workspace) {
    if needs::program("wit-bindgen").is_some() || bin(workspace).join("wit-bindgen").exists() {
        return;
    }
    let installed = step("install wit-bindgen", || {
        let mut cargo = workspace.cargo();
        cargo.args(["install", "--locked", "--root"]).arg(workspace.target().join("tools"));
        run(cargo.args([WIT_BINDGEN, "--no-default-features", "--features", "c"]))
    });
    if let Err(error) = installed {
        println!("    failed: {error:#}");
    }
}

/// `PATH` with the installed tools.
pub(crate) fn path(workspace: &Workspace) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([bin(workspace)]);
    env::join_paths(places).context("a directory in PATH cannot be named there")
}

fn bin(workspace: &Workspace) -> PathBuf {
    workspace.target().join("tools/bin")
}
