//! The immutable table: built once, read by every thread, swapped as a whole.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use drowse_core::WorkloadName;

use crate::{
    HostMatch, Route, SimilarPaths,
    host::{normalise, suffixes},
    path,
    similar::{self, Names},
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
    /// Some host has protected paths, see [`Guard`].
    guarded: bool,
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

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// There is none for its host and path.
    Missing,
    /// Servers read its path differently, and it would be on another route for some of them.
    Ambiguous,
    /// Its path resembles a protected one and would reach the same workload past its protection.
    Similar {
        /// The protected path.
        protected: String,
    },
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
    /// By the workload that they guard.
    guards: HashMap<WorkloadName, Vec<Guard<T>>>,
}

/// A route with an `auth` for a part of the paths: what resembles its path may not reach its
/// workload by a route with another one.
#[derive(Clone, Debug)]
struct Guard<T> {
    names: Names,
    entry: Arc<Entry<T>>,
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
    /// slash, a backslash or a `;` there may be a path that belongs to another route. Nor is one
    /// found for a path that resembles a protected one, see [`SimilarPaths`].
    pub fn lookup(&self, host: &str, path: &str) -> Result<&Arc<Entry<T>>, NoRoute> {
        let host = normalise(host);
        if !self.by_path {
            return self.find(&host, path).ok_or(NoRoute::Missing);
        }
        let mut readings = path::readings(path);
        let first = readings.next().ok_or(NoRoute::Missing)?;
        let entry = self.find(&host, &first).ok_or(NoRoute::Missing)?;
        let same = |path: Cow<'_, str>| {
            self.find(&host, &path).is_some_and(|other| Arc::ptr_eq(other, entry))
        };
        if !readings.all(same) {
            return Err(NoRoute::Ambiguous);
        }
        match self.guarded.then(|| self.guard(&host, path, entry)).flatten() {
            Some(guard) => Err(NoRoute::Similar { protected: guard.entry.route.path.clone() }),
            None => Ok(entry),
        }
    }

    /// The guard that a request for this path would get past by this entry.
    fn guard(&self, host: &str, path: &str, entry: &Arc<Entry<T>>) -> Option<&Guard<T>> {
        let exact = self.exact.get(host).into_iter();
        let wildcard = suffixes(host, self.labels).filter_map(|suffix| self.wildcard.get(suffix));
        let guards: Vec<_> = exact
            .chain(wildcard)
            .chain([&self.any])
            .filter_map(|paths| paths.guards.get(&entry.route.workload))
            .flatten()
            .filter(|guard| guard.entry.route.auth != entry.route.auth)
            .collect();
        if guards.is_empty() {
            return None;
        }
        // Where another host's route goes before it, it guards nothing.
        let counts = |guard: &Guard<T>| {
            let found = self.find(host, &path::normalise(&guard.entry.route.path));
            found.is_some_and(|found| Arc::ptr_eq(found, &guard.entry))
        };
        if similar::is_too_long(path) {
            return guards.into_iter().find(|guard| counts(guard));
        }
        let own = Names::of_prefix(&entry.route.path);
        let mut passed = None;
        similar::any_reading(path, |names| {
            passed = guards.iter().copied().find(|guard| {
                // A route for a path of its own that resembles the protected one is meant so.
                let meant = own.resemble(&guard.names) && names.resemble(&own);
                names.resemble(&guard.names) && !meant && counts(guard)
            });
            passed.is_some()
        });
        passed
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
        self.guarded |= !paths.guards.is_empty();
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
            guarded: false,
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
        let entry = Arc::new(Entry { route, value });
        if entry.route.guards() {
            let names = Names::of_prefix(&prefix);
            let guards = self.guards.entry(entry.route.workload.clone()).or_default();
            guards.push(Guard { names, entry: entry.clone() });
        }
        self.prefixes.insert(prefix, entry);
        None
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { prefixes: HashMap::new(), depth: 0, guards: HashMap::new() }
    }
}

// === impl Route ===

impl Route {
    /// What resembles its path is refused.
    fn guards(&self) -> bool {
        self.auth.is_some()
            && !path::trim(&self.path).is_empty()
            && self.similar_paths.unwrap_or_default() == SimilarPaths::Refuse
    }
}

/// Pairs of a route that is protected and one above it, for the same host and workload, that is
/// not or is protected otherwise. Without those whose `similar_paths` says that it is meant so.
pub fn half_protected(routes: &[Route]) -> Vec<(&Route, &Route)> {
    let place = |route: &Route| {
        (route.listener.clone(), route.host.clone(), route.workload.clone(), route.path.clone())
    };
    let places: HashMap<_, &Route> = routes.iter().map(|route| (place(route), route)).collect();
    let above = |protected: &Route| {
        let depth = path::depth(path::trim(&protected.path));
        let prefixes = path::prefixes(path::trim(&protected.path), depth).skip(1);
        prefixes
            .filter_map(|prefix| {
                let path = if prefix.is_empty() { "/" } else { prefix }.to_owned();
                let (listener, host, workload, _) = place(protected);
                places.get(&(listener, host, workload, path)).copied()
            })
            .find(|other| other.auth != protected.auth)
    };
    let protected = routes.iter().filter(|it| it.auth.is_some() && it.similar_paths.is_none());
    protected.filter_map(|protected| Some((protected, above(protected)?))).collect()
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
