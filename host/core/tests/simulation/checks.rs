//! Invariants checked every minute, and after the calm hour of each day.

use drowse_core::{
    Adopt, Engine, Phase, ReadyCheck, Status, WorkloadName, WorkloadSpec, WorkloadStatus,
};

use crate::world::{World, workload_phase};

/// Checks that no pool exceeds its ceiling with targets that the router has started.
pub(crate) fn every_minute(world: &World) {
    for pool in &world.plan.pools {
        let shares = |spec: &&WorkloadSpec| {
            spec.pool.as_ref().is_some_and(|membership| membership.pool == pool.name)
        };
        let awake = world.plan.specs.iter().filter(shares).filter(|spec| {
            world.target(spec.name.as_str(), |target| {
                target.starting
                    || target.owned && target.has_slot && target.status == Status::Running
            })
        });
        let names: Vec<_> = awake.map(|spec| spec.name.as_str()).collect();
        if names.len() > pool.max_awake.unwrap_or(usize::MAX) {
            let (count, pool) = (names.len(), &pool.name);
            let phase = |name: &str| workload_phase(world, name);
            let rests = |name: &&&str| phase(name) != Some(Phase::Ready);
            let suspect = names.iter().find(rests).unwrap_or(&names[0]);
            let awake: Vec<_> = names.iter().map(|name| (name, phase(name))).collect();
            world.violation(suspect, &format!("{count} are awake in pool {pool:?}: {awake:?}"));
        }
    }
    world.check();
}

/// Checks that engine and platforms agree, no visitor waits, and idle workloads sleep.
pub(crate) fn after_a_calm_hour(world: &World, engine: &Engine) {
    let all = engine.status();
    for status in &all {
        let name = status.name.as_str();
        let workload = engine.workload(name).expect("it is in the list");
        let tried = world.plan.dependents.get(name).into_iter().flatten().any(|dependent| {
            let dependent = |other: &&WorkloadStatus| other.name.as_str() == dependent.as_str();
            all.iter()
                .find(dependent)
                .is_some_and(|other| other.held > 0 && other.phase != Phase::Ready)
        });
        if let Some(what) = inconsistency(world, status, workload.spec(), tried) {
            world.violation(name, &what);
        }
        let dependents = world.plan.dependents.get(name).into_iter().flatten();
        let holding = dependents
            .filter(|dependent| {
                all.iter().any(|other| {
                    other.name.as_str() == dependent.as_str() && other.phase == Phase::Ready
                })
            })
            .count();
        if usize::try_from(status.held).expect("small") != holding && !tried {
            world.violation(name, &format!("held {} times by {holding} dependents", status.held));
        }
    }
    for pool in engine.pools() {
        let unwanted = |name: &&WorkloadName| {
            !all.iter().any(|status| status.name == **name && status.held > 0)
        };
        if let Some(first) = pool.queue.iter().find(unwanted) {
            world.violation(first.as_str(), "it waits for a slot that is not wanted");
        }
    }
    world.check();
}

/// Describes a workload that has not converged. `tried`: a dependent is needed itself and cannot be
/// woken, so the workload is woken again and again.
fn inconsistency(
    world: &World,
    status: &WorkloadStatus,
    spec: &WorkloadSpec,
    tried: bool,
) -> Option<String> {
    let target = world.target(status.name.as_str(), |target| target.clone());
    let runs = target.status == Status::Running;
    if status.waiting > 0 || status.visits > 0 {
        return Some(format!("{} wait and {} are inside", status.waiting, status.visits));
    }
    match status.phase {
        Phase::Ready if !runs => Some("it is ready, and does not run".to_owned()),
        Phase::Ready => {
            let never = spec.idle.is_none();
            let fresh = spec.adopt == Adopt::Keep && !target.owned;
            let kept = status.held > 0 || never || fresh || tried;
            (!kept).then(|| "it is awake without a visit for a long time".to_owned())
        }
        Phase::Asleep | Phase::Failed if runs => {
            let left_alone = spec.adopt == Adopt::Ignore && !target.owned;
            let job = spec.ready == ReadyCheck::Completed;
            (!left_alone && !job).then(|| format!("it is {} and runs", status.phase))
        }
        Phase::Asleep => None,
        Phase::Failed => {
            let failure = status.failure.as_ref();
            let stuck = failure.is_none_or(|failure| failure.message.contains("is retried"));
            stuck.then(|| format!("it could not be put to sleep: {failure:?}"))
        }
        Phase::Missing => {
            (target.status != Status::Missing).then(|| "it is missing, and exists".to_owned())
        }
        // The light sleep becomes a deep one at this moment.
        Phase::Stopping if target.slept && status.phase_seconds < 60.0 => None,
        // Its dependents need it, and the pool is full of workloads that never sleep. It may run under
        // the ignore policy.
        Phase::Waking if status.held > 0 && (!runs || !target.owned) => None,
        phase => Some(format!("it is still {phase}")),
    }
}
