//! What a workload needs of others: the graph, holding them awake, and waiting for them.

use std::{collections::HashSet, pin::pin, sync::Arc};

use super::{Snapshot, Workload};
use crate::{
    journal::{Cause, Source},
    provider::{ErrorCode, Failure},
    spec::{Need, Until},
    step::{Input, Stage},
    words::{Generation, Phase, WorkloadName},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};

/// Keeps a workload awake for somebody. Dropping it is letting go.
pub(super) struct Hold(Arc<Workload>);

/// A dependency and how far it must come.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) workload: Arc<Workload>,
    pub(super) until: Until,
}

/// One that is waited for.
struct Awaited {
    link: Link,
    /// The run of a job that counts.
    run: Generation,
}

// === impl Link ===

impl Link {
    /// It is run before each start, and is not held awake.
    pub(super) fn is_job(&self) -> bool {
        self.until == Until::Completed
    }
}

// === impl Hold ===

impl Hold {
    pub(super) fn take(workload: Arc<Workload>, cause: Cause) -> Self {
        workload.apply(Input::Hold(Arc::new(cause)));
        Self(workload)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.apply(Input::Release);
    }
}

// === impl Workload ===

impl Workload {
    /// What it needs directly, and how far each must have come before it is started.
    pub fn needs(&self) -> Vec<(Arc<Workload>, Until)> {
        self.links().into_iter().map(|link| (link.workload, link.until)).collect()
    }

    /// What it needs by its configuration.
    pub(super) fn configured(&self) -> &[Link] {
        self.needs.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// What it needs by its configuration and by the labels that compose wrote.
    pub(super) fn links(&self) -> Vec<Link> {
        let mut links = self.configured().to_vec();
        for link in super::lock(&self.compose).iter() {
            if !links.iter().any(|known| known.workload.name() == link.workload.name()) {
                links.push(link.clone());
            }
        }
        links
    }

    /// Everything it needs, directly or not, each once.
    pub(super) fn closure(&self) -> Vec<Arc<Workload>> {
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        let mut open = self.links();
        while let Some(link) = open.pop() {
            if seen.insert(link.workload.name().clone()) {
                open.extend(link.workload.links());
                found.push(link.workload);
            }
        }
        found
    }

    /// Holds awake what it needs. The answer is there at once when nothing must be waited for.
    pub(super) fn take_needs(
        self: &Arc<Self>,
        generation: Generation,
        cause: &Cause,
        tasks: &mut super::workload::Tasks,
    ) -> Option<Input> {
        let mut awaited = Vec::new();
        for link in self.links() {
            let cause = cause.clone();
            let run = match link.is_job() {
                true => link.workload.run_job(cause),
                false => {
                    tasks.holds.push(Hold::take(link.workload.clone(), cause));
                    Generation::default()
                }
            };
            awaited.push(Awaited { link, run });
        }
        awaited.retain(|one| !matches!(one.look(), Some(Ok(()))));
        if awaited.is_empty() {
            return Some(Input::NeedsMet(generation));
        }
        let left = names(&awaited);
        let dependent = self.clone();
        super::effects::replace(
            &mut tasks.needs,
            self.spawn(async move {
                let met = dependent.wait_for_needs(generation, awaited).await;
                dependent.apply(match met {
                    Ok(()) => Input::NeedsMet(generation),
                    Err(failure) => Input::NeedsFailed(generation, failure),
                });
            }),
        );
        Some(Input::MissingNeeds(generation, left))
    }

    /// Holds awake what it needs, now that it runs already. Jobs are for starts.
    pub(super) fn keep_needs(&self, tasks: &mut super::workload::Tasks) {
        for link in self.links().into_iter().filter(|link| !link.is_job()) {
            tasks.holds.push(Hold::take(link.workload, needed_by(self.name())));
        }
    }

    async fn wait_for_needs(
        self: &Arc<Self>,
        generation: Generation,
        awaited: Vec<Awaited>,
    ) -> Result<(), Failure> {
        let mut left: Vec<_> = names(&awaited).to_vec();
        let mut all: FuturesUnordered<_> = awaited.into_iter().map(Awaited::come).collect();
        while let Some(result) = all.next().await {
            let name = result?;
            left.retain(|other| *other != name);
            self.apply(Input::MissingNeeds(generation, left.clone().into()));
        }
        Ok(())
    }

    /// Runs a job, or joins the run that goes on; says which life that is.
    fn run_job(self: &Arc<Self>, cause: Cause) -> Generation {
        self.apply(Input::Wake(Arc::new(cause)));
        let state = self.state();
        match state.wake_wanted() {
            true => state.generation().next(),
            false => state.generation(),
        }
    }
}

// === impl Awaited ===

impl Awaited {
    async fn come(self) -> Result<WorkloadName, Failure> {
        let workload = &self.link.workload;
        loop {
            let mut turned = pin!(workload.turned.notified());
            // What happens from here on is not missed.
            turned.as_mut().enable();
            if let Some(result) = self.look() {
                return result.map(|()| workload.name().clone());
            }
            turned.await;
        }
    }

