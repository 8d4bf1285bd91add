//! Which workloads a workload needs, by its configuration and as discovered on its platform.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, OnceLock},
};

use super::{Workload, lock};
use crate::{
    names::WorkloadName,
    need::{Need, Until},
};

/// A needed workload, and how far it must have come before its dependent is started.
#[derive(Clone)]
pub(super) struct Dependency {
    pub(super) workload: Arc<Workload>,
    pub(super) until: Until,
}

/// The dependencies of one workload.
#[derive(Default)]
pub(super) struct Dependencies {
    configured: OnceLock<Vec<Dependency>>,
    discovered: Mutex<Vec<Dependency>>,
}

// === impl Dependency ===

impl PartialEq for Dependency {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.workload, &other.workload) && self.until == other.until
    }
}

impl Dependency {
    /// A job runs before each start, and is not held awake.
    pub(super) fn is_job(&self) -> bool {
        self.until == Until::Completed
    }
}

// === impl Dependencies ===

impl Dependencies {
    /// Sets the configured dependencies. Only the first call has an effect.
    pub(super) fn configure(&self, dependencies: Vec<Dependency>) {
        let _ = self.configured.set(dependencies);
    }

    pub(super) fn configured(&self) -> &[Dependency] {
        self.configured.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Replaces the discovered dependencies; returns whether they differ from those before.
    pub(super) fn discover(&self, dependencies: Vec<Dependency>) -> bool {
        let mut known = lock(&self.discovered);
        let differ = *known != dependencies;
        *known = dependencies;
        differ
    }

    /// Configured dependencies, then discovered ones on other workloads.
    pub(super) fn all(&self) -> Vec<Dependency> {
        let mut all = self.configured().to_vec();
        for found in lock(&self.discovered).iter() {
            if !all.iter().any(|known| known.workload.name() == found.workload.name()) {
                all.push(found.clone());
            }
        }
        all
    }
}

// === impl Workload ===

impl Workload {
    /// Direct dependencies, and how far each must have come before this workload is started.
    pub fn needs(&self) -> Vec<(Arc<Workload>, Until)> {
        self.dependencies.all().into_iter().map(|need| (need.workload, need.until)).collect()
    }

    /// Direct and indirect dependencies, each once.
    pub(super) fn all_needs(&self) -> Vec<Arc<Workload>> {
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        let mut open = self.dependencies.all();
        while let Some(need) = open.pop() {
            if seen.insert(need.workload.name().clone()) {
                open.extend(need.workload.dependencies.all());
                found.push(need.workload);
            }
        }
        found
    }

    /// Workloads that stay awake as long as this one: direct and indirect dependencies, except jobs
    /// and dependencies of jobs only.
    pub(super) fn kept_awake(&self) -> BTreeSet<WorkloadName> {
        let (mut kept, mut open) = (BTreeSet::new(), self.dependencies.all());
        while let Some(need) = open.pop() {
            if !need.is_job() && kept.insert(need.workload.name().clone()) {
                open.extend(need.workload.dependencies.all());
            }
        }
        kept
    }
}

/// A cycle in the needs of workloads, as the names along it with the first one repeated at the end.
pub fn find_cycle<'a>(
    all: impl Iterator<Item = (&'a WorkloadName, &'a [Need])>,
) -> Option<Vec<WorkloadName>> {
    let graph: BTreeMap<_, _> = all.collect();
    let mut done = HashSet::new();
    graph.keys().find_map(|start| walk(&graph, start, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    graph: &BTreeMap<&'a WorkloadName, &'a [Need]>,
    at: &'a WorkloadName,
    path: &mut Vec<&'a WorkloadName>,
    done: &mut HashSet<&'a WorkloadName>,
) -> Option<Vec<WorkloadName>> {
    if let Some(begin) = path.iter().position(|name| *name == at) {
        let cycle = path[begin..].iter().copied().chain([at]);
        return Some(cycle.cloned().collect());
    }
    if !done.insert(at) {
        return None;
    }
    path.push(at);
    for need in graph.get(at).copied().unwrap_or_default() {
        if let Some(found) = walk(graph, &need.workload, path, done) {
            return Some(found);
        }
    }
    path.pop();
    None
}
