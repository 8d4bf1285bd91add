//! Workloads with the same target: each would put it to sleep while the other has visitors.

use std::collections::{HashMap, hash_map::Entry};

use crate::{config::ConfigDraft, read::Reader, workload::Draft};

/// Reports every workload whose target belongs to another one.
pub(crate) fn report(r: &mut Reader, config: &ConfigDraft) {
    let mut drafts: Vec<_> =
        config.workloads.values().filter_map(|(draft, _)| draft.as_ref()).collect();
    drafts.sort_by_key(|draft| draft.spans.target);
    let mut firsts: HashMap<_, &Draft> = HashMap::new();
    for draft in drafts {
        let (provider, handle) = (&draft.spec.provider, &draft.spec.target.handle);
        match firsts.entry((provider, handle)) {
            Entry::Vacant(vacant) => drop(vacant.insert(draft)),
            Entry::Occupied(first) => {
                let first = first.get();
                let message = format!(
                    "`{}` of provider `{provider}` is already the target of workload `{}` in {}; \
                     two routes may lead to one workload",
                    handle.escape_debug(),
                    first.spec.name,
                    r.show(first.spans.target),
                );
                r.report(draft.spans.target, message);
            }
        }
    }
}
