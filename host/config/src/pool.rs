//! `[pool.NAME]`, and what workloads need of each other.

use std::collections::BTreeSet;

use drowse_core::{Membership, Need, PoolName, PoolSpec, ReadyCheck, Until, WorkloadName, circle};

use crate::{
    config::ConfigDraft,
    read::{Reader, Section},
    source::Span,
    values::{COUNT, DURATION, FLAG, POOL_NAME, PRIORITY, SIZE},
    workload::{Draft, unknown},
};

/// Reads every pool.
pub(crate) fn read(r: &mut Reader, top: &Section<'_>, found: &mut ConfigDraft) {
    for (name, section) in top.named(r, "pool") {
        let name =
            PoolName::parse(name).map_err(|error| r.report(section.span, error.to_string())).ok();
        let awake = section.find(r, "max-awake", &COUNT);
        let memory = section.find(r, "max-memory", &SIZE);
        let queue = section.get(r, "max-queued", &COUNT);
        let patience = section.get(r, "queue-timeout", &DURATION);
        if !section.has("max-awake") && !section.has("max-memory") {
            let message = "a pool needs a ceiling: `max-awake`, `max-memory` or both";
            r.report(section.span, message);
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

/// A workload's place in a pool. `None` when there is an error.
pub(crate) fn membership(r: &mut Reader, section: &Section<'_>) -> Option<Option<Membership>> {
    let pool = section.find(r, "pool", &POOL_NAME);
    let priority = section.find(r, "priority", &PRIORITY);
    let pinned = section.find(r, "pinned", &FLAG);
    let memory = section.find(r, "memory", &SIZE);
    let Some(pool) = pool? else {
        for key in ["priority", "pinned", "memory"] {
            if section.has(key) {
                let message = format!("`{key}` has no meaning without a `pool`");
                r.report(section.span_of(key), message);
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
/// circle, that jobs are only what they can be, and that nothing is larger than its pool.
pub(crate) fn settle(r: &mut Reader, found: &ConfigDraft) {
    for (name, (draft, _)) in &found.workloads {
        let Some(draft) = draft else { continue };
        if let Some(membership) = &draft.spec.pool
            && !found.pools.contains_key(&membership.pool)
        {
            let known = found.pools.keys().map(PoolName::as_str);
            let advice = unknown("pool", membership.pool.as_str(), known);
            let message = format!("there is no pool `{}`; {advice}", membership.pool);
            r.report(draft.spans.pool, message);
        }
        for (need, span) in draft.spec.needs.iter().zip(&draft.spans.needs) {
            if let Some(message) = unfit(found, need) {
                r.report(*span, message);
            }
        }
        if draft.spec.ready == ReadyCheck::Completed {
            for (_, span) in found.routes.iter().filter(|(route, _)| route.workload == *name) {
                let message = format!("`{name}` is a job, and no route can lead to a job");
                r.report(*span, message);
            }
            if !draft.spec.awake.is_empty() {
                let message = format!("`{name}` is a job, and `awake-during` cannot keep a job");
                r.report(draft.spans.awake, message);
            }
        }
        fits(r, found, draft);
    }
    let drafts = found
        .workloads
        .iter()
        .filter_map(|(name, (draft, _))| Some((name, draft.as_ref()?.spec.needs.as_slice())));
    if let Some(circle) = circle(drafts) {
        let names: Vec<_> = circle.iter().map(WorkloadName::as_str).collect();
        if let Some(span) = first_need(found, &circle) {
            let path = names.join(" → ");
            r.report(span, format!("workloads need each other in a circle: {path}"));
        }
    }
}

/// Why this need is none.
fn unfit(found: &ConfigDraft, need: &Need) -> Option<String> {
    let wanted = &need.workload;
    let Some((other, _)) = found.workloads.get(wanted) else {
        let known = found.workloads.keys().map(WorkloadName::as_str);
        let advice = unknown("workload", wanted.as_str(), known);
        return Some(format!("it needs `{wanted}`, which is no workload; {advice}"));
    };
    let job = other.as_ref()?.spec.ready == ReadyCheck::Completed;
    match (job, need.until) {
        (true, Until::Completed) | (false, Until::Started | Until::Healthy) => None,
        (true, _) => Some(format!(
            "`{wanted}` is a job; write {{ workload = \"{wanted}\", until = \"completed\" }}"
        )),
        (false, Until::Completed) => {
            Some(format!("`{wanted}` is no job; give it `ready = {{ completed = true }}`"))
        }
    }
}

/// Where the first of a circle needs the second.
fn first_need(found: &ConfigDraft, circle: &[WorkloadName]) -> Option<Span> {
    let [first, second, ..] = circle else { return None };
    let draft = found.workloads.get(first)?.0.as_ref()?;
    let mut needs = draft.spec.needs.iter().zip(&draft.spans.needs);
    needs.find(|(need, _)| need.workload == *second).map(|(_, span)| *span)
}

/// Complains of what can never be awake: together with what it needs it is larger than its pool.
fn fits(r: &mut Reader, found: &ConfigDraft, draft: &Draft) {
    let pool = draft.spec.pool.as_ref().map(|membership| &membership.pool);
    let Some(Some(pool)) = pool.and_then(|pool| found.pools.get(pool)) else { return };
    let (mut together, mut left) = (BTreeSet::new(), vec![&draft.spec]);
    let (mut places, mut bytes) = (0usize, 0u64);
    while let Some(spec) = left.pop() {
        if !together.insert(&spec.name) {
            continue;
        }
        if let Some(own) = spec.pool.as_ref().filter(|own| own.pool == pool.name) {
            places += 1;
            bytes = bytes.saturating_add(own.memory.unwrap_or(0));
        }
        let needed = spec.needs.iter().filter_map(|need| found.workloads.get(&need.workload));
        left.extend(needed.filter_map(|(other, _)| other.as_ref().map(|other| &other.spec)));
    }
    let with = if places > 1 { " with what it needs" } else { "" };
    if let Some(most) = pool.awake.filter(|most| places > *most) {
        let message = format!(
            "`{}`{with} takes {places} places of pool `{}`, which has {most}; raise its `max-awake`",
            draft.spec.name, pool.name
        );
        r.report(draft.spans.pool, message);
    }
    if let Some(most) = pool.memory.filter(|most| bytes > *most) {
        let message = format!(
            "`{}`{with} takes {} MiB of pool `{}`, which has {} MiB; raise its `max-memory`",
            draft.spec.name,
            bytes.div_ceil(1 << 20),
            pool.name,
            most >> 20
        );
        r.report(draft.spans.pool, message);
    }
}
