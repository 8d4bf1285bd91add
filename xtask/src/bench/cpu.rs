//! CPU time of a process and its children, by `/proc/PID/stat`.

use std::fs;

use anyhow::{Context, Result};

/// Seconds of user and system time that the process and its children have used so far.
pub(super) fn seconds(process: u32) -> Result<f64> {
    let mut ticks = ticks(process)?;
    for child in children(process)? {
        ticks += self::ticks(child)?;
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn children(process: u32) -> Result<Vec<u32>> {
    let file = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    text.split_whitespace().map(|id| id.parse().context("a child without a number")).collect()
}

fn ticks(process: u32) -> Result<u64> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    // The second field is the name in parentheses and may contain anything; user and system time
    // are the 14th and 15th (proc(5)).
    let after_name = text.rsplit_once(") ").context("no name in stat")?.1;
    let field =
        |number: usize| -> Option<u64> { after_name.split(' ').nth(number - 3)?.parse().ok() };
    field(14).zip(field(15)).map(|(user, system)| user + system).context("no times in stat")
}
