//! What a process group uses.

use std::{io, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::Pid,
};

use super::stat;

/// What all members of a group use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time so far, also of ended members that were waited for.
    pub(crate) cpu: Duration,
    /// Resident bytes; what members share counts for each of them.
    pub(crate) memory: u64,
}

/// What the group of this number uses. Looks at every process of the machine, so it blocks a
/// little.
pub(crate) fn of_group(group: Pid) -> io::Result<Usage> {
    let members = stat::all()?.filter(|(_, stat)| stat.group == group.as_raw_nonzero().get());
    let (ticks, pages) = members.fold((0u64, 0u64), |(ticks, pages), (_, stat)| {
        (ticks.saturating_add(stat.ticks), pages.saturating_add(stat.pages))
    });
    let cpu = Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
    Ok(Usage { cpu, memory: pages.saturating_mul(page_size() as u64) })
}
