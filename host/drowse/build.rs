//! Takes the bundled providers into the binary: every `NAME.wasm` in the directory that
//! `DROWSE_BUNDLE` names.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=DROWSE_BUNDLE");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut plugins = Vec::new();
    match env::var_os("DROWSE_BUNDLE") {
        None => println!("cargo::warning=no bundled providers: build with `cargo xtask build`"),
        Some(dir) => {
            println!("cargo::rerun-if-changed={}", dir.display());
            for entry in fs::read_dir(&dir).expect("DROWSE_BUNDLE names a directory") {
                let path = entry.expect("a readable directory").path();
                if path.extension().is_some_and(|end| end == "wasm") {
                    println!("cargo::rerun-if-changed={}", path.display());
                    plugins.push(path);
                }
            }
        }
    }
    plugins.sort();
    let lines: String = plugins
        .iter()
        .map(|path| {
            let name = path.file_stem().expect("a file has a name").display().to_string();
            format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string())
        })
        .collect();
    let text = format!("pub(crate) static BUNDLED: &[(&str, &[u8])] = &[\n{lines}];\n");
    fs::write(out.join("bundled.rs"), text).expect("OUT_DIR is writable");
}
