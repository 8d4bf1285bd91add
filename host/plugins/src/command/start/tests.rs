use std::path::PathBuf;

use drowse_tests::{HungFilesystem, needs};

use super::*;
use crate::{
    command::{
        LaunchOptions,
        tests::{grant, launch_options},
    },
    log_limiter::LogLimiter,
    settings::CommandLimits,
};

/// Timeout of the test's waits.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A start timeout that suffices on a busy machine.
const SHORT: Duration = Duration::from_millis(1500);

fn processes(
    grants: impl IntoIterator<Item = (String, CommandGrant)>,
    launcher: bool,
) -> Arc<Processes> {
    let mut launch_options = LaunchOptions { deadline: SHORT, ..launch_options(None) };
    if !launcher {
        launch_options.launcher = None;
    }
    let log_limiter = Arc::new(LogLimiter::new("process", 20));
    Processes::new(
        "process",
        grants.into_iter().collect(),
        launch_options,
        log_limiter,
        Arc::default(),
    )
}

/// A grant whose program is on the hanging file system.
fn on(hung: &HungFilesystem) -> CommandGrant {
    let program = hung.path().join("program").display().to_string();
    CommandGrant { program, ..grant("") }
}

async fn refused(processes: &Arc<Processes>, command: &str) -> String {
    match processes.spawn(command, &[], &[]).await {
        Err(CommandError::Failed(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was started"),
    }
}

async fn none_is_stuck(processes: &Processes) {
    let free = async {
        while !processes.table().stuck.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TEST_TIMEOUT, free).await.expect("the start ends");
}

/// On a single thread, so that anything that blocks is noticed.
#[tokio::test]
async fn a_program_on_a_hanging_filesystem_affects_only_its_own_command() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("a_program_on_a_hanging_filesystem", &lack);
    }
    for launcher in [true, false] {
        let hung = HungFilesystem::mount().unwrap();
        let grants = [("stuck", on(&hung)), ("blog", grant("echo up; exec sleep 1000"))];
        let processes = processes(grants.map(|(name, it)| (name.to_owned(), it)), launcher);
        let (why, other) = tokio::join!(refused(&processes, "stuck"), async {
            tokio::time::sleep(SHORT / 10).await;
            assert!(processes.find("stuck").unwrap().is_none(), "the table is not locked");
            let asked = Instant::now();
            let process = processes.spawn("blog", &[], &[]).await.unwrap();
            (process, asked.elapsed())
        });
        assert!(why.contains("the program did not start within 1500 ms"), "{why}");
        assert!(why.contains("is its filesystem reachable?"), "{why}");
        assert!(other.1 < SHORT / 2, "another command waited {:?}", other.1);

        let asked = Instant::now();
        let second = refused(&processes, "stuck").await;
        assert!(second.contains("an earlier start is stuck and cannot be killed"), "{second}");
        assert!(asked.elapsed() < SHORT / 2, "refused without another attempt");

        drop(hung);
        none_is_stuck(&processes).await;
        let gone = refused(&processes, "stuck").await;
        assert!(gone.contains("No such file"), "{gone}");
        timeout(TEST_TIMEOUT, processes.shutdown()).await.expect("it ends");
        assert!(other.0.exit_status().is_some());
    }
}

#[tokio::test]
async fn a_hanging_working_directory_is_named_and_does_not_delay_shutdown() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("a_hanging_working_directory", &lack);
    }
    let hung = HungFilesystem::mount().unwrap();
    let directory = Some(hung.path().join("directory"));
    let grant = CommandGrant { directory, ..grant("exec sleep 1000") };
    let processes = processes([("blog".to_owned(), grant)], true);
    let why = refused(&processes, "blog").await;
    assert!(why.contains("its directory's filesystem unreachable?"), "{why}");
    timeout(SHORT, processes.shutdown()).await.expect("shutdown does not wait for a stuck start");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_start() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("shutdown_does_not_wait_for_a_start", &lack);
    }
    let hung = HungFilesystem::mount().unwrap();
    let processes = processes([("blog".to_owned(), on(&hung))], true);
    let starting = tokio::spawn({
        let processes = processes.clone();
        async move { processes.spawn("blog", &[], &[]).await.map(|_| ()) }
    });
    while processes.starts.is_empty() {
        tokio::task::yield_now().await;
    }
    let asked = Instant::now();
    processes.shutdown().await;
    assert!(asked.elapsed() < SHORT / 2, "{:?}", asked.elapsed());
    assert!(matches!(starting.await.unwrap(), Err(CommandError::Conflict(_))));
}

