//! What compose has written on its containers: which service of which project each one is, and
//! which other services that one needs.
//!
//! Containers are looked at in any order, so what one needs may become known before the one that
//! is needed. Whenever something new is read the needs of the whole project are made anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use super::{Shared, Workload, lock, needs::Dependency};
use crate::{
    names::{ProviderName, WorkloadName},
    spec::Until,
    step::Input,
};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// Longer names than this are nobody's.
const NAME: usize = 256;
/// More needs than these of one service are not read.
const NEEDS: usize = 256;

/// What compose has written on everything that was looked at: one entry for each workload, by its
/// provider and project.
#[derive(Default)]
pub(super) struct Projects {
    members: BTreeMap<WorkloadName, ProjectName>,
    projects: BTreeMap<ProjectName, Project>,
}

type ProjectName = (ProviderName, String);

/// The workloads of one project.
#[derive(Default)]
struct Project(BTreeMap<WorkloadName, Service>);

struct Service {
    workload: Weak<Workload>,
    name: String,
    needs: Vec<(String, Until)>,
}

type Graph = BTreeMap<WorkloadName, Vec<Dependency>>;

// === impl Shared ===

impl Shared {
    /// Takes from a container's labels which service it is and what that needs. Those whose needs
    /// are others than before hold them awake from now on.
    pub(super) fn read_compose(&self, workload: &Workload, labels: &BTreeMap<String, String>) {
        let name = |key| labels.get(key).filter(|name| name.len() <= NAME);
        let service = name(SERVICE).map(|name| Service {
            workload: workload.weak(),
            name: name.clone(),
            needs: labels.get(DEPENDS_ON).map(|text| needs(text)).unwrap_or_default(),
        });
        let project = name(PROJECT).map(|name| (workload.spec().provider.clone(), name.clone()));
        // One at a time: two that read at once could close a circle.
        let changed = lock(&self.projects).learn(workload, project.zip(service));
        for workload in changed {
            workload.apply(Input::NeedsChanged);
        }
    }
}

// === impl Projects ===

impl Projects {
    /// So many names are kept.
    #[cfg(all(test, not(drowse_loom)))]
    pub(super) fn len(&self) -> usize {
        self.projects.len().max(self.members.len())
    }

    /// Takes what a workload is, or that it is none of any project; returns those that need others
    /// than before.
    fn learn(
        &mut self,
        workload: &Workload,
        news: Option<(ProjectName, Service)>,
    ) -> Vec<Arc<Workload>> {
        let name = workload.name();
        let mut changed = Vec::new();
        let before = self.members.get(name);
        let moved = before.is_some_and(|before| news.as_ref().is_none_or(|(now, _)| now != before));
        if moved && let Some(before) = self.members.remove(name) {
            changed.extend(workload.need_by_compose(Vec::new()));
            if let Some(project) = self.projects.get_mut(&before) {
                project.0.remove(name);
                changed.extend(project.connect());
                if project.0.is_empty() {
                    self.projects.remove(&before);
                }
            }
        }
        let Some((now, service)) = news else { return changed };
        let project = self.projects.entry(now.clone()).or_default();
        let known = project.0.get(name);
        if known.is_some_and(|known| known.name == service.name && known.needs == service.needs) {
            return changed;
        }
        self.members.insert(name.clone(), now);
        project.0.insert(name.clone(), service);
        changed.extend(project.connect());
        changed
    }
}

// === impl Project ===

impl Project {
    /// Gives every workload of the project its needs, and returns those whose needs are others than
    /// before. One that would close a circle is left out.
    fn connect(&self) -> Vec<Arc<Workload>> {
        let mut graph: Graph = self.0.keys().map(|name| (name.clone(), Vec::new())).collect();
        for (name, service) in &self.0 {
            for (wanted, until) in &service.needs {
                for link in self.links(name, wanted, *until) {
                    if reaches(&link.workload, name, &graph) {
                        tracing::warn!(
                            workload = %name, needs = %link.workload.name(),
                            "compose says that they need each other; this need is left out"
                        );
                        continue;
                    }
                    graph.entry(name.clone()).or_default().push(link);
                }
            }
        }
        let links = graph
            .into_iter()
            .filter_map(|(name, links)| Some((self.0.get(&name)?.workload.upgrade()?, links)));
        links.filter_map(|(workload, links)| workload.need_by_compose(links)).collect()
    }

    /// Every workload that is this service: there may be several of one.
    fn links(&self, dependent: &WorkloadName, service: &str, until: Until) -> Vec<Dependency> {
        let needed = self.0.values().filter(|one| one.name == service);
        let needed = needed.filter_map(|one| one.workload.upgrade());
        needed.filter_map(|workload| link(dependent, workload, until)).collect()
    }
}

// === impl Workload ===

impl Workload {
    /// Compose says that it needs these; whether that is news.
    fn need_by_compose(&self, links: Vec<Dependency>) -> Option<Arc<Self>> {
        let mut known = lock(&self.compose);
        if *known == links {
            return None;
        }
        *known = links;
        self.weak().upgrade()
    }
}

fn link(dependent: &WorkloadName, workload: Arc<Workload>, until: Until) -> Option<Dependency> {
    let until = match (until, workload.is_job()) {
        // It is never anything but that.
        (_, true) => Until::Completed,
        (Until::Completed, false) => {
            tracing::warn!(
                workload = %dependent, needs = %workload.name(),
                "compose says that it must have completed, but it is no job: this need is left \
                 out until its `ready` is \"completed\""
            );
            return None;
        }
        (until, false) => until,
    };
    Some(Dependency { workload, until })
}

/// `db:service_healthy:false,migrate:service_completed_successfully:false`
fn needs(text: &str) -> Vec<(String, Until)> {
    let parts = text.split(',').filter(|part| !part.is_empty() && part.len() <= NAME);
    parts
        .take(NEEDS)
        .map(|part| {
            let mut fields = part.split(':');
            let service = fields.next().unwrap_or_default().to_owned();
            let until = match fields.next() {
                Some("service_started") => Until::Started,
                Some("service_completed_successfully") => Until::Completed,
                _ => Until::Healthy,
            };
            (service, until)
        })
        .collect()
}

/// Whether `from` is `to` or needs it, directly or not.
fn reaches(from: &Arc<Workload>, to: &WorkloadName, graph: &Graph) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(workload) = open.pop() {
        if workload.name() == to {
            return true;
        }
        if !seen.insert(workload.name().clone()) {
            continue;
        }
        let mut next: Vec<_> = match graph.get(workload.name()) {
            Some(links) => links.iter().chain(workload.configured()).cloned().collect(),
            None => workload.links(),
        };
        open.extend(next.drain(..).map(|link| link.workload));
    }
    false
}
