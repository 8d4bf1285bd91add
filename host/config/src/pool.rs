//! `[pool.NAME]`, and what workloads need of each other.

use drowse_core::{Membership, PoolName, PoolSpec, ReadyCheck, Until, WorkloadName, circle};

use crate::{
    config::Found,
    forms::{COUNT, DURATION, FLAG, POOL_NAME, PRIORITY, SIZE},
    read::{Reader, Section},
    workload::unknown,
};

/// Reads every pool.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut Found) {
    for (name, section) in top.named(r, "pool") {
        let name = PoolName::parse(name)
            .map_err(|error| r.complain(section.place, error.to_string()))
            .ok();
        let awake = section.find(r, "awake", &COUNT);
        let memory = section.find(r, "memory", &SIZE);
        let queue = section.get(r, "queue", &COUNT);
        let patience = section.get(r, "patience", &DURATION);
        if !section.has("awake") && !section.has("memory") {
            let message = "a pool needs a ceiling: `awake`, `memory` or both";
            r.complain(section.place, message);
        }
        let Some(name) = name else { continue };
        let spec = (|| {
            Some(PoolSpec {
                name: name.clone(),
                awake: awake?,
                memory: memory?,
                queue: queue?,
                patience: patience?,
            })
        })();
        found.pools.insert(name, spec);
    }
}

/// A workload's place in a pool. `None` when there is a mistake.
pub(crate) fn membership(r: &mut Reader, section: &Section<'_>) -> Option<Option<Membership>> {
    let pool = section.find(r, "pool", &POOL_NAME);
    let priority = section.find(r, "priority", &PRIORITY);
    let pinned = section.find(r, "pinned", &FLAG);
    let memory = section.find(r, "memory", &SIZE);
    let Some(pool) = pool? else {
        for key in ["priority", "pinned", "memory"] {
            if section.has(key) {
                let message = format!("`{key}` has no meaning without a `pool`");
                r.complain(section.place_of(key), message);
            }
        }
        return Some(None);
    };
    Some(Some(Membership {
        pool,
        priority: priority?.unwrap_or(0),
        pinned: pinned?.unwrap_or(false),
        memory: memory?,
    }))
}

/// Checks that pools and needed workloads exist, that needs fit what they name and do not go in a
/// circle, and that jobs are only what they can be.
pub(crate) fn settle(r: &mut Reader, found: &Found) {
    for (name, (draft, place)) in &found.workloads {
        let Some(draft) = draft else { continue };
        if let Some(membership) = &draft.spec.pool
            && !found.pools.contains_key(&membership.pool)
        {
            let known = found.pools.keys().map(PoolName::as_str);
            let advice = unknown("pool", membership.pool.as_str(), known);
            let message = format!("there is no pool `{}`; {advice}", membership.pool);
            r.complain(draft.places.pool, message);
        }
        for need in &draft.spec.needs {
            let wanted = &need.workload;
            let Some((other, _)) = found.workloads.get(wanted) else {
                let known = found.workloads.keys().map(WorkloadName::as_str);
                let advice = unknown("workload", wanted.as_str(), known);
                let message = format!("it needs `{wanted}`, which is no workload; {advice}");
                r.complain(draft.places.needs, message);
                continue;
            };
            let Some(other) = other else { continue };
            let job = other.spec.ready == ReadyCheck::Completed;
            let message = match (job, need.until) {
                (true, Until::Completed) | (false, Until::Started | Until::Healthy) => continue,
                (true, _) => format!(
                    "`{wanted}` is a job; write {{ workload = \"{wanted}\", until = \"completed\" }}"
                ),
                (false, Until::Completed) => {
                    format!("`{wanted}` is no job; give it `ready = {{ completed = true }}`")
                }
            };
            r.complain(draft.places.needs, message);
        }
        if draft.spec.ready == ReadyCheck::Completed {
            if found.routes.iter().any(|(route, _)| route.workload == *name) {
                let message = format!("`{name}` is a job, and no route can lead to a job");
                r.complain(*place, message);
            }
            if !draft.spec.awake.is_empty() {
                r.complain(*place, format!("`{name}` is a job, and `awake` cannot keep a job"));
            }
        }
    }
    let drafts = found
        .workloads
        .iter()
        .filter_map(|(name, (draft, _))| Some((name, draft.as_ref()?.spec.needs.as_slice())));
    if let Some(circle) = circle(drafts) {
        let place = circle.first().and_then(|first| found.workloads.get(first));
        let place = place.and_then(|(draft, _)| Some(draft.as_ref()?.places.needs));
        let names: Vec<_> = circle.iter().map(WorkloadName::as_str).collect();
        if let Some(place) = place {
            let path = names.join(" → ");
            r.complain(place, format!("workloads need each other in a circle: {path}"));
        }
    }
}
