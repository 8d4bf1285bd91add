//! What a workload needs of others: the graph, holding them awake, and waiting for them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    pin::pin,
    sync::Arc,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{Snapshot, Workload, workload::Tasks};
use crate::{
    journal::{Cause, Correlation, Trigger},
    names::{Generation, Phase, WorkloadName},
    provider::{ErrorCode, Failure, Reason},
    spec::{Need, Until},
    step::{Input, Stage},
};

/// Keeps a workload awake for somebody. Dropping it is letting go.
pub(super) struct Hold(Arc<Workload>, Trigger);

/// A dependency and how far it must come.
#[derive(Clone)]
pub(super) struct Dependency {
    pub(super) workload: Arc<Workload>,
    pub(super) until: Until,
}

/// What a life needs is to be held awake from now on, and nothing else.
pub(super) struct Wanted {
    pub(super) generation: Generation,
    /// Jobs are run, and it is told when everything is there. What runs already does not wait.
    pub(super) waits: bool,
    pub(super) correlation: Option<Correlation>,
}

/// One that is waited for.
struct Awaited {
    link: Dependency,
    /// The run of a job that counts.
    run: Generation,
}

// === impl Dependency ===

impl PartialEq for Dependency {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.workload, &other.workload) && self.until == other.until
    }
}

impl Dependency {
    /// It is run before each start, and is not held awake.
    pub(super) fn is_job(&self) -> bool {
        self.until == Until::Completed
    }
}

// === impl Hold ===

impl Hold {
    pub(super) fn take(workload: Arc<Workload>, cause: Cause) -> Self {
        let trigger = cause.trigger;
        workload.apply(Input::Hold(Arc::new(cause)));
        Self(workload, trigger)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.apply(Input::Release(self.1));
    }
}

// === impl Workload ===

impl Workload {
    /// What it needs directly, and how far each must have come before it is started.
    pub fn needs(&self) -> Vec<(Arc<Workload>, Until)> {
        self.links().into_iter().map(|link| (link.workload, link.until)).collect()
    }

    /// What it needs by its configuration.
    pub(super) fn configured(&self) -> &[Dependency] {
        self.needs.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// What it needs by its configuration and by the labels that compose wrote.
    pub(super) fn links(&self) -> Vec<Dependency> {
        let mut links = self.configured().to_vec();
        for link in super::lock(&self.compose).iter() {
            if !links.iter().any(|known| known.workload.name() == link.workload.name()) {
                links.push(link.clone());
            }
        }
        links
    }

    /// Everything it needs, directly or not, each once.
    pub(super) fn all_needs(&self) -> Vec<Arc<Workload>> {
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

    /// What is awake as long as it is: what it needs, directly or not, but for jobs and what only
    /// those need.
    pub(super) fn kept_awake(&self) -> BTreeSet<WorkloadName> {
        let (mut kept, mut open) = (BTreeSet::new(), self.links());
        while let Some(link) = open.pop() {
            if !link.is_job() && kept.insert(link.workload.name().clone()) {
                open.extend(link.workload.links());
            }
        }
        kept
    }

    /// Holds awake what it needs, in place of what was held before.
    pub(super) fn hold_needs(self: &Arc<Self>, wanted: &Wanted) {
        let (generation, mut cause) = (wanted.generation, needed_by(self.name()));
        cause.correlation = wanted.correlation;
        let awaited = loop {
            let links = self.links();
            let (mut holds, mut awaited) = (Vec::new(), Vec::new());
            for link in &links {
                let run = match link.is_job() {
                    // Jobs are for starts.
                    true if !wanted.waits => continue,
                    true => link.workload.run_job(cause.clone()),
                    false => {
                        holds.push(Hold::take(link.workload.clone(), cause.clone()));
                        Generation::default()
                    }
                };
                awaited.push(Awaited { link: link.clone(), run });
            }
            let replace = |tasks: &mut Tasks| std::mem::replace(&mut tasks.holds, holds);
            if self.within_life(generation, replace).is_none() {
                return;
            }
            // Labels may have been read meanwhile.
            if links == self.links() {
                break awaited;
            }
        };
        if wanted.waits {
            self.await_needs(generation, awaited);
        }
    }

    fn await_needs(self: &Arc<Self>, generation: Generation, mut awaited: Vec<Awaited>) {
        awaited.retain(|one| !matches!(one.look(), Some(Ok(()))));
        if awaited.is_empty() {
            return self.apply(Input::NeedsMet(generation));
        }
        self.apply(Input::MissingNeeds(generation, names(&awaited)));
        let dependent = self.clone();
        let wait = async move {
            let met = dependent.wait_for_needs(generation, awaited).await;
            dependent.apply(match met {
                Ok(()) => Input::NeedsMet(generation),
                Err(failure) => Input::NeedsFailed(generation, failure),
            });
        };
        self.within_life(generation, |tasks| {
            super::effects::replace(&mut tasks.needs, self.spawn(wait));
        });
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
            let mut turned = pin!(workload.snapshot_changed.notified());
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
                let failure = Failure::new(ErrorCode::Conflict, message);
                Some(Err(failure.with_reason(Reason::NeedFailed)))
            }
            (Until::Completed, _) => None,
            (_, Phase::Failed | Phase::Missing) if snapshot.wake_wanted => None,
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
        .with_reason(Reason::NeedFailed)
    }
}

fn names(awaited: &[Awaited]) -> Arc<[WorkloadName]> {
    awaited.iter().map(|one| one.link.workload.name().clone()).collect()
}

/// The cause of a wake for a dependent.
pub(super) fn needed_by(dependent: &WorkloadName) -> Cause {
    Cause::new(Trigger::Dependency).with_reference(dependent.as_str())
}

/// A circle in what workloads need, as the names on it; the first one again at the end.
pub fn find_cycle<'a>(
    all: impl Iterator<Item = (&'a WorkloadName, &'a [Need])>,
) -> Option<Vec<WorkloadName>> {
    let graph: BTreeMap<_, _> = all.collect();
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
    graph: &BTreeMap<&'a WorkloadName, &'a [Need]>,
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
