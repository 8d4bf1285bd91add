//! Dependencies discovered on the platform: providers report which service of which group a target
//! is, and which other services that one needs.
//!
//! Targets are observed in any order, so a need may be known before the needed target. Each news
//! about a member resolves the needs of its whole group again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use super::{Shared, Workload, dependencies::Dependency, lock};
use crate::{
    names::{ProviderName, WorkloadName},
    need::{Service, Until},
    step::Input,
};

/// The groups that observed targets belong to: one entry per workload, by provider and group.
#[derive(Default)]
pub(super) struct Groups {
    groups: BTreeMap<GroupKey, Group>,
    by_member: BTreeMap<WorkloadName, GroupKey>,
}

type GroupKey = (ProviderName, String);

/// The members of one group.
#[derive(Default)]
struct Group(BTreeMap<WorkloadName, Member>);

struct Member {
    workload: Weak<Workload>,
    service: Service,
}

type Graph = BTreeMap<WorkloadName, Vec<Dependency>>;

// === impl Shared ===

impl Shared {
    /// Takes the service that a workload's target was observed to be; none when it is no service.
    /// Workloads whose dependencies differ from before hold the new ones from now on.
    pub(super) fn discover(&self, workload: &Workload, service: Option<Service>) {
        // Resolved under one lock: two at a time could close a cycle.
        let changed = lock(&self.groups).observe(workload, service);
        for workload in changed {
            workload.apply(Input::NeedsChanged);
        }
    }
}

// === impl Groups ===

impl Groups {
    /// Number of groups or members kept, whichever is larger.
    #[cfg(all(test, not(drowse_loom)))]
    pub(super) fn len(&self) -> usize {
        self.groups.len().max(self.by_member.len())
    }

    /// Returns the workloads whose dependencies changed.
    fn observe(&mut self, workload: &Workload, service: Option<Service>) -> Vec<Arc<Workload>> {
        let name = workload.name();
        let key = |service: &Service| (workload.spec().provider.clone(), service.group.clone());
        let now = service.as_ref().map(key);
        let mut changed = Vec::new();
        let before = self.by_member.get(name);
        if before.is_some()
            && before != now.as_ref()
            && let Some(before) = self.by_member.remove(name)
        {
            changed.extend(workload.discover_needs(Vec::new()));
            if let Some(group) = self.groups.get_mut(&before) {
                group.0.remove(name);
                changed.extend(group.resolve());
                if group.0.is_empty() {
                    self.groups.remove(&before);
                }
            }
        }
        let Some((now, service)) = now.zip(service) else { return changed };
        let group = self.groups.entry(now.clone()).or_default();
        if group.0.get(name).is_some_and(|known| known.service == service) {
            return changed;
        }
        self.by_member.insert(name.clone(), now);
        group.0.insert(name.clone(), Member { workload: workload.weak(), service });
        changed.extend(group.resolve());
        changed
    }
}

// === impl Group ===

impl Group {
    /// Resolves the needs of every member, and returns the workloads whose dependencies changed.
    /// A need that would close a cycle is ignored.
    fn resolve(&self) -> Vec<Arc<Workload>> {
        let mut graph: Graph = self.0.keys().map(|name| (name.clone(), Vec::new())).collect();
        for (name, member) in &self.0 {
            for (needed, until) in &member.service.needs {
                for dependency in self.dependencies_on(needed, *until, name) {
                    if reaches(&dependency.workload, name, &graph) {
                        tracing::warn!(
                            workload = %name, needs = %dependency.workload.name(),
                            "the services of these workloads need each other, ignoring this need"
                        );
                        continue;
                    }
                    graph.entry(name.clone()).or_default().push(dependency);
                }
            }
        }
        let members = graph
            .into_iter()
            .filter_map(|(name, needs)| Some((self.0.get(&name)?.workload.upgrade()?, needs)));
        members.filter_map(|(workload, needs)| workload.discover_needs(needs)).collect()
    }

    /// One dependency per workload of the service.
    fn dependencies_on(
        &self,
        service: &str,
        until: Until,
        dependent: &WorkloadName,
    ) -> Vec<Dependency> {
        let needed = self.0.values().filter(|member| member.service.name == service);
        let needed = needed.filter_map(|member| member.workload.upgrade());
        needed.filter_map(|workload| dependency(dependent, workload, until)).collect()
    }
}

// === impl Workload ===

impl Workload {
    /// Replaces the discovered dependencies; returns the workload when they changed.
    fn discover_needs(&self, needs: Vec<Dependency>) -> Option<Arc<Self>> {
        self.dependencies.discover(needs).then(|| self.weak().upgrade()).flatten()
    }
}

fn dependency(
    dependent: &WorkloadName,
    workload: Arc<Workload>,
    until: Until,
) -> Option<Dependency> {
    let until = match (until, workload.is_job()) {
        // A job becomes ready only by completing.
        (_, true) => Until::Completed,
        (Until::Completed, false) => {
            tracing::warn!(
                workload = %dependent, needs = %workload.name(),
                "the needed service must complete, but its workload is no job: ignoring this need \
                 until its `ready` is \"completed\""
            );
            return None;
        }
        (until, false) => until,
    };
    Some(Dependency { workload, until })
}

/// Returns whether `from` is `to` or needs it, directly or not.
fn reaches(from: &Arc<Workload>, to: &WorkloadName, graph: &Graph) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(workload) = open.pop() {
        if workload.name() == to {
            return true;
        }
        if !seen.insert(workload.name().clone()) {
            continue;
        }
        let next: Vec<_> = match graph.get(workload.name()) {
            Some(needs) => {
                needs.iter().chain(workload.dependencies.configured()).cloned().collect()
            }
            None => workload.dependencies.all(),
        };
        open.extend(next.into_iter().map(|need| need.workload));
    }
    false
}
