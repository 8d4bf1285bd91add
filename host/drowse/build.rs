//! Embeds the bundled providers, which `cargo xtask build` compiles to WASM, in the router.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The directory with the compiled providers, or `none` for a router without bundled providers.
const BUNDLE: &str = "DROWSE_BUNDLE";
/// The directory in the target directory in which `cargo xtask build` leaves the providers.
const DEFAULT: &str = "drowse-bundle";
/// The bundled providers, by the names of their files.
const NAMES: [&str; 6] =
    ["containerd", "docker", "http-waker", "process", "proxmox", "wake-on-lan"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={BUNDLE}");

    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let out = Path::new(&out);
    let mut list = String::new();
    for (name, file) in directory(out).iter().flat_map(|it| files(it)) {
        println!("cargo::rerun-if-changed={}", file.display());
        match fs::canonicalize(&file) {
            // Writing to a string cannot fail.
            Ok(file) => {
                let _ = writeln!(list, "    ({name:?}, include_bytes!({file:?})),");
            }
            Err(error) => println!(
                "cargo::error=there is no bundled provider {} ({error}): build the router with \
                 `cargo xtask build`",
                file.display()
            ),
        }
    }
    let text = format!("pub(crate) static BUNDLED: &[(&str, &[u8])] = &[\n{list}];\n");
    fs::write(out.join("bundled.rs"), text).expect("cargo creates OUT_DIR");
}

/// The directory of the providers. Without one a router for use is an error, and one for development has
/// no bundled providers.
fn directory(out: &Path) -> Option<PathBuf> {
    match env::var_os(BUNDLE) {
        Some(directory) if directory == "none" => return None,
        Some(directory) => return Some(directory.into()),
        None => {}
    }
    // OUT_DIR is TARGET/PROFILE/build/PACKAGE/out, or one directory deeper with `--target`.
    let targets = out.ancestors().skip(4).take(2);
    let bundle = targets.map(|target| target.join(DEFAULT)).find(|bundle| bundle.is_dir());
    if bundle.is_some() {
        return bundle;
    }
    if env::var_os("PROFILE").is_some_and(|profile| profile == "release") {
        println!(
            "cargo::error=the bundled providers are not built, and a router without them starts \
             nothing. Build the router with `cargo xtask build`, which prints where it is. Set \
             {BUNDLE}=none for a router without bundled providers."
        );
    } else {
        println!("cargo::warning=no bundled providers: build them with `cargo xtask build`");
    }
    None
}

fn files(directory: &Path) -> impl Iterator<Item = (&'static str, PathBuf)> {
    NAMES.into_iter().map(|name| (name, directory.join(name).with_extension("wasm")))
}
