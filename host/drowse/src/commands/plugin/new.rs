//! `drowse plugin new`

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use drowse_plugins::grants::toml_string;
use serde_json::json;

use crate::{cli::NewPlugin, error::Error, output::Output};

#[cfg(test)]
mod tests;

/// The files of a new plugin. Names between two `@` are placeholders.
const FILES: [(&str, &str); 7] = [
    ("Cargo.toml", include_str!("new/Cargo.toml.in")),
    ("src/lib.rs", include_str!("new/lib.rs.in")),
    ("src/tests.rs", include_str!("new/tests.rs.in")),
    ("examples/platform.rs", include_str!("new/platform.rs.in")),
    ("grants.toml", include_str!("new/grants.toml.in")),
    ("README.md", include_str!("new/README.md.in")),
    (".gitignore", "/target\n"),
];

/// The version of the SDK for this router.
const SDK: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");

/// Maximum length of a name.
const NAME: usize = 64;

/// Names that Rust reserves.
const TAKEN: [&str; 53] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "use",
    "where",
    "while",
];

pub(crate) fn new(asked: &NewPlugin, output: &Output) -> Result<(), Error> {
    let name = asked.name.as_str();
    if let Some(flaw) = flaw(name) {
        return Err(Error::new(format!("{name:?} cannot be a plugin's name: {flaw}")));
    }
    let sdk = asked.sdk.as_deref().map(sdk).transpose()?;
    let dir = asked.path.clone().unwrap_or_else(|| PathBuf::from(name));
    make(&dir)?;
    let crate_name = name.replace('-', "_");
    for (file, text) in FILES {
        let text = text
            .replace("@name@", name)
            .replace("@crate@", &crate_name)
            .replace("@sdk@", sdk.as_deref().unwrap_or(SDK));
        let path = dir.join(file);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        written
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| Error::new(format!("cannot write {}: {error}", path.display())))?;
    }
    let told = json!({ "made": dir, "sdk": sdk.is_some() });
    output.answer(&told, |_| {
        let shown = dir.display();
        let lack = if sdk.is_some() {
            ""
        } else {
            "\nThe SDK is not in the registry yet: write its path into Cargo.toml,\n\
             drowse-provider-sdk = { path = \".../provider-sdk\" }, or start again with --sdk.\n"
        };
        format!(
            "Made {shown}, which switches things on and off over HTTP. Make it yours, then:\n{lack}\n  \
             cd {shown}\n  \
             cargo test\n  \
             cargo build --release --target wasm32-unknown-unknown\n  \
             drowse plugin test target/wasm32-unknown-unknown/release/{crate_name}.wasm\n\n\
             README.md says more.",
        )
    })
}

/// Why a plugin cannot have this name.
fn flaw(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !name.chars().all(plain) || name.ends_with('-') || name.len() > NAME {
        return Some(
            "take at most 64 lower-case letters, digits and `-`, beginning with a letter and \
             ending with a letter or digit",
        );
    }
    let crate_of_its_own = TAKEN.contains(&name) || name == "drowse-provider-sdk";
    crate_of_its_own.then_some("it has a meaning of its own in Rust; take another")
}

/// The dependency on the SDK in this directory.
fn sdk(dir: &Path) -> Result<String, Error> {
    let manifest = dir.join("Cargo.toml");
    let told = |why: &str| {
        Error::new(format!(
            "--sdk {}: {why}; name the directory provider-sdk of drowse's source",
            dir.display()
        ))
    };
    let text = fs::read_to_string(&manifest).map_err(|error| told(&error.to_string()))?;
    if !text.contains("name = \"drowse-provider-sdk\"") {
        return Err(told("its Cargo.toml is not the SDK's"));
    }
    let dir = fs::canonicalize(dir).map_err(|error| told(&error.to_string()))?;
    let dir = dir.to_str().ok_or_else(|| told("its path is not UTF-8"))?;
    Ok(format!("{{ path = {} }}", toml_string(dir)))
}

fn make(dir: &Path) -> Result<(), Error> {
    let shown = dir.display();
    fs::create_dir(dir).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Error::new(format!("{shown} exists already; name another directory with --path"))
        }
        _ => Error::new(format!("cannot make {shown}: {error}")),
    })
}
