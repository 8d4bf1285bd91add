//! Every TOML block of the documentation is a configuration that drowse accepts.

#![allow(clippy::unwrap_used)]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use drowse_config::{Config, DefaultPaths, TrialFile};

/// A fingerprint in full. The documentation shortens it.
const FINGERPRINT: (&str, &str) = (
    "6B:0F:…:A4",
    "6B:0F:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:A4",
);

struct Block {
    page: PathBuf,
    line: usize,
    text: String,
}

fn crate_directory() -> PathBuf {
    std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests").into()
}

/// Every Markdown page below a directory.
fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            pages(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

fn blocks() -> Vec<Block> {
    let root = crate_directory().join("../..");
    let mut found = vec![root.join("README.md")];
    pages(&root.join("docs"), &mut found);
    pages(&root.join("examples"), &mut found);
    found.sort();
    let mut blocks = Vec::new();
    for page in found {
        let text = fs::read_to_string(&page).unwrap();
        let mut rest = text.as_str();
        while let Some((_, block)) = rest.split_once("```toml\n") {
            let line = text[..text.len() - block.len()].lines().count() + 1;
            let (block, after) = block.split_once("```").unwrap();
            blocks.push(Block { page: page.clone(), line, text: block.to_owned() });
            rest = after;
        }
    }
    blocks
}

/// The names in headers such as `[workload.NAME.wake]`.
fn names<'t>(text: &'t str, table: &'t str) -> impl Iterator<Item = &'t str> {
    let headers = text.lines().filter_map(move |line| line.strip_prefix('[')?.strip_prefix(table));
    headers.filter_map(|rest| rest.strip_prefix('.')?.split(['.', ']']).next())
}

/// The texts that a key has, such as the names in `provider = "NAME"`.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    let lines = text.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix(" = \""));
    lines.filter_map(|rest| rest.split('"').next())
}

/// The block with what it leaves out because the page has shown it before: tables that it names,
/// and the header of keys that belong to a provider.
fn completed(block: &str) -> String {
    let mut text = block.replace(FINGERPRINT.0, FINGERPRINT.1);
    let first = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    if first.starts_with("endpoint.") || first.starts_with("settings") {
        text.insert_str(0, "[provider.docker]\nplugin = \"docker\"\n");
    }
    let mut more = String::new();
    if !text.contains("[[listener]]") {
        more.push_str("[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8080\"\n");
    }
    let mut workloads: Vec<_> = names(&text, "workload").chain(values(&text, "workload")).collect();
    workloads.sort_unstable();
    workloads.dedup();
    let mut needs_docker = false;
    for name in workloads {
        if !text.contains(&format!("[workload.{name}]")) {
            needs_docker = true;
            writeln!(more, "[workload.{name}]\nprovider = \"docker\"").unwrap();
        }
        // No route leads to a job.
        let is_job = text.contains("completed = true");
        if !is_job && !values(&text, "workload").any(|routed| routed == name) {
            writeln!(
                more,
                "[[route]]\nhost = \"{name}.example.org\"\nworkload = \"{name}\"\nport = 80"
            )
            .unwrap();
        }
    }
    let mut providers: Vec<_> = values(&text, "provider").collect();
    providers.extend(needs_docker.then_some("docker"));
    providers.sort_unstable();
    providers.dedup();
    for name in providers {
        if !text.contains(&format!("[provider.{name}]")) {
            writeln!(more, "[provider.{name}]\nplugin = \"{name}\"").unwrap();
        }
    }
    text + "\n" + &more
}

#[test]
fn every_toml_block_of_the_documentation_is_accepted() {
    let blocks = blocks();
    assert!(blocks.len() > 30, "only {} blocks were found", blocks.len());
    // Files that a configuration names, such as password files, are looked for beside it.
    let beside = crate_directory().join("tests/valid");
    let mut wrong = Vec::new();
    for Block { page, line, text } in blocks {
        if text.contains("[dependencies]") {
            // The manifest of a Rust crate.
            continue;
        }
        let file = beside.join("block.toml");
        let refused = if text.contains("[test]") {
            TrialFile::parse(file, text.replace(FINGERPRINT.0, FINGERPRINT.1)).err()
        } else {
            Config::parse(vec![(file, completed(&text))], &DefaultPaths::default()).err()
        };
        if let Some(refused) = refused {
            wrong.push(format!("{}:{line}:\n{refused}", page.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
