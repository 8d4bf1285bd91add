//! The reference of the contract is what `wit/v0.1` says. `UPDATE_EXPECTED=1` writes it anew.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// In this order: what a provider is asked for, what it may ask for, and the words of both.
const FILES: [&str; 3] = ["provider.wit", "host.wit", "types.wit"];

const HEAD: &str = "\
# The contract

Made from [`wit/v0.1`](../wit/v0.1), which is what counts; `UPDATE_EXPECTED=1 cargo test --package
drowse-tests --test contract` writes this page anew. [Writing a provider](write-a-provider.md) tells
how to use it.
";

fn root() -> PathBuf {
    Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo tells tests where they are")).join("..")
}

/// One of the files as Markdown: a heading for each interface and function, with what is written
/// above it as text, and types as they stand there.
fn page(wit: &str) -> Result<String> {
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
    ensure!(doc.is_empty(), "a comment belongs to nothing: {doc}");
    Ok(page)
}

fn reference() -> Result<String> {
    let mut text = HEAD.to_owned();
    for file in FILES {
        let wit = fs::read_to_string(root().join("wit/v0.1").join(file))?;
        text.push_str(&page(&wit).with_context(|| file.to_owned())?);
    }
    Ok(text)
}

#[test]
fn the_reference_of_the_contract_is_what_the_wit_says() -> Result<()> {
    let file = root().join("docs/contract.md");
    if env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&file, reference()?)?;
    }
    let held = fs::read_to_string(&file).unwrap_or_default();
    ensure!(held == reference()?, "docs/contract.md is not what wit/v0.1 says");
    Ok(())
}

#[test]
fn every_function_and_type_of_the_contract_is_in_its_reference() -> Result<()> {
    let text = reference()?;
    for file in FILES {
        let wit = fs::read_to_string(root().join("wit/v0.1").join(file))?;
        for line in wit.lines().map(str::trim).filter(|line| !line.starts_with('/')) {
            let block = line.ends_with('{') && !line.starts_with("use ");
            let item = line.contains(": func(") || block || line.starts_with("import");
            let name = line.trim_end_matches('{').trim();
            ensure!(!item || text.contains(name), "{file}: {line} is missing");
        }
    }
    Ok(())
}
