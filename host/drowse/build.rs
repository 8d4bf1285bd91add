//! Puts the providers that `cargo xtask build` made into the binary.

use std::{env, fmt::Write, fs, path::Path};

/// The directory with the built providers.
const BUNDLE: &str = "DROWSE_BUNDLE";
/// What comes with the router, by the name of its file.
const NAMES: [&str; 6] =
    ["containerd", "docker", "http-waker", "process", "proxmox", "wake-on-lan"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={BUNDLE}");

    let mut list = String::new();
    match env::var_os(BUNDLE) {
        Some(directory) => {
            for name in NAMES {
                let file = Path::new(&directory).join(name).with_extension("wasm");
                println!("cargo::rerun-if-changed={}", file.display());
                match fs::canonicalize(&file) {
                    // Writing to a string cannot fail.
                    Ok(file) => {
                        let _ = writeln!(list, "    ({name:?}, include_bytes!({file:?})),");
                    }
                    Err(error) => println!(
                        "cargo::error={BUNDLE} has no {name}.wasm ({}: {error}): build with cargo \
                         xtask build",
                        file.display()
                    ),
                }
            }
        }
        None => println!("cargo::warning=no bundled providers: build with cargo xtask build"),
    }

    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let text = format!("pub(crate) static BUNDLED: &[(&str, &[u8])] = &[\n{list}];\n");
    fs::write(Path::new(&out).join("bundled.rs"), text).expect("cargo made OUT_DIR");
}
