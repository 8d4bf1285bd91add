//! What compose has written on its containers: which service of which project each one is, and
//! which other services that one needs.
//!
//! Containers are looked at in any order, so what one needs may become known before the one that
//! is needed. Whenever something new is read the needs of the whole project are made anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use super::{Shared, Workload, lock, needs::Link};
use crate::{spec::Until, words::WorkloadName};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// The workloads of one project.
#[derive(Default)]
pub(super) struct Project(BTreeMap<WorkloadName, Service>);

struct Service {
    workload: Weak<Workload>,
    name: String,
    needs: Vec<(String, Until)>,
}

type Graph = BTreeMap<WorkloadName, Vec<Link>>;

// === impl Shared ===

impl Shared {
    /// Takes from a container's labels which service it is and what that needs.
    pub(super) fn read_compose(&self, workload: &Workload, labels: &BTreeMap<String, String>) {
        let (Some(project), Some(service)) = (labels.get(PROJECT), labels.get(SERVICE)) else {
            return;
        };
        let needs = labels.get(DEPENDS_ON).map(|text| needs(text)).unwrap_or_default();
        // One at a time: two that read at once could close a circle.
        let mut projects = lock(&self.projects);
        let key = (workload.spec().provider.clone(), project.clone());
        let project = projects.entry(key).or_default();
        if project.learn(workload, service, needs) {
            project.connect();
        }
    }
}

// === impl Project ===

impl Project {
    /// Whether that is news.
    fn learn(&mut self, workload: &Workload, name: &str, needs: Vec<(String, Until)>) -> bool {
        let known = self.0.get(workload.name());
        if known.is_some_and(|known| known.name == name && known.needs == needs) {
            return false;
        }
        let service = Service { workload: workload.weak(), name: name.to_owned(), needs };
        self.0.insert(workload.name().clone(), service);
        true
    }

    /// Gives every workload of the project its needs. One that would close a circle is left out.
    fn connect(&self) {
        let mut graph: Graph = self.0.keys().map(|name| (name.clone(), Vec::new())).collect();
        for (name, service) in &self.0 {
            for (wanted, until) in &service.needs {
                let Some(link) = self.link(name, wanted, *until) else { continue };
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
        for (name, links) in graph {
            if let Some(workload) = self.0.get(&name).and_then(|one| one.workload.upgrade()) {
                *lock(&workload.compose) = links;
            }
        }
    }

    fn link(&self, dependent: &WorkloadName, service: &str, until: Until) -> Option<Link> {
        let needed = self.0.values().find(|one| one.name == service)?;
        let workload = needed.workload.upgrade()?;
        let until = match (until, workload.is_job()) {
            // It is never anything but that.
            (_, true) => Until::Completed,
            (Until::Completed, false) => {
                tracing::warn!(
                    workload = %dependent, needs = %workload.name(),
                    "compose says that it must have completed, but it is no job: this need is \
                     left out until its `ready` is \"completed\""
                );
                return None;
            }
            (until, false) => until,
        };
        Some(Link { workload, until })
    }
}

/// `db:service_healthy:false,migrate:service_completed_successfully:false`
fn needs(text: &str) -> Vec<(String, Until)> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
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
