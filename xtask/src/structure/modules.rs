//! The modules of a crate, their files, and what they import.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMod, UseTree, Visibility,
    visit::{self, Visit},
};

use super::circles::Imports;

/// The names of the modules from the crate's root to one of its modules.
type ModulePath = Vec<String>;

/// All modules of one library or program but its tests.
pub(super) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
    lines: BTreeMap<PathBuf, usize>,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Paths named anywhere in the module, as they are written.
    paths: Vec<Vec<String>>,
    /// Names that the module takes from elsewhere, with where from. Public ones are re-exports.
    uses: Vec<Use>,
    /// Names defined here.
    items: BTreeSet<String>,
}

struct Use {
    path: Vec<String>,
    name: String,
    glob: bool,
}

/// Re-exports of re-exports are followed up to this depth.
const DEPTH: usize = 8;

// === impl Crate ===

impl Crate {
    /// Reads a crate by the file of its root module.
    pub(super) fn read(entry: &Path) -> Result<Self> {
        let mut read = Self { modules: BTreeMap::new(), lines: BTreeMap::new() };
        let directory = entry.parent().context("a file lies in a directory")?;
        read.read_file(entry, directory, Vec::new())?;
        Ok(read)
    }

    /// Each file with its number of lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Path, usize)> {
        self.lines.iter().map(|(file, lines)| (file.as_path(), *lines))
    }

    /// Which files each file imports.
    pub(super) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (at, module) in &self.modules {
            let uses = module.uses.iter().map(|used| &used.path);
            for path in uses.chain(&module.paths) {
                let Some(to) = self.resolve(at, path, DEPTH) else { continue };
                if to != module.file {
                    imports.entry(module.file.clone()).or_default().insert(to.clone());
                    imports.entry(to).or_default();
                }
            }
        }
        imports
    }

    /// The file that defines what a path names, seen from a module. None for another crate's.
    fn resolve(&self, at: &ModulePath, path: &[String], depth: usize) -> Option<PathBuf> {
        let mut here = at.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (here, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {}
            first => {
                let child = [at.as_slice(), &[first.to_owned()]].concat();
                if !self.modules.contains_key(&child) {
                    return None;
                }
            }
        }
        while let Some("super") = rest.first().map(String::as_str) {
            here.pop()?;
            rest = &rest[1..];
        }
        while let Some(name) = rest.first() {
            let child = [here.as_slice(), std::slice::from_ref(name)].concat();
            if !self.modules.contains_key(&child) {
                break;
            }
            (here, rest) = (child, &rest[1..]);
        }
        let module = self.modules.get(&here)?;
        if let Some(name) = rest.first()
            && !module.items.contains(name)
            && depth > 0
        {
            let named = module.uses.iter().filter(|used| !used.glob && used.name == *name);
            let globs = module.uses.iter().filter(|used| used.glob);
            let through = named.map(|used| used.path.clone()).chain(
                globs.map(|used| [used.path.as_slice(), std::slice::from_ref(name)].concat()),
            );
            for path in through {
                if let Some(file) = self.resolve(&here, &path, depth - 1) {
                    return Some(file);
                }
            }
        }
        Some(module.file.clone())
    }

    /// `directory` is where the files of the module's children lie.
    fn read_file(&mut self, file: &Path, directory: &Path, at: ModulePath) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parse {}", file.display()))?;
        self.lines.insert(file.to_owned(), text.lines().count());
        self.read_items(&parsed.items, file, directory, at)
    }

    fn read_items(
        &mut self,
        items: &[Item],
        file: &Path,
        directory: &Path,
        at: ModulePath,
    ) -> Result<()> {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let below = [at.as_slice(), std::slice::from_ref(&name)].concat();
                    self.read_module(child, file, &directory.join(&name), below)?;
                }
                Item::Use(used) => collect(&used.tree, &mut Vec::new(), &mut module.uses),
                item => {
                    module.items.extend(name(item));
                    Paths(&mut module.paths).visit_item(item);
                }
            }
        }
        self.modules.insert(at, module);
        Ok(())
    }

    fn read_module(
        &mut self,
        module: &ItemMod,
        file: &Path,
        directory: &Path,
        at: ModulePath,
    ) -> Result<()> {
        if let Some((_, items)) = &module.content {
            return self.read_items(items, file, directory, at);
        }
        let flat = directory.with_extension("rs");
        let nested = directory.join("mod.rs");
        if flat.exists() {
            self.read_file(&flat, directory, at)
        } else if nested.exists() {
            self.read_file(&nested, directory, at)
        } else {
            // Generated or placed by an attribute: no file of the tree.
            Ok(())
        }
    }
}

/// Returns whether an item is compiled for tests only: `cfg(test)`, also with other conditions.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let condition = attribute.meta.require_list().map(|list| list.tokens.clone());
        condition.is_ok_and(|condition| mentions_test(condition, false))
    })
}

/// Returns whether a condition asks for tests; not where it excludes them.
fn mentions_test(condition: TokenStream, negated: bool) -> bool {
    let mut not = false;
    condition.into_iter().any(|token| match token {
        TokenTree::Ident(word) => {
            not = word == "not";
            word == "test" && !negated
        }
        TokenTree::Group(group) => mentions_test(group.stream(), negated || not),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn collect(tree: &UseTree, before: &mut Vec<String>, uses: &mut Vec<Use>) {
    let mut leaf = |before: &[String], last: Option<String>, name: String, glob| {
        let path = before.iter().cloned().chain(last).collect();
        uses.push(Use { path, name, glob });
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            collect(&path.tree, before, uses);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            leaf(before, None, before.last().cloned().unwrap_or_default(), false);
        }
        UseTree::Name(name) => {
            leaf(before, Some(name.ident.to_string()), name.ident.to_string(), false);
        }
        UseTree::Rename(rename) => {
            leaf(before, Some(rename.ident.to_string()), rename.rename.to_string(), false);
        }
        UseTree::Glob(_) => leaf(before, None, String::new(), true),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, before, uses);
            }
        }
    }
}

/// Collects the paths of two segments and more that code names without a `use`.
struct Paths<'a>(&'a mut Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(in crate::a)` names a module and imports nothing.
    }
}
