//! Circles in a graph of imports: its strongly connected components (Tarjan, 1972).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Which files each file imports.
pub(super) type Imports = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// All circles of two files or more.
pub(super) fn find(imports: &Imports) -> Vec<Vec<PathBuf>> {
    let mut search = Search::new(imports);
    for file in imports.keys() {
        if !search.index.contains_key(file) {
            search.visit(file);
        }
    }
    search.circles
}

struct Search<'a> {
    imports: &'a Imports,
    index: BTreeMap<&'a PathBuf, usize>,
    low: BTreeMap<&'a PathBuf, usize>,
    stack: Vec<&'a PathBuf>,
    circles: Vec<Vec<PathBuf>>,
}

// === impl Search ===

impl<'a> Search<'a> {
    fn new(imports: &'a Imports) -> Self {
        Self {
            imports,
            index: BTreeMap::new(),
            low: BTreeMap::new(),
            stack: Vec::new(),
            circles: Vec::new(),
        }
    }

    fn visit(&mut self, file: &'a PathBuf) {
        let index = self.index.len();
        self.index.insert(file, index);
        self.low.insert(file, index);
        self.stack.push(file);
        for next in self.imports.get(file).into_iter().flatten() {
            let reached = if !self.index.contains_key(next) {
                self.visit(next);
                self.low[next]
            } else if self.stack.contains(&next) {
                self.index[next]
            } else {
                continue;
            };
            let low = self.low[file].min(reached);
            self.low.insert(file, low);
        }
        if self.low[file] == index {
            let mut circle = Vec::new();
            while let Some(member) = self.stack.pop() {
                circle.push(member.clone());
                if member == file {
                    break;
                }
            }
            if circle.len() > 1 {
                circle.sort();
                self.circles.push(circle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Imports {
        let mut imports = Imports::new();
        for (from, to) in edges {
            imports.entry(from.into()).or_default().insert(to.into());
            imports.entry(to.into()).or_default();
        }
        imports
    }

    #[test]
    fn a_chain_has_no_circle() {
        assert_eq!(find(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), Vec::<Vec<PathBuf>>::new());
    }

    #[test]
    fn two_circles_that_one_import_joins_stay_two() {
        let joined = graph(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c")]);
        let mut circles = find(&joined);
        circles.sort();
        assert_eq!(circles, [["a", "b"].map(PathBuf::from), ["c", "d"].map(PathBuf::from)]);
    }
}
