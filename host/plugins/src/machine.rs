//! Memory of this machine.

use std::{fs, path::Path};

/// Bytes of memory available to this process: the machine's total, or less if a cgroup limits it.
/// None if the system does not report it.
pub(crate) fn memory() -> Option<u64> {
    let machine = total(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit(Path::new("/sys/fs/cgroup"), &own);
    Some(limit.map_or(machine, |limit| limit.min(machine)))
}

/// Total bytes of memory in the text of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// The lowest memory limit among the cgroup of `/proc/PID/cgroup` (`own`) and its ancestors.
fn limit(mount: &Path, own: &str) -> Option<u64> {
    let path = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.trim_start_matches('/').to_owned();
        match controllers {
            "" => Some((mount.to_owned(), path, "memory.max")),
            _ if controllers.split(',').any(|it| it == "memory") => {
                Some((mount.join("memory"), path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    };
    let limits = own.lines().filter_map(path).flat_map(|(mount, path, file)| {
        let above: Vec<_> = Path::new(&path).ancestors().map(|it| mount.join(it)).collect();
        above.into_iter().filter_map(move |it| fs::read_to_string(it.join(file)).ok())
    });
    limits.filter_map(|limit| limit.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_a_cgroup_and_its_ancestors_applies() {
        let mount = tempfile::tempdir().unwrap();
        let own = mount.path().join("system.slice/drowse.service");
        fs::create_dir_all(&own).unwrap();
        let line = "0::/system.slice/drowse.service\n";
        assert_eq!(limit(mount.path(), line), None);
        fs::write(own.join("memory.max"), "max\n").unwrap();
        fs::write(mount.path().join("system.slice/memory.max"), "1073741824\n").unwrap();
        assert_eq!(limit(mount.path(), line), Some(1 << 30));
        fs::write(own.join("memory.max"), "536870912\n").unwrap();
        assert_eq!(limit(mount.path(), line), Some(1 << 29));
    }

    #[test]
    fn cgroups_of_version_1_use_another_file() {
        let mount = tempfile::tempdir().unwrap();
        let own = mount.path().join("memory/docker");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("memory.limit_in_bytes"), "268435456\n").unwrap();
        let lines = "3:cpu,cpuacct:/docker\n5:memory:/docker\n";
        assert_eq!(limit(mount.path(), lines), Some(1 << 28));
    }

    #[test]
    fn total_memory_is_read_from_meminfo() {
        assert!(memory().unwrap() > 1 << 20);
        assert_eq!(total("MemTotal:        2048 kB\nMemFree: 7 kB\n"), Some(2 << 20));
        assert_eq!(total("nothing"), None);
    }
}
