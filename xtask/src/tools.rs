//! Programs of cargo's that the tests run beside the router, installed below the target directory.

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::{Context, Result};
use drowse_tests::needs;

use crate::{
    run::{run, step},
    workspace::Workspace,
};

/// Makes the bindings of examples in other languages. The version that the SDK uses as a library.
const WIT_BINDGEN: &str = "wit-bindgen-cli@0.61.1";

/// Installs what is missing. Where that fails the tests that need it are skipped.
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
        println!("    that failed: {error:#}");
    }
}

/// `PATH` with what is installed here.
pub(crate) fn path(workspace: &Workspace) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([bin(workspace)]);
    env::join_paths(places).context("a directory in PATH cannot be named there")
}

fn bin(workspace: &Workspace) -> PathBuf {
    workspace.target().join("tools/bin")
}
