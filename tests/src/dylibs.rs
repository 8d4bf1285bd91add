//! Providers built as dynamic libraries.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{Home, programs::variables};

/// A crate that is built as a dynamic library.
#[derive(Clone, Copy, Debug)]
pub struct Dylib {
    /// The package's name.
    pub package: &'static str,
    /// The library's file name without `.so`.
    pub name: &'static str,
}

/// The provider `containerd`.
pub const CONTAINERD: Dylib = Dylib { package: "drowse-provider-containerd", name: "containerd" };

/// The provider `docker`.
pub const DOCKER: Dylib = Dylib { package: "drowse-provider-docker", name: "docker" };

/// The provider `http-waker`.
pub const HTTP_WAKER: Dylib = Dylib { package: "drowse-provider-http-waker", name: "http-waker" };

/// The provider `process`.
pub const PROCESS: Dylib = Dylib { package: "drowse-provider-process", name: "process" };

/// The provider `proxmox`.
pub const PROXMOX: Dylib = Dylib { package: "drowse-provider-proxmox", name: "proxmox" };

/// The provider `wake-on-lan`.
pub const WAKE_ON_LAN: Dylib =
    Dylib { package: "drowse-provider-wake-on-lan", name: "wake-on-lan" };

/// A provider for tests of the ABI.
pub const GUEST: Dylib = Dylib { package: "drowse-dylib-guest", name: "guest" };

/// The libraries used by tests.
pub const TESTED: [Dylib; 7] =
    [CONTAINERD, DOCKER, HTTP_WAKER, PROCESS, PROXMOX, WAKE_ON_LAN, GUEST];

/// The configuration line that allows dynamic libraries.
pub const ALLOW: &str = "allow-dylib = true";

/// Builds libraries below the target directory and copies them into `dir`.
pub fn build(cargo: &mut Command, target: &Path, libraries: &[Dylib], dir: &Path) -> Result<()> {
    cargo.args(["build", "--locked", "--lib", "--profile", "dylib"]);
    cargo.args(["--features", "drowse-provider-sdk/dylib", "--target-dir"]).arg(target);
    cargo.args(libraries.iter().flat_map(|library| ["--package", library.package]));
    let built = cargo.status().context("run cargo")?;
    ensure!(built.success(), "build the dynamic libraries: cargo exited with {built}");
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    for library in libraries {
        let file = format!("lib{}.so", library.package.replace('-', "_"));
        let (from, to) =
            (target.join("dylib").join(file), dir.join(library.name).with_extension("so"));
        fs::copy(&from, &to)
            .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// The library from the directory `DROWSE_DYLIBS`, else built now below `temporary`.
///
/// # Panics
///
/// If the build fails.
pub fn built(library: Dylib, temporary: &str) -> PathBuf {
    let dir = env::var_os(variables::DYLIBS).map(PathBuf::from);
    let ready = dir.map(|dir| dir.join(library.name).with_extension("so"));
    if let Some(ready) = ready.filter(|ready| ready.exists()) {
        return ready;
    }
    let target = Path::new(temporary).join("dylibs");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    build(&mut cargo, &target, &[library], &target)
        .unwrap_or_else(|error| panic!("build {}: {error:#}", library.package));
    target.join(library.name).with_extension("so")
}

/// Copies the library to the plugins directory of a router's home.
///
/// # Panics
///
/// As [`built`].
pub fn put(library: Dylib, temporary: &str, home: &Home) -> Result<()> {
    let (from, to) = (built(library, temporary), home.plugins().join(library.name));
    let to = to.with_extension("so");
    fs::copy(&from, &to)
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
        .map(drop)
}

/// Allows dynamic libraries in a router's configuration.
pub fn allow(home: &Home) -> Result<()> {
    let tables = fs::read_to_string(home.config())?;
    Ok(fs::write(home.config(), format!("{ALLOW}\n{tables}"))?)
}
