use std::{fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    command::{
        CommandError, Process, Processes,
        tests::{grant, with},
    },
    settings::CommandGrant,
};

fn limited(script: &str, limits: CommandLimits) -> Arc<Processes> {
    with(CommandGrant { limits, ..grant(script) })
}

async fn ended(processes: &Arc<Processes>) -> (i32, String) {
    let process: Arc<Process> = processes.spawn("blog", &[], &[]).await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(60), process.wait()).await.unwrap();
    (status, String::from_utf8_lossy(&process.output(4096)).into_owned())
}

#[tokio::test]
async fn limits_apply_to_a_program_and_its_children_from_the_start() {
    let limits = CommandLimits {
        memory: Some(64 << 20),
        cpu: Some(Duration::from_secs(7)),
        files: Some(123),
        ..CommandLimits::default()
    };
    let all = ["Max cpu time 7 7", "Max data size 67108864 67108864", "Max open files 123 123"];
    let held = |output: &str| {
        let lines =
            output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let lines: Vec<String> = lines.collect();
        assert!(all.iter().all(|limit| lines.iter().any(|it| it.contains(limit))), "{lines:#?}");
    };
    // Repeated, because a race would show only sometimes.
    for _ in 0..20 {
        let direct = CommandGrant {
            program: "cat".into(),
            arguments: vec!["/proc/self/limits".into()],
            limits: limits.clone(),
            ..grant("")
        };
        let (status, output) = ended(&with(direct)).await;
        assert_eq!(status, 0, "{output}");
        held(&output);
        let (status, output) = ended(&limited("cat /proc/self/limits", limits.clone())).await;
        assert_eq!(status, 0, "{output}");
        held(&output);
    }
}

#[tokio::test]
async fn a_program_above_its_cpu_limit_is_killed() {
    let limits = CommandLimits { cpu: Some(Duration::from_secs(1)), ..CommandLimits::default() };
    let (status, _) = ended(&limited("while :; do :; done", limits)).await;
    assert!([128 + 24, 128 + 9].contains(&status), "SIGXCPU or SIGKILL, not {status}");
}

#[tokio::test]
async fn a_program_is_not_started_if_a_limit_cannot_be_applied() {
    let refused =
        async |limits| match limited("exec sleep 1000", limits).spawn("blog", &[], &[]).await {
            Err(CommandError::Failed(why)) => why,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it was started"),
        };
    let nowhere = PathBuf::from("/nonexistent/cgroup");
    let why = refused(CommandLimits { cgroup: Some(nowhere), ..CommandLimits::default() }).await;
    assert!(why.contains("limits.cgroup: /nonexistent/cgroup/cgroup.procs"), "{why}");
    if rustix::process::geteuid().is_root() {
        let why = refused(CommandLimits { processes: Some(10), ..CommandLimits::default() }).await;
        assert!(why.contains("does not enforce it for root"), "{why}");
        // Above the kernel's maximum.
        let why =
            refused(CommandLimits { files: Some(u64::MAX >> 2), ..CommandLimits::default() }).await;
        assert!(why.contains("limits.open-files: cannot be set"), "{why}");
    }
}

/// A cgroup for the test; removed once empty.
struct Cgroup {
    path: PathBuf,
    /// Mount point of a hierarchy that was mounted for it.
    mounted: Option<TempDir>,
}

impl Cgroup {
    fn of_version(version: u8) -> Option<Self> {
        let roots = match version {
            1 => ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"],
            _ => ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
        };
        let mut roots = roots.into_iter().map(Path::new);
        // Only version 2 has `cgroup.controllers`.
        let fits = |root: &&Path| {
            root.join("cgroup.procs").exists()
                && root.join("cgroup.controllers").exists() == (version == 2)
        };
        let found = roots.find(fits).map(Path::to_owned);
        let mounted = (version == 2 && found.is_none()).then(mounted).flatten();
        let root = found.or_else(|| Some(mounted.as_ref()?.path().to_owned()))?;
        let path = root.join(format!("drowse-test-{}", std::process::id()));
        let made = fs::create_dir(&path);
        let cgroup = Self { path, mounted };
        made.is_ok().then_some(cgroup)
    }
}

/// Mounts the hierarchy of version 2, which can coexist with version 1.
fn mounted() -> Option<TempDir> {
    let place = tempfile::tempdir().unwrap();
    let mut mount = Command::new("mount");
    let status = mount.args(["-t", "cgroup2", "none"]).arg(place.path()).status();
    status.is_ok_and(|status| status.success()).then_some(place)
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
        if let Some(place) = &self.mounted {
            let _ = Command::new("umount").arg(place.path()).status();
        }
    }
}

#[tokio::test]
async fn a_program_runs_in_its_cgroup_from_the_start() {
    for version in [1, 2] {
        let Some(cgroup) = Cgroup::of_version(version) else {
            drowse_tests::needs::skip(
                &format!("limits.cgroup of version {version}"),
                "no cgroup of it may be made here",
            );
            continue;
        };
        let name = cgroup.path.file_name().unwrap().to_str().unwrap();
        let limits =
            CommandLimits { cgroup: Some(cgroup.path.clone()), ..CommandLimits::default() };
        let direct = CommandGrant {
            program: "cat".into(),
            arguments: vec!["/proc/self/cgroup".into()],
            limits: limits.clone(),
            ..grant("")
        };
        let child = CommandGrant { limits, ..grant("cat /proc/self/cgroup; :") };
        for grant in [direct, child] {
            let (status, held) = ended(&with(grant)).await;
            assert_eq!(status, 0, "{held}");
            assert!(held.lines().any(|line| line.ends_with(name)), "version {version}: {held}");
        }
    }
}
