//! What must hold at every minute, and what at the end of a calm hour.

use drowse_core::{
    Adopt, Engine, Phase, ReadyCheck, Status, WorkloadName, WorkloadSpec, WorkloadStatus,
};

use crate::sky::{Sky, workload_phase};

/// No pool is over its ceiling by what we have started.
pub(crate) fn every_minute(sky: &Sky) {
    for pool in &sky.plan.pools {
        let shares = |spec: &&WorkloadSpec| {
            spec.pool.as_ref().is_some_and(|membership| membership.pool == pool.name)
        };
        let awake = sky.plan.specs.iter().filter(shares).filter(|spec| {
            sky.guest(spec.name.as_str(), |guest| {
                guest.starting || guest.ours && guest.placed && guest.status == Status::Running
            })
        });
        let names: Vec<_> = awake.map(|spec| spec.name.as_str()).collect();
        if names.len() > pool.awake.unwrap_or(usize::MAX) {
            let (count, pool) = (names.len(), &pool.name);
            let phase = |name: &str| workload_phase(sky, name);
            let rests = |name: &&&str| phase(name) != Some(Phase::Ready);
            let suspect = names.iter().find(rests).unwrap_or(&names[0]);
            let awake: Vec<_> = names.iter().map(|name| (name, phase(name))).collect();
            sky.violation(suspect, &format!("{count} are awake in pool {pool:?}: {awake:?}"));
        }
    }
    sky.check();
}

/// Everybody agrees, nobody waits, and whoever is idle sleeps.
pub(crate) fn after_a_calm_hour(sky: &Sky, engine: &Engine) {
    let all = engine.status();
    for status in &all {
        let name = status.name.as_str();
        let workload = engine.workload(name).expect("it is in the list");
        let tried = sky.plan.dependents.get(name).into_iter().flatten().any(|dependent| {
            let dependent = |other: &&WorkloadStatus| other.name.as_str() == dependent.as_str();
            all.iter()
                .find(dependent)
                .is_some_and(|other| other.held > 0 && other.phase != Phase::Ready)
        });
        if let Some(what) = wrong(sky, status, workload.spec(), tried) {
            sky.violation(name, &what);
        }
        let dependents = sky.plan.dependents.get(name).into_iter().flatten();
        let holding = dependents
            .filter(|dependent| {
                all.iter().any(|other| {
                    other.name.as_str() == dependent.as_str() && other.phase == Phase::Ready
                })
            })
            .count();
        if usize::try_from(status.held).expect("small") != holding && !tried {
            sky.violation(name, &format!("held {} times by {holding} dependents", status.held));
        }
    }
    for pool in engine.pools() {
        let unwanted = |name: &&WorkloadName| {
            !all.iter().any(|status| status.name == **name && status.held > 0)
        };
        if let Some(first) = pool.queue.iter().find(unwanted) {
            sky.violation(first.as_str(), "it waits for a place though nobody wants it");
        }
    }
    sky.check();
}

/// `tried`: somebody who needs it is needed itself and cannot be woken, so that it is woken again
/// and again.
fn wrong(sky: &Sky, status: &WorkloadStatus, spec: &WorkloadSpec, tried: bool) -> Option<String> {
    let guest = sky.guest(status.name.as_str(), |guest| guest.clone());
    let runs = guest.status == Status::Running;
    if status.waiting > 0 || status.visits > 0 {
        return Some(format!("{} wait and {} are inside", status.waiting, status.visits));
    }
    match status.phase {
        Phase::Ready if !runs => Some("it is ready, and does not run".to_owned()),
        Phase::Ready => {
            let never = spec.idle.is_none();
            let fresh = spec.adopt == Adopt::Keep && !guest.ours;
            let kept = status.held > 0 || never || fresh || tried;
            (!kept).then(|| "nobody has come for long, and it is awake".to_owned())
        }
        Phase::Asleep | Phase::Failed if runs => {
            let left_alone = spec.adopt == Adopt::Ignore && !guest.ours;
            let job = spec.ready == ReadyCheck::Completed;
            (!left_alone && !job).then(|| format!("it is {} and runs", status.phase))
        }
        Phase::Asleep => None,
        Phase::Failed => {
            let failure = status.failure.as_ref();
            let stuck = failure.is_none_or(|failure| failure.message.contains("is tried again"));
            stuck.then(|| format!("it could not be put to sleep: {failure:?}"))
        }
        Phase::Missing => {
            (guest.status != Status::Missing).then(|| "it is missing, and exists".to_owned())
        }
        // It falls from the light sleep into the deep one at this moment.
        Phase::Stopping if guest.slept && status.phase_seconds < 60.0 => None,
        // Its dependents need it, and the pool is full of those that never sleep. It may run if it
        // was to be left alone.
        Phase::Waking if status.held > 0 && (!runs || !guest.ours) => None,
        phase => Some(format!("it is still {phase}")),
    }
}
