//! The immutable routing table: built once, read by every thread, replaced as a whole.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use drowse_core::WorkloadName;

use crate::{
    HostMatch, Route, SimilarPaths,
    host::{normalise, suffixes},
    path,
    similar::{self, Segments},
};

/// The tables of all listeners.
///
/// `T` is the value of a route, such as a handle to its workload, resolved once when the table is
/// built.
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
    /// Some route has a path other than `/`.
    by_path: bool,
    /// Some host has protected paths, see [`ProtectedPath`].
    has_protected: bool,
    /// Maximum labels of a wildcard's suffix.
    labels: usize,
}

/// A route with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The route as it was configured.
    pub route: Route,
    /// The value of the route.
    pub value: T,
}

/// The reason why a request matches no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No route has this host and path.
    Missing,
    /// Servers interpret the path differently, and the interpretations match different routes.
    Ambiguous,
    /// The path resembles a protected path and would reach the workload without its
    /// authentication.
    Similar {
        /// The protected path.
        protected: String,
    },
}

/// Two routes with equal listener, host and path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Conflict {
    /// The route that is configured first.
    pub first: Route,
    /// The route that is configured later.
    pub second: Route,
}

/// The routes of one host by path prefix without final slash.
#[derive(Clone, Debug)]
struct Paths<T> {
    prefixes: HashMap<Box<str>, Arc<Entry<T>>>,
    /// Maximum segments of a prefix.
    depth: usize,
    /// By the workload of the route.
    protected: HashMap<WorkloadName, Vec<ProtectedPath<T>>>,
}

/// A route with an `auth` and a path other than `/`. Paths that resemble it may not reach its
/// workload by a route with a different `auth`.
#[derive(Clone, Debug)]
struct ProtectedPath<T> {
    segments: Segments,
    entry: Arc<Entry<T>>,
}

// === impl Tables ===

impl<T> Tables<T> {
    /// Builds the tables. The error lists every pair of routes with equal listener, host and path.
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

    /// The table of this listener; an empty table if it has no routes.
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
    /// Matches a request to a route. `host` is as the client sent it, empty if absent; `path` is
    /// without query. Paths are compared in normal form. A path matches no route if servers
    /// interpret it differently and the interpretations match different routes, as with an encoded
    /// slash, a backslash or a `;`; or if it resembles a protected path, see [`SimilarPaths`].
    pub fn lookup(&self, host: &str, path: &str) -> Result<&Arc<Entry<T>>, NoRoute> {
        let host = normalise(host);
        if !self.by_path {
            return self.find(&host, path).ok_or(NoRoute::Missing);
        }
        let mut interpretations = path::interpretations(path);
        let first = interpretations.next().ok_or(NoRoute::Missing)?;
        let entry = self.find(&host, &first).ok_or(NoRoute::Missing)?;
        let is_entry = |path: Cow<'_, str>| {
            self.find(&host, &path).is_some_and(|other| Arc::ptr_eq(other, entry))
        };
        if !interpretations.all(is_entry) {
            return Err(NoRoute::Ambiguous);
        }
        match self.has_protected.then(|| self.bypassed(&host, path, entry)).flatten() {
            Some(bypassed) => {
                Err(NoRoute::Similar { protected: bypassed.entry.route.path.clone() })
            }
            None => Ok(entry),
        }
    }

    /// The protected path whose authentication a request for this path would bypass by this entry.
    fn bypassed(&self, host: &str, path: &str, entry: &Arc<Entry<T>>) -> Option<&ProtectedPath<T>> {
        let exact = self.exact.get(host).into_iter();
        let wildcard = suffixes(host, self.labels).filter_map(|suffix| self.wildcard.get(suffix));
        let candidates: Vec<_> = exact
            .chain(wildcard)
            .chain([&self.any])
            .filter_map(|paths| paths.protected.get(&entry.route.workload))
            .flatten()
            .filter(|protected| protected.entry.route.auth != entry.route.auth)
            .collect();
        if candidates.is_empty() {
            return None;
        }
        // A protected route that a route of a more specific host overrides is inactive.
        let is_active = |protected: &ProtectedPath<T>| {
            let found = self.find(host, &path::normalise(&protected.entry.route.path));
            found.is_some_and(|found| Arc::ptr_eq(found, &protected.entry))
        };
        if similar::is_too_long(path) {
            return candidates.into_iter().find(|protected| is_active(protected));
        }
        let own = Segments::of_prefix(&entry.route.path);
        let mut bypassed = None;
        similar::any_interpretation(path, |segments| {
            bypassed = candidates.iter().copied().find(|protected| {
                // A route whose own path resembles the protected one is intended.
                let is_intended = own.resemble(&protected.segments) && segments.resemble(&own);
                segments.resemble(&protected.segments) && !is_intended && is_active(protected)
            });
            bypassed.is_some()
        });
        bypassed
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
        self.has_protected |= !paths.protected.is_empty();
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
            has_protected: false,
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
        if entry.route.refuses_similar_paths() {
            let segments = Segments::of_prefix(&prefix);
            let protected = self.protected.entry(entry.route.workload.clone()).or_default();
            protected.push(ProtectedPath { segments, entry: entry.clone() });
        }
        self.prefixes.insert(prefix, entry);
        None
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { prefixes: HashMap::new(), depth: 0, protected: HashMap::new() }
    }
}

// === impl Route ===

impl Route {
    /// Paths that resemble the route's are refused.
    fn refuses_similar_paths(&self) -> bool {
        self.auth.is_some()
            && !path::trim(&self.path).is_empty()
            && self.similar_paths.unwrap_or_default() == SimilarPaths::Refuse
    }
}

/// Pairs of a protected route and a route of a parent path, for one host and workload, that has
/// another `auth` or none. Routes with an explicit `similar_paths` are omitted.
pub fn unprotected_parents(routes: &[Route]) -> Vec<(&Route, &Route)> {
    let key = |route: &Route| {
        (route.listener.clone(), route.host.clone(), route.workload.clone(), route.path.clone())
    };
    let by_key: HashMap<_, &Route> = routes.iter().map(|route| (key(route), route)).collect();
    let parent = |protected: &Route| {
        let depth = path::depth(path::trim(&protected.path));
        let prefixes = path::prefixes(path::trim(&protected.path), depth).skip(1);
        prefixes
            .filter_map(|prefix| {
                let path = if prefix.is_empty() { "/" } else { prefix }.to_owned();
                let (listener, host, workload, _) = key(protected);
                by_key.get(&(listener, host, workload, path)).copied()
            })
            .find(|other| other.auth != protected.auth)
    };
    let protected = routes.iter().filter(|it| it.auth.is_some() && it.similar_paths.is_none());
    protected.filter_map(|protected| Some((protected, parent(protected)?))).collect()
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
