//! Builds guests: Rust crates compiled for wasm32-unknown-unknown and converted to components.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use wit_component::ComponentEncoder;

use crate::{
    apt,
    compile::compile,
    run::{output, run, step},
    workspace::Workspace,
};

/// Target of all guests. Their modules import only the contract.
const TARGET: &str = "wasm32-unknown-unknown";

/// Debian packages of Rust with the source of the standard library.
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// Toolchain for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The current toolchain has the target.
    Own,
    /// Debian's Rust, which builds the standard library for the target from source.
    Debian,
}

/// A crate that is built as a component.
pub(crate) struct Guest {
    /// The package's name.
    pub(crate) package: &'static str,
    /// The component's file name without `.wasm`.
    pub(crate) name: &'static str,
}

/// Builds guests and writes them as components to `dir`. Files with unchanged content are not written.
pub(crate) fn build(
    workspace: &Workspace,
    toolchain: Toolchain,
    guests: &[Guest],
    dir: &Path,
) -> Result<()> {
    let modules = match toolchain {
        Toolchain::Own => build_own(workspace, guests)?,
        Toolchain::Debian => build_debian(workspace, guests)?,
    };
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    for guest in guests {
        let module = modules.join(guest.package.replace('-', "_")).with_extension("wasm");
        let component = componentise(&module)
            .with_context(|| format!("make a component of {}", module.display()))?;
        let file = dir.join(guest.name).with_extension("wasm");
        if write_if_changed(&file, &component)? {
            println!("    {} ({} KiB)", file.display(), component.len() / 1024);
        }
    }
    Ok(())
}

/// Ensures that guests can be built: with rustup, else with Debian's packages.
pub(crate) fn ensure_toolchain() -> Result<Toolchain> {
    if has_target() {
        return Ok(Toolchain::Own);
    }
    let added = step(&format!("add the target {TARGET}"), || {
        let mut command = Command::new("rustup");
        run(command.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "1"))
    });
    match added {
        Ok(()) if has_target() => Ok(Toolchain::Own),
        Ok(()) => bail!(
            "rustup added {TARGET}, but the rustc in use does not have it: is another rustc before \
             rustup's in PATH?"
        ),
        Err(error) => {
            println!("    failed: {error:#}");
            ensure_debian()?;
            Ok(Toolchain::Debian)
        }
    }
}

/// Ensures that Debian's Rust is installed.
pub(crate) fn ensure_debian() -> Result<()> {
    if Path::new("/usr/bin/cargo").exists() && debian_std().is_ok() {
        return Ok(());
    }
    ensure!(
        apt::may_install(),
        "the target {TARGET} is missing; install it by `rustup target add {TARGET}` or, on Debian, \
         by `apt-get install {}`",
        DEBIAN_PACKAGES.join(" "),
    );
    step("install Debian's Rust with the standard library's source", || {
        apt::install(DEBIAN_PACKAGES)
    })?;
    debian_std().map(drop)
}

fn has_target() -> bool {
    let mut command = Command::new("rustc");
    let Ok(dir) = output(command.args(["--print", "target-libdir", "--target", TARGET])) else {
        return false;
    };
    fs::read_dir(dir.trim()).is_ok_and(|mut files| {
        files.any(|file| {
            file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
        })
    })
}

fn build_own(workspace: &Workspace, guests: &[Guest]) -> Result<PathBuf> {
    let mut command = workspace.cargo();
    compile(guest_arguments(&mut command, workspace, guests)?)?;
    Ok(workspace.target().join(TARGET).join("provider"))
}

fn build_debian(workspace: &Workspace, guests: &[Guest]) -> Result<PathBuf> {
    let target = workspace.target().join("wasm-debian");
    let mut command = Command::new("/usr/bin/cargo");
    guest_arguments(&mut command, workspace, guests)?
        .arg("-Zbuild-std=std,panic_abort")
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC", "/usr/bin/rustc")
        // Allows a stable compiler to build the standard library.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker()?)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    compile(&mut command)?;
    Ok(target.join(TARGET).join("provider"))
}

fn guest_arguments<'a>(
    command: &'a mut Command,
    workspace: &Workspace,
    guests: &[Guest],
) -> Result<&'a mut Command> {
    command.args(["build", "--locked", "--profile", "provider", "--target", TARGET]);
    for guest in guests {
        command.args(["--package", guest.package]);
    }
    Ok(command.env("CARGO_ENCODED_RUSTFLAGS", rustc_flags(workspace)?))
}

/// The current rustc flags, and flags that remove local paths from panic messages, so that guests are
/// reproducible. In the format of `CARGO_ENCODED_RUSTFLAGS`.
fn rustc_flags(workspace: &Workspace) -> Result<String> {
    let mut flags: Vec<String> = match (env::var("CARGO_ENCODED_RUSTFLAGS"), env::var("RUSTFLAGS"))
    {
        (Ok(encoded), _) => encoded.split('\x1f').map(str::to_owned).collect(),
        (_, Ok(plain)) => plain.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    flags.retain(|flag| !flag.is_empty());
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
        .context("there is no CARGO_HOME and no home directory")?;
    for (path, name) in [(cargo_home.as_path(), "/cargo"), (workspace.root(), "/drowse")] {
        let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        flags.push(format!("--remap-path-prefix={path}={name}"));
    }
    Ok(flags.join("\x1f"))
}

/// Directory of the standard library's source in Debian's packages.
fn debian_std() -> Result<PathBuf> {
    let mut command = Command::new("/usr/bin/rustc");
    let root = output(command.args(["--print", "sysroot"]))?;
    let source = Path::new(root.trim()).join("lib/rustlib/src/rust/library/std");
    ensure!(source.exists(), "the standard library's source is not in {}", source.display());
    Ok(source)
}

/// A linker for WASM: that of the current toolchain, else one in `PATH`.
fn linker() -> Result<PathBuf> {
    let root = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let host = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let own = Path::new(root.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if own.exists() {
        return Ok(own);
    }
    ["rust-lld", "wasm-ld", "lld"]
        .into_iter()
        .find_map(drowse_tests::needs::program)
        .with_context(|| format!("there is no linker for WASM: no {} and no lld", own.display()))
}

fn componentise(module: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(module)?;
    ComponentEncoder::default().validate(true).module(&bytes)?.encode()
}

/// False if the file already has this content.
fn write_if_changed(file: &Path, content: &[u8]) -> Result<bool> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    fs::write(file, content).with_context(|| format!("write {}", file.display()))?;
    Ok(true)
}
