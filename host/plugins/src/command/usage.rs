//! Resource usage of a process group.

use std::{io, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::Pid,
};

use super::stat;

/// Resource usage of all members of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time so far, including reaped members.
    pub(crate) cpu: Duration,
    /// Resident bytes; shared memory counts for each member.
    pub(crate) memory: u64,
}

/// Resource usage of a group. Reads `/proc` of every process, so it blocks shortly.
pub(crate) fn of_group(group: Pid) -> io::Result<Usage> {
    let members = stat::all()?.filter(|(_, stat)| stat.group == group.as_raw_nonzero().get());
    let (ticks, pages) = members.fold((0u64, 0u64), |(ticks, pages), (_, stat)| {
        (ticks.saturating_add(stat.ticks), pages.saturating_add(stat.pages))
    });
    let cpu = Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
    Ok(Usage { cpu, memory: pages.saturating_mul(page_size() as u64) })
}
