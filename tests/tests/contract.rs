//! `docs/contract.md` is generated from `wit/v0.1`. `UPDATE_EXPECTED=1` regenerates it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// Source files in the order of the page: exports, imports, shared types.
const FILES: [&str; 3] = ["provider.wit", "host.wit", "types.wit"];

const HEAD: &str = "\
# The contract

Reference of all functions and types of the interface between router and plugins, generated from
[`wit/v0.1`](../wit/v0.1) by `UPDATE_EXPECTED=1 cargo test --package drowse-tests --test contract`.
[Writing a provider](write-a-provider.md) is the introduction.
";

fn root() -> PathBuf {
    Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo tells tests where they are")).join("..")
}

/// Renders a WIT file as Markdown: a heading per interface, function and type, its declaration as a
/// code block, and its doc comment as text.
fn render(wit: &str) -> Result<String> {
    let mut page = String::new();
    let mut doc = String::new();
    let mut lines = wit.lines();
    while let Some(line) = lines.next() {
        let code = line.trim();
        if let Some(text) = code.strip_prefix("///") {
            doc.push_str(text.strip_prefix(' ').unwrap_or(text));
            doc.push('\n');
        } else if code.is_empty() || code.starts_with("//") || code == "}" {
        } else if let Some(package) = code.strip_prefix("package ") {
            page.push_str(&format!("\nPackage `{}`. {doc}", package.trim_end_matches(';')));
            doc.clear();
        } else if !line.starts_with(' ') {
            let name = code.strip_suffix('{').context("an item is one line")?.trim();
            page.push_str(&format!("\n## {name}\n\n{doc}"));
            doc.clear();
            if name.starts_with("world ") {
                let inside = lines.by_ref().take_while(|line| *line != "}");
                let inside: Vec<_> =
                    inside.map(str::trim).filter(|line| !line.is_empty()).collect();
                page.push_str(&format!("\n```wit\n{}\n```\n", inside.join("\n")));
            }
        } else if code.starts_with("use ") {
            if !code.ends_with(';') {
                lines.by_ref().find(|line| line.trim() == "};");
            }
        } else {
            let mut item = vec![code];
            if code.ends_with('{') {
                let rest = lines.by_ref().take_while(|line| *line != "    }");
                item.extend(rest.map(|line| line.strip_prefix("    ").unwrap_or(line)));
                item.push("}");
            }
            let name = code.split([':', '{']).next().unwrap_or(code).trim();
            let name = name.replace('%', "");
            let name = name.rsplit(' ').next().unwrap_or(&name);
            page.push_str(&format!("\n### {name}\n\n```wit\n{}\n```\n", item.join("\n")));
            if !doc.is_empty() {
                page.push_str(&format!("\n{doc}"));
            }
            doc.clear();
        }
    }
    ensure!(doc.is_empty(), "a doc comment without an item: {doc}");
    Ok(page)
}

fn reference() -> Result<String> {
    let mut text = HEAD.to_owned();
    for file in FILES {
        let wit = fs::read_to_string(root().join("wit/v0.1").join(file))?;
        text.push_str(&render(&wit).with_context(|| file.to_owned())?);
    }
    Ok(text)
}

#[test]
fn the_contract_page_is_generated_from_the_wit() -> Result<()> {
    let file = root().join("docs/contract.md");
    if env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&file, reference()?)?;
    }
    let actual = fs::read_to_string(&file).unwrap_or_default();
    ensure!(actual == reference()?, "docs/contract.md is out of date with wit/v0.1");
    Ok(())
}

#[test]
fn the_contract_page_contains_every_function_and_type() -> Result<()> {
    let text = reference()?;
    for file in FILES {
        let wit = fs::read_to_string(root().join("wit/v0.1").join(file))?;
        for line in wit.lines().map(str::trim).filter(|line| !line.starts_with('/')) {
            let block = line.ends_with('{') && !line.starts_with("use ");
            let item = line.contains(": func(") || block || line.starts_with("import");
            let name = line.trim_end_matches('{').trim();
            ensure!(!item || text.contains(name), "{file}: {line} is missing in docs/contract.md");
        }
    }
    Ok(())
}