#[tokio::test]
async fn stuck_starts_are_limited_and_the_refusal_names_their_number() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("stuck_starts_are_limited", &lack);
    }
    let hung = HungFilesystem::mount().unwrap();
    let name = |number: usize| format!("stuck-{number}");
    let grants = (0..=STARTS).map(|number| (name(number), on(&hung)));
    let processes = processes(grants, true);
    let all = (0..STARTS).map(|number| {
        let processes = processes.clone();
        async move { refused(&processes, &name(number)).await }
    });
    for why in futures_util::future::join_all(all).await {
        assert!(why.contains("did not start within"), "{why}");
    }
    let why = refused(&processes, &name(STARTS)).await;
    assert!(why.contains("already has 8 starts in progress, 8 of them stuck"), "{why}");
    drop(hung);
    none_is_stuck(&processes).await;
    assert!(refused(&processes, &name(STARTS)).await.contains("No such file"));
}

#[tokio::test]
async fn a_frozen_cgroup_is_named_and_blocks_no_other_start() {
    let Some(cgroup) = Frozen::make() else {
        return needs::skip("a_frozen_cgroup_is_named", "no cgroup can be frozen here");
    };
    let limits = CommandLimits { cgroup: Some(cgroup.0.clone()), ..CommandLimits::default() };
    let grant = CommandGrant { limits, ..grant("exec sleep 1000") };
    let processes = processes([("blog".to_owned(), grant)], true);
    let why = refused(&processes, "blog").await;
    assert!(why.contains("is the cgroup of its limits frozen"), "{why}");
    let second = refused(&processes, "blog").await;
    assert!(second.contains("an earlier start is stuck"), "{second}");
    drop(cgroup.thawed());
    none_is_stuck(&processes).await;
}

#[tokio::test]
async fn a_start_continues_after_its_caller_gave_up() {
    let processes = processes([("blog".to_owned(), grant("exec sleep 1000"))], true);
    let spawn = processes.spawn("blog", &[], &[]);
    let given_up = timeout(Duration::ZERO, spawn).await;
    assert!(given_up.is_err(), "a launcher takes longer");
    let (_, changed) = timeout(TEST_TIMEOUT, processes.changes(0)).await.unwrap();
    assert_eq!(changed, ["blog"]);
    let process = processes.find("blog").unwrap().expect("it was started");
    processes.shutdown().await;
    assert!(process.exit_status().is_some());
}

/// A frozen cgroup of version 1.
struct Frozen(PathBuf);

impl Frozen {
    fn make() -> Option<Self> {
        let path = PathBuf::from("/sys/fs/cgroup/freezer")
            .join(format!("drowse-frozen-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        let frozen = Self(path);
        std::fs::write(frozen.0.join("freezer.state"), "FROZEN").ok()?;
        Some(frozen)
    }

    fn thawed(self) -> Self {
        std::fs::write(self.0.join("freezer.state"), "THAWED").unwrap();
        self
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
        // Fails until its processes have exited.
        let end = std::time::Instant::now() + TEST_TIMEOUT;
        while std::fs::remove_dir(&self.0).is_err() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_prestarted_launcher_is_used_and_replaced_if_it_was_killed() {
    let grants = ["one", "two", "three"].map(|name| (name.to_owned(), grant("exec sleep 1000")));
    let processes = processes(grants, true);
    let waits = async || {
        let ready = async {
            loop {
                if let Some(spare) = processes.spare.take() {
                    return spare;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(TEST_TIMEOUT, ready).await.expect("a launcher waits")
    };
    processes.spawn("one", &[], &[]).await.unwrap();
    let spare = waits().await;
    let pid = spare.child.id();
    processes.spare.put(Some(spare));
    let second = processes.spawn("two", &[], &[]).await.unwrap();
    assert_eq!(Some(second.pid()), pid, "the launcher became the program");

    let mut spare = waits().await;
    let pid = spare.child.id();
    spare.child.start_kill().unwrap();
    spare.child.wait().await.unwrap();
    processes.spare.put(Some(spare));
    let third = processes.spawn("three", &[], &[]).await.unwrap();
    assert_ne!(Some(third.pid()), pid);
    processes.shutdown().await;
    assert!(processes.spare.take().is_none(), "no launcher is left");
}