    /// Whether it has come far enough, or will not.
    fn look(&self) -> Option<Result<(), Failure>> {
        let snapshot = self.link.workload.snapshot();
        let runs = matches!(snapshot.stage, Some(Stage::Probing(_)));
        match (self.link.until, snapshot.phase) {
            (Until::Completed, _) if snapshot.completed >= Some(self.run) => Some(Ok(())),
            (Until::Completed, Phase::Failed | Phase::Missing)
                if snapshot.generation >= self.run =>
            {
                Some(Err(self.failed(&snapshot)))
            }
            (Until::Completed, Phase::Asleep) if snapshot.generation >= self.run => {
                let name = self.link.workload.name();
                let message = format!("it needs {name}, which was ended before it had completed");
                Some(Err(Failure::new(ErrorCode::Conflict, message)))
            }
            (Until::Completed, _) => None,
            (_, Phase::Ready) => Some(Ok(())),
            (Until::Started, Phase::Waking) if runs => Some(Ok(())),
            (_, Phase::Failed | Phase::Missing) => Some(Err(self.failed(&snapshot))),
            _ => None,
        }
    }

    fn failed(&self, snapshot: &Snapshot) -> Failure {
        let name = self.link.workload.name();
        match &snapshot.failure {
            Some(failure) => Failure::new(
                failure.code.clone(),
                format!("it needs {name}, which could not be woken: {}", failure.message),
            ),
            None => Failure::new(
                ErrorCode::NotFound,
                format!("it needs {name}, which its provider does not know"),
            ),
        }
    }
}

fn names(awaited: &[Awaited]) -> Arc<[WorkloadName]> {
    awaited.iter().map(|one| one.link.workload.name().clone()).collect()
}

/// The cause of a wake for a dependent.
pub(super) fn needed_by(dependent: &WorkloadName) -> Cause {
    Cause::new(Source::Dependency).because_of(dependent.as_str())
}

/// A circle in what workloads need, as the names on it; the first one again at the end.
pub fn circle<'a>(
    all: impl Iterator<Item = (&'a WorkloadName, &'a [Need])>,
) -> Option<Vec<WorkloadName>> {
    let graph: std::collections::BTreeMap<_, _> = all.collect();
    let mut done = HashSet::new();
    for start in graph.keys() {
        let mut path = Vec::new();
        if let Some(found) = walk(&graph, start, &mut path, &mut done) {
            return Some(found);
        }
    }
    None
}

fn walk<'a>(
    graph: &std::collections::BTreeMap<&'a WorkloadName, &'a [Need]>,
    at: &'a WorkloadName,
    path: &mut Vec<&'a WorkloadName>,
    done: &mut HashSet<&'a WorkloadName>,
) -> Option<Vec<WorkloadName>> {
    if let Some(begin) = path.iter().position(|name| *name == at) {
        let round = path[begin..].iter().copied().chain([at]);
        return Some(round.cloned().collect());
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
