//! `[pool.NAME]`, and what workloads need of each other.

use std::collections::BTreeSet;

use drowse_core::{
    Membership, Need, PoolName, PoolSpec, ReadyCheck, Until, WorkloadName, find_cycle,
};

use crate::{
    config::ConfigDraft,
    read::{Field, Reader},
    root::Root,
    schema::table,
    source::Span,
    values::{Count, DurationText, Size},
    workload::{Draft, unknown},
};

table! {
    /// A capacity limit that workloads share, for more workloads than fit at a time. A wake that would
    /// exceed it first puts unused workloads to sleep: the lowest priority first, then the longest idle.
    /// If all are in use, the wake is queued and visitors see its position. A workload enters its pool
    /// together with what it needs of the same pool.
    pub(crate) struct PoolTable("[pool.NAME]") {
        /// Maximum number of awake workloads.
        max_awake: Count, otherwise "no limit";
        /// Maximum memory of awake workloads: as reported by the provider once they run, before that
        /// their own `memory`.
        max_memory: Size, otherwise "no limit";
        /// Maximum number of queued wakes; one more fails.
        max_queued: Count = "64";
        /// A queued wake fails after this time.
        queue_timeout: DurationText = "\"2m\"";
    }
}

/// Reads all pools.
pub(crate) fn read(r: &mut Reader, root: &mut Root, draft: &mut ConfigDraft) {
    for (name, table) in root.pool.value.take().flatten().unwrap_or_default() {
        let span = table.heading.span;
        let name = PoolName::parse(&name).map_err(|error| r.report(span, error.to_string())).ok();
        if !table.max_awake.mark.written && !table.max_memory.mark.written {
            r.report(span, "a pool needs a limit: `max-awake`, `max-memory` or both");
        }
        let Some(name) = name else { continue };
        draft.pools.insert(name.clone(), table.spec(name));
    }
}

// === impl PoolTable ===

impl PoolTable {
    fn spec(self, name: PoolName) -> Option<PoolSpec> {
        Some(PoolSpec {
            name,
            max_awake: self.max_awake.value?,
            max_memory: self.max_memory.value?,
            max_queued: self.max_queued.value?,
            queue_timeout: self.queue_timeout.value?,
        })
    }
}

/// The keys of a workload about its pool.
pub(crate) struct MembershipKeys {
    pub(crate) pool: Field<Option<PoolName>>,
    pub(crate) priority: Field<Option<i32>>,
    pub(crate) pinned: Field<Option<bool>>,
    pub(crate) memory: Field<Option<u64>>,
}

// === impl MembershipKeys ===

impl MembershipKeys {
    /// The workload's membership in a pool. The outer `None` is an error.
    pub(crate) fn settings(self, r: &mut Reader) -> Option<Option<Membership>> {
        let Some(pool) = self.pool.value? else {
            for mark in [self.priority.mark, self.pinned.mark, self.memory.mark] {
                if mark.written {
                    let message = format!("`{}` has no meaning without a `pool`", mark.key);
                    r.report(mark.span, message);
                }
            }
            return Some(None);
        };
        Some(Some(Membership {
            pool,
            priority: self.priority.value?.unwrap_or(0),
            pinned: self.pinned.value?.unwrap_or(false),
            memory: self.memory.value?,
        }))
    }
}

/// Checks that pools and needed workloads exist, that needs match the kind of workload and have no cycle,
/// that jobs have no route and no schedule, and that each workload fits into its pool.
pub(crate) fn settle(r: &mut Reader, config: &ConfigDraft) {
    for (name, (draft, _)) in &config.workloads {
        let Some(draft) = draft else { continue };
        if let Some(membership) = &draft.spec.pool
            && !config.pools.contains_key(&membership.pool)
        {
            let known = config.pools.keys().map(PoolName::as_str);
            let advice = unknown("pool", membership.pool.as_str(), known);
            let message = format!("there is no pool `{}`; {advice}", membership.pool);
            r.report(draft.spans.pool, message);
        }
        for (need, span) in draft.spec.needs.iter().zip(&draft.spans.needs) {
            if let Some(message) = unfit(config, need) {
                r.report(*span, message);
            }
        }
        if draft.spec.ready == ReadyCheck::Completed {
            for (_, span) in config.routes.iter().filter(|(route, _)| route.workload == *name) {
                let message = format!("`{name}` is a job, and no route can lead to a job");
                r.report(*span, message);
            }
            if !draft.spec.awake.is_empty() {
                let message = format!("`{name}` is a job, and `awake-during` cannot keep a job");
                r.report(draft.spans.awake, message);
            }
        }
        fits(r, config, draft);
    }
    let drafts = config
        .workloads
        .iter()
        .filter_map(|(name, (draft, _))| Some((name, draft.as_ref()?.spec.needs.as_slice())));
    if let Some(circle) = find_cycle(drafts) {
        let names: Vec<_> = circle.iter().map(WorkloadName::as_str).collect();
        if let Some(span) = first_need(config, &circle) {
            let path = names.join(" → ");
            r.report(span, format!("workloads need each other in a circle: {path}"));
        }
    }
}

/// Why a need cannot be fulfilled.
fn unfit(config: &ConfigDraft, need: &Need) -> Option<String> {
    let wanted = &need.workload;
    let Some((other, _)) = config.workloads.get(wanted) else {
        let known = config.workloads.keys().map(WorkloadName::as_str);
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

/// The place of the first need in a cycle.
fn first_need(config: &ConfigDraft, circle: &[WorkloadName]) -> Option<Span> {
    let [first, second, ..] = circle else { return None };
    let draft = config.workloads.get(first)?.0.as_ref()?;
    let mut needs = draft.spec.needs.iter().zip(&draft.spans.needs);
    needs.find(|(need, _)| need.workload == *second).map(|(_, span)| *span)
}

/// Reports a workload that can never be awake: together with what it needs it exceeds its pool.
fn fits(r: &mut Reader, config: &ConfigDraft, draft: &Draft) {
    let pool = draft.spec.pool.as_ref().map(|membership| &membership.pool);
    let Some(Some(pool)) = pool.and_then(|pool| config.pools.get(pool)) else { return };
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
        let needed = spec.needs.iter().filter_map(|need| config.workloads.get(&need.workload));
        left.extend(needed.filter_map(|(other, _)| other.as_ref().map(|other| &other.spec)));
    }
    let with = if places > 1 { " with what it needs" } else { "" };
    if let Some(most) = pool.max_awake.filter(|most| places > *most) {
        let message = format!(
            "`{}`{with} takes {places} places of pool `{}`, which has {most}; raise its `max-awake`",
            draft.spec.name, pool.name
        );
        r.report(draft.spans.pool, message);
    }
    if let Some(most) = pool.max_memory.filter(|most| bytes > *most) {
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
