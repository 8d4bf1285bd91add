//! Process data from `/proc` (`proc_pid_stat(5)`).

use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process, in the kernel's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcStat {
    /// State letter: `R`, `S`, `D`, `T`, `Z` and others.
    pub(super) state: char,
    pub(super) group: i32,
    /// CPU time of itself and of its reaped children, in clock ticks.
    pub(super) ticks: u64,
    /// Resident memory, in pages.
    pub(super) pages: u64,
    /// Start time in clock ticks since boot. Together with its PID it identifies the process until
    /// the next boot.
    pub(super) began: u64,
}

/// Every process of the machine with its PID. Blocks shortly.
pub(super) fn all() -> io::Result<impl Iterator<Item = (Pid, ProcStat)>> {
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    // Processes that exited meanwhile are skipped.
    Ok(pids.filter_map(|pid| Some((pid, ProcStat::of(pid).ok()?))))
}

/// Kills the members of a group whose leader has exited, except PIDs that were reused meanwhile.
pub(super) fn end_group(group: Pid) {
    let Ok(all) = all() else { return };
    for (pid, stat) in all {
        if stat.group == group.as_raw_nonzero().get()
            && let Ok(held) = pidfd_open(pid, PidfdFlags::empty())
            && ProcStat::of(pid).is_ok_and(|now| (now.group, now.began) == (stat.group, stat.began))
        {
            let _ = pidfd_send_signal(&held, Signal::KILL);
        }
    }
}

// === impl ProcStat ===

impl ProcStat {
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
        let stat = Self::parse(&String::from_utf8_lossy(&text));
        stat.ok_or_else(|| io::Error::other("unexpected format"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may contain parentheses and spaces, so fields are counted from the last
        // parenthesis, after which field 3 follows.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        // The times of children are signed but never negative.
        let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
        Some(Self {
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            ticks,
            pages: number(24)?,
            began: number(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_is_parsed() {
        let rest = "S 1 77 77 0 -1 4194560 100 0 0 0 5 6 7 8 20 0 1 0 100 1000000 42 184467";
        for name in ["sh", "a) R 1 2 3", "((", "x y"] {
            let stat = ProcStat::parse(&format!("4711 ({name}) {rest}")).unwrap();
            let whole = ProcStat { state: 'S', group: 77, ticks: 26, pages: 42, began: 100 };
            assert_eq!(stat, whole, "{name}");
        }
        for broken in ["", "1 (sh", "1 (sh) S 1", "1 (sh) S 1 x 1 0 -1 0 0 0 0 0 5 6 7 8"] {
            assert_eq!(ProcStat::parse(broken), None, "{broken}");
        }
    }
}
