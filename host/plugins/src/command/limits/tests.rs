use std::{path::PathBuf, sync::Arc, time::Duration};

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
    let process: Arc<Process> = processes.spawn("blog", &[], &[]).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(60), process.wait()).await.unwrap();
    (status, String::from_utf8_lossy(&process.output(4096)).into_owned())
}

/// The limits are set once the program runs, so a shell looks at them until it sees them.
fn shows(option: &str, value: u64) -> String {
    format!("until [ $(ulimit -{option}) = {value} ]; do :; done; sh -c 'ulimit -{option}'")
}

#[tokio::test]
async fn limits_hold_for_the_program_and_what_it_starts() {
    let limits = CommandLimits {
        memory: Some(64 << 20),
        cpu: Some(Duration::from_secs(7)),
        files: Some(123),
        ..CommandLimits::default()
    };
    for (option, value) in [("d", 64 << 10), ("t", 7), ("n", 123)] {
        let (status, output) = ended(&limited(&shows(option, value), limits.clone())).await;
        assert_eq!((status, output.trim()), (0, value.to_string().as_str()));
    }
}

#[tokio::test]
async fn who_computes_longer_than_its_limit_is_ended() {
    let limits = CommandLimits { cpu: Some(Duration::from_secs(1)), ..CommandLimits::default() };
    let (status, _) = ended(&limited("while :; do :; done", limits)).await;
    assert!([128 + 24, 128 + 9].contains(&status), "SIGXCPU or SIGKILL, not {status}");
}

#[tokio::test]
async fn a_limit_that_cannot_be_set_keeps_the_program_from_running() {
    let refused = |limits| match limited("exec sleep 1000", limits).spawn("blog", &[], &[]) {
        Err(CommandError::Failed(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was started"),
    };
    let nowhere = PathBuf::from("/nonexistent/cgroup");
    let why = refused(CommandLimits { cgroup: Some(nowhere), ..CommandLimits::default() });
    assert!(why.contains("limits.cgroup: /nonexistent/cgroup/cgroup.procs"), "{why}");
    if rustix::process::geteuid().is_root() {
        let why = refused(CommandLimits { processes: Some(10), ..CommandLimits::default() });
        assert!(why.contains("does not hold root to it"), "{why}");
        // Beyond what the kernel allows anybody.
        let why = refused(CommandLimits { files: Some(u64::MAX >> 2), ..CommandLimits::default() });
        assert!(why.contains("limits.files: it cannot be set"), "{why}");
    }
}

/// A cgroup of the test's own, of whichever version the machine has; removed when it is empty.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make() -> Option<Self> {
        let name = format!("drowse-test-{}", std::process::id());
        let places = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let made = places.into_iter().filter(|place| place.join("cgroup.procs").exists());
        let mut made = made.map(|place| place.join(&name));
        made.find(|place| fs::create_dir(place).is_ok()).map(Self)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn a_program_is_put_into_the_cgroup_that_its_grant_names() {
    let Some(cgroup) = Cgroup::make() else {
        return drowse_tests::needs::skip("limits.cgroup", "no cgroup may be made here");
    };
    let limits = CommandLimits { cgroup: Some(cgroup.0.clone()), ..CommandLimits::default() };
    let processes = limited("exec sleep 1000", limits);
    let process = processes.spawn("blog", &[], &[]).unwrap();
    let held = fs::read_to_string(format!("/proc/{}/cgroup", process.pid())).unwrap();
    let name = cgroup.0.file_name().unwrap().to_str().unwrap();
    assert!(held.lines().any(|line| line.ends_with(name)), "{held}");
    processes.shutdown().await;
}
