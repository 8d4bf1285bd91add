//! What a process group uses, as Linux tells it in `/proc` (`proc_pid_stat(5)`).

use std::{fs, io, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::Pid,
};

/// What all members of a group use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time so far, also of ended members that were waited for.
    pub(crate) cpu: Duration,
    /// Resident bytes; what members share counts for each of them.
    pub(crate) memory: u64,
}

/// One process in the kernel's own units.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    group: i32,
    /// Its own and that of its children who ended and were waited for.
    ticks: u64,
    pages: u64,
}

/// What the group of this number uses. Looks at every process of the machine, so it blocks a
/// little.
pub(crate) fn of_group(group: Pid) -> io::Result<Usage> {
    let group = group.as_raw_nonzero().get();
    let (mut ticks, mut pages) = (0u64, 0u64);
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        // One that ended meanwhile uses nothing.
        let Ok(text) = fs::read(entry.path().join("stat")) else { continue };
        if let Some(stat) = Stat::parse(&String::from_utf8_lossy(&text))
            && stat.group == group
        {
            ticks = ticks.saturating_add(stat.ticks);
            pages = pages.saturating_add(stat.pages);
        }
    }
    let cpu = Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
    Ok(Usage { cpu, memory: pages.saturating_mul(page_size() as u64) })
}

// === impl Stat ===

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name may contain anything, also parentheses and spaces: fields are counted from the
        // last parenthesis, behind which stands field 3.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        // The times of children are signed; they are never negative.
        let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
        Some(Self { group: fields.get(2)?.parse().ok()?, ticks, pages: number(24)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_move_the_fields() {
        let rest = "S 1 77 77 0 -1 4194560 100 0 0 0 5 6 7 8 20 0 1 0 100 1000000 42 184467";
        for name in ["sh", "a) R 1 2 3", "((", "x y"] {
            let stat = Stat::parse(&format!("4711 ({name}) {rest}")).unwrap();
            assert_eq!(stat, Stat { group: 77, ticks: 26, pages: 42 }, "{name}");
        }
        for broken in ["", "1 (sh", "1 (sh) S 1", "1 (sh) S 1 x 1 0 -1 0 0 0 0 0 5 6 7 8"] {
            assert_eq!(Stat::parse(broken), None, "{broken}");
        }
    }
}
