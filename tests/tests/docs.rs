//! What the book says is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

fn root() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo tells tests where they are"))
        .join("..")
}

/// The files below a directory whose names end so, without what was built.
fn files(directory: &Path, end: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            files(&path, end, found)?;
        } else if path.extension().is_some_and(|it| it == end) {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_test_that_the_table_of_hazards_names_exists() -> Result<()> {
    let mut sources = Vec::new();
    for directory in ["host", "provider-sdk", "providers", "tests"] {
        files(&root().join(directory), "rs", &mut sources)?;
    }
    let code = sources.iter().map(fs::read_to_string).collect::<Result<String, _>>()?;
    let page = fs::read_to_string(root().join("docs/hazards.md"))?;
    let named = page.split('`').skip(1).step_by(2);
    let named: Vec<_> = named.filter(|name| name.matches('_').count() > 2).collect();
    ensure!(named.len() > 50, "only {} tests are named", named.len());
    let missing: Vec<_> =
        named.into_iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    ensure!(missing.is_empty(), "named and not there: {missing:#?}");
    Ok(())
}

#[test]
fn the_code_of_the_tutorial_is_the_example_that_is_built_and_tested() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/tutorial.md"))?;
    let blocks = page.split("```rust\n").skip(1).map(|rest| rest.split("```").next());
    let blocks: Option<Vec<_>> = blocks.collect();
    let code = blocks.context("an open block")?.join("\n");
    let example = fs::read_to_string(root().join("examples/wake-a-machine/src/lib.rs"))?;
    ensure!(code == example, "docs/tutorial.md and examples/wake-a-machine differ");
    Ok(())
}

/// What links to the headings of a page end with, by the rules of those who show Markdown.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn everything_that_the_book_links_to_exists() -> Result<()> {
    let mut found = vec![root().join("README.md")];
    files(&root().join("docs"), "md", &mut found)?;
    for page in found {
        let text = fs::read_to_string(&page)?;
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().context("an open link")?;
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.with_file_name(path) };
            ensure!(target.exists(), "{}: {link} is not there", page.display());
            let there = heading.is_empty()
                || anchors(&fs::read_to_string(&target)?).iter().any(|it| it == heading);
            ensure!(there, "{}: {link}: there is no such heading", page.display());
        }
    }
    Ok(())
}
