//! CPU time of a process and its children, from `/proc/PID/stat`.

use std::fs;

use anyhow::{Context, Result};
use drowse_tests::process::children_of_thread;

/// User and system time in seconds of a process and the children of its main thread so far. These are
/// nginx's workers; the router starts its backends from other threads.
pub(super) fn seconds(process: u32) -> Result<f64> {
    let mut ticks = ticks(process)?;
    for child in children_of_thread(process, process)? {
        ticks += self::ticks(child)?;
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn ticks(process: u32) -> Result<u64> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    // The second field is the name in parentheses and may contain any character; user and system
    // time are fields 14 and 15 (proc(5)).
    let after_name = text.rsplit_once(") ").context("no name in stat")?.1;
    let field =
        |number: usize| -> Option<u64> { after_name.split(' ').nth(number - 3)?.parse().ok() };
    field(14).zip(field(15)).map(|(user, system)| user + system).context("no times in stat")
}
