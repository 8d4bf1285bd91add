//! `cargo xtask structure`: how large the files of each crate are, which import each other in a
//! circle, and how often the prose uses expressions that our style avoids.
//!
//! An import is a path that begins with `crate`, `self`, `super` or a child module. It leads to the
//! file that defines the item: re-exports are followed. Tests are no part of the structure, but
//! their prose is counted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

mod circles;
mod modules;
mod prose;

use modules::Crate;
use prose::Prose;

/// Options of the measurement.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Measure this commit as well, and print both.
    #[arg(long, value_name = "COMMIT")]
    before: Option<String>,
    /// Print the files of each circle and each matching line.
    #[arg(long)]
    list: bool,
}

/// The figures of one crate, or of the documentation.
#[derive(Default)]
struct Figures {
    /// Lines of each source file, sorted. Tests are left out.
    lines: Vec<usize>,
    longest: Option<(PathBuf, usize)>,
    /// The circles, each with its files.
    circles: Vec<Vec<PathBuf>>,
    prose: Prose,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let after = measure(workspace.root())?;
    if let Some(commit) = &options.before {
        let tree = tempfile::tempdir()?;
        extract(workspace.root(), commit, tree.path())?;
        println!("before ({commit})\n");
        print(&measure(tree.path())?);
        println!("\nafter\n");
    }
    print(&after);
    if options.list {
        list(&after);
    }
    Ok(())
}

/// Writes the files of a commit into a directory.
fn extract(repository: &Path, commit: &str, into: &Path) -> Result<()> {
    let mut archive = Command::new("git")
        .current_dir(repository)
        .args(["archive", commit])
        .stdout(Stdio::piped())
        .spawn()
        .context("run git archive")?;
    let files = archive.stdout.take().context("git archive has no output")?;
    let unpacked = Command::new("tar").arg("-x").current_dir(into).stdin(files).status()?;
    ensure!(archive.wait()?.success(), "git archive {commit} failed");
    ensure!(unpacked.success(), "tar failed to unpack {commit}");
    Ok(())
}

fn measure(root: &Path) -> Result<BTreeMap<String, Figures>> {
    let mut figures = BTreeMap::new();
    for manifest in find(root, &|name| name == "Cargo.toml")? {
        let directory = manifest.parent().context("a manifest lies in a directory")?;
        if !fs::read_to_string(&manifest)?.contains("[package]") {
            continue;
        }
        let name = directory.strip_prefix(root)?.display().to_string();
        figures.insert(name, measure_crate(root, directory)?);
    }
    let mut docs = Figures::default();
    for page in find(root, &|name| name.ends_with(".md"))? {
        docs.prose.count_page(page.strip_prefix(root)?, &fs::read_to_string(&page)?);
    }
    for contract in find(root, &|name| name.ends_with(".wit"))? {
        docs.prose.count_comments(contract.strip_prefix(root)?, &fs::read_to_string(&contract)?);
    }
    figures.insert("docs and wit".to_owned(), docs);
    Ok(figures)
}

fn measure_crate(root: &Path, directory: &Path) -> Result<Figures> {
    let mut figures = Figures::default();
    let sources = find(directory, &|name| name.ends_with(".rs"))?;
    for file in sources.iter().filter(|file| owner(file).as_deref() == Some(directory)) {
        let text = fs::read_to_string(file)?;
        figures.prose.count_source(file.strip_prefix(root)?, &text)?;
    }
    for entry in ["src/lib.rs", "src/main.rs"] {
        let entry = directory.join(entry);
        if !entry.exists() {
            continue;
        }
        let parsed = Crate::read(&entry)?;
        for (file, lines) in parsed.lines() {
            figures.lines.push(lines);
            if figures.longest.as_ref().is_none_or(|(_, longest)| lines > *longest) {
                figures.longest = Some((file.strip_prefix(root)?.to_owned(), lines));
            }
        }
        for circle in circles::find(&parsed.imports()) {
            let files = circle.iter().map(|file| Ok(file.strip_prefix(root)?.to_owned()));
            figures.circles.push(files.collect::<Result<_>>()?);
        }
    }
    figures.lines.sort_unstable();
    Ok(figures)
}

/// The directory of the crate that a file belongs to.
fn owner(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).find(|at| at.join("Cargo.toml").exists()).map(Path::to_owned)
}

/// All files below a directory whose name is wanted. Hidden directories and build output are left
/// out.
fn find(directory: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = fs::read_dir(directory)
        .with_context(|| format!("read {}", directory.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                found.extend(find(&entry.path(), wanted)?);
            }
        } else if wanted(&name) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn print(figures: &BTreeMap<String, Figures>) {
    println!(
        "{:24} {:>5} {:>7} {:>6} {:>5} {:>10} {:>8} {:>6}",
        "crate", "files", "longest", "median", "p90", "in circles", "largest", "prose",
    );
    let mut all = Prose::default();
    for (name, figures) in figures {
        let in_circles = figures.circles.iter().map(Vec::len).sum::<usize>();
        let largest = figures.circles.iter().map(Vec::len).max().unwrap_or(0);
        println!(
            "{name:24} {:>5} {:>7} {:>6} {:>5} {in_circles:>10} {largest:>8} {:>6}",
            figures.lines.len(),
            figures.longest.as_ref().map_or(0, |(_, lines)| *lines),
            quantile(&figures.lines, 50),
            quantile(&figures.lines, 90),
            figures.prose.total(),
        );
        all.add(&figures.prose);
    }
    println!("\nexpressions in comments, messages and documentation");
    for (expression, count) in all.counts() {
        println!("{expression:24} {count:>5}");
    }
    println!("{:24} {:>5}", "all", all.total());
}

fn quantile(sorted: &[usize], percent: usize) -> usize {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or(0)
}

fn list(figures: &BTreeMap<String, Figures>) {
    for (name, figures) in figures {
        for circle in &figures.circles {
            println!("\n{name}: a circle of {} files", circle.len());
            for file in circle {
                println!("  {}", file.display());
            }
        }
    }
    println!();
    for figures in figures.values() {
        for found in figures.prose.found() {
            println!("{found}");
        }
    }
}
