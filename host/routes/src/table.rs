//! The immutable table: built once, read by every thread, swapped as a whole.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use crate::{
    HostMatch, Route,
    host::{normalise, suffixes},
    path,
};

/// The tables of all listeners.
///
/// `T` is what a route leads to, found by name once when the table is built.
#[derive(Clone, Debug)]
pub struct Tables<T> {
    listeners: HashMap<String, Table<T>>,
    empty: Table<T>,
}

/// The routes of one listener.
#[derive(Clone, Debug)]
pub struct Table<T> {
    exact: HashMap<Box<str>, Paths<T>>,
    wildcard: HashMap<Box<str>, Paths<T>>,
    any: Paths<T>,
    /// Some route is for a part of the paths alone.
    by_path: bool,
    /// The most labels that a wildcard's suffix has.
    labels: usize,
}

/// A route and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// As it was given.
    pub route: Route,
    /// What it leads to.
    pub value: T,
}

/// Two routes claim the same visitors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Conflict {
    /// The one that came first.
    pub first: Route,
    /// The one that came later.
    pub second: Route,
}

/// The routes of one host by path prefix without last slash.
#[derive(Clone, Debug)]
struct Paths<T> {
    prefixes: HashMap<Box<str>, Arc<Entry<T>>>,
    /// The most segments that a prefix has.
    depth: usize,
}

// === impl Tables ===

impl<T> Tables<T> {
    /// Sorts routes by listener. Every pair of routes with the same listener, host and path is
    /// reported, and then nothing is built.
    pub fn build(routes: impl IntoIterator<Item = (Route, T)>) -> Result<Self, Vec<Conflict>> {
        let mut listeners: HashMap<String, Table<T>> = HashMap::new();
        let mut conflicts = Vec::new();
        for (route, value) in routes {
            let table = match listeners.get_mut(&route.listener) {
                Some(table) => table,
                None => listeners.entry(route.listener.clone()).or_default(),
            };
            conflicts.extend(table.insert(route, value));
        }
        if conflicts.is_empty() {
            Ok(Self { listeners, empty: Table::default() })
        } else {
            Err(conflicts)
        }
    }

    /// The table of this listener; an empty one when it has no routes.
    pub fn listener(&self, name: &str) -> &Table<T> {
        self.listeners.get(name).unwrap_or(&self.empty)
    }
}

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self { listeners: HashMap::new(), empty: Table::default() }
    }
}

// === impl Table ===

impl<T> Table<T> {
    /// The route for a visitor who asks for `path` (without query) of `host` (as the client says
    /// it, empty when it says none). Paths are compared as servers resolve them. None is found for
    /// a path that servers read differently where that makes a difference: behind an encoded
    /// slash, a backslash or a `;` there may be a path that belongs to another route.
    pub fn lookup(&self, host: &str, path: &str) -> Option<&Arc<Entry<T>>> {
        let host = normalise(host);
        if !self.by_path {
            return self.find(&host, path);
        }
        let mut readings = path::readings(path);
        let entry = self.find(&host, &readings.next()?)?;
        let same = |path: Cow<'_, str>| {
            self.find(&host, &path).is_some_and(|other| Arc::ptr_eq(other, entry))
        };
        readings.all(same).then_some(entry)
    }

    fn find(&self, host: &str, path: &str) -> Option<&Arc<Entry<T>>> {
        self.exact
            .get(host)
            .and_then(|paths| paths.lookup(path))
            .or_else(|| {
                suffixes(host, self.labels)
                    .filter_map(|suffix| self.wildcard.get(suffix))
                    .find_map(|paths| paths.lookup(path))
            })
            .or_else(|| self.any.lookup(path))
    }

    fn insert(&mut self, route: Route, value: T) -> Option<Conflict> {
        let paths = match &route.host {
            HostMatch::Any => &mut self.any,
            HostMatch::Exact(host) => self.exact.entry(normalise(host).into()).or_default(),
            HostMatch::Wildcard(suffix) => {
                let suffix = normalise(suffix);
                self.labels = self.labels.max(suffix.split('.').count());
                self.wildcard.entry(suffix.into()).or_default()
            }
        };
        let conflict = paths.insert(route, value);
        self.by_path |= paths.depth > 0;
        conflict
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            any: Paths::default(),
            by_path: false,
            labels: 0,
        }
    }
}

// === impl Paths ===

impl<T> Paths<T> {
    fn lookup(&self, path: &str) -> Option<&Arc<Entry<T>>> {
        path::prefixes(path, self.depth).find_map(|prefix| self.prefixes.get(prefix))
    }

    fn insert(&mut self, route: Route, value: T) -> Option<Conflict> {
        let path = path::normalise(&route.path);
        let prefix: Box<str> = path::trim(&path).into();
        drop(path);
        if let Some(first) = self.prefixes.get(&prefix) {
            return Some(Conflict { first: first.route.clone(), second: route });
        }
        self.depth = self.depth.max(path::depth(&prefix));
        self.prefixes.insert(prefix, Arc::new(Entry { route, value }));
        None
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { prefixes: HashMap::new(), depth: 0 }
    }
}

// === impl Conflict ===

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second } = self;
        write!(
            f,
            "listener {:?}: host {} path {} leads to workload \"{}\" port {} and to workload \
             \"{}\" port {}: keep one of the two routes",
            first.listener,
            first.host,
            first.path,
            first.workload,
            first.port,
            second.workload,
            second.port,
        )
    }
}

#[cfg(test)]
mod tests;
