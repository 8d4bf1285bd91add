use std::path::PathBuf;

use drowse_tests::{HungFilesystem, needs};

use super::*;
use crate::{
    command::{
        Starter,
        tests::{grant, starter},
    },
    notes::Notes,
    settings::CommandLimits,
};

/// Long enough for anything that is waited for here.
const PATIENCE: Duration = Duration::from_secs(30);
/// Enough for every launcher on a busy machine.
const SHORT: Duration = Duration::from_millis(1500);

fn processes(
    grants: impl IntoIterator<Item = (String, CommandGrant)>,
    launcher: bool,
) -> Arc<Processes> {
    let mut starter = Starter { deadline: SHORT, ..starter(None) };
    if !launcher {
        starter.launcher = None;
    }
    let notes = Arc::new(Notes::new("process", 20));
    Processes::new("process", grants.into_iter().collect(), starter, notes, Arc::default())
}

/// A grant whose program lies on the file system.
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
    timeout(PATIENCE, free).await.expect("the start ends");
}

/// One thread runs everything here: whatever blocked it would be seen at once.
#[tokio::test]
async fn a_program_on_a_filesystem_that_hangs_costs_its_own_command_alone() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("a_program_on_a_filesystem_that_hangs", &lack);
    }
    for launcher in [true, false] {
        let hung = HungFilesystem::mount().unwrap();
        let grants = [("stuck", on(&hung)), ("blog", grant("echo up; exec sleep 1000"))];
        let processes = processes(grants.map(|(name, it)| (name.to_owned(), it)), launcher);
        let (why, other) = tokio::join!(refused(&processes, "stuck"), async {
            tokio::time::sleep(SHORT / 10).await;
            assert!(processes.find("stuck").unwrap().is_none(), "the table is free");
            let asked = Instant::now();
            let process = processes.spawn("blog", &[], &[]).await.unwrap();
            (process, asked.elapsed())
        });
        assert!(why.contains("the program did not start within 1500 ms"), "{why}");
        assert!(why.contains("is its filesystem reachable?"), "{why}");
        assert!(other.1 < SHORT / 2, "another command waited {:?}", other.1);

        let asked = Instant::now();
        let again = refused(&processes, "stuck").await;
        assert!(again.contains("an earlier start is stuck and cannot be killed"), "{again}");
        assert!(asked.elapsed() < SHORT / 2, "it is not tried again");

        drop(hung);
        none_is_stuck(&processes).await;
        let gone = refused(&processes, "stuck").await;
        assert!(gone.contains("No such file"), "{gone}");
        timeout(PATIENCE, processes.shutdown()).await.expect("it ends");
        assert!(other.0.ended().is_some());
    }
}

#[tokio::test]
async fn a_directory_on_a_filesystem_that_hangs_is_named_and_the_end_does_not_wait_for_it() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("a_directory_on_a_filesystem_that_hangs", &lack);
    }
    let hung = HungFilesystem::mount().unwrap();
    let directory = Some(hung.path().join("directory"));
    let grant = CommandGrant { directory, ..grant("exec sleep 1000") };
    let processes = processes([("blog".to_owned(), grant)], true);
    let why = refused(&processes, "blog").await;
    assert!(why.contains("its directory's filesystem unreachable?"), "{why}");
    timeout(SHORT, processes.shutdown()).await.expect("it does not wait for what is stuck");
}

#[tokio::test]
async fn the_end_of_the_router_does_not_wait_for_a_start() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("the_end_of_the_router_does_not_wait", &lack);
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
async fn stuck_starts_are_bounded_and_one_more_is_refused_with_their_number() {
    if let Some(lack) = HungFilesystem::lacks() {
        return needs::skip("stuck_starts_are_bounded", &lack);
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
    assert!(why.contains("8 starts in progress already, 8 of them stuck"), "{why}");
    drop(hung);
    none_is_stuck(&processes).await;
    assert!(refused(&processes, &name(STARTS)).await.contains("No such file"));
}

#[tokio::test]
async fn a_frozen_cgroup_is_named_and_blocks_nobody() {
    let Some(cgroup) = Frozen::make() else {
        return needs::skip("a_frozen_cgroup_is_named", "no cgroup can be frozen here");
    };
    let limits = CommandLimits { cgroup: Some(cgroup.0.clone()), ..CommandLimits::default() };
    let grant = CommandGrant { limits, ..grant("exec sleep 1000") };
    let processes = processes([("blog".to_owned(), grant)], true);
    let why = refused(&processes, "blog").await;
    assert!(why.contains("is the cgroup of its limits frozen"), "{why}");
    let again = refused(&processes, "blog").await;
    assert!(again.contains("an earlier start is stuck"), "{again}");
    drop(cgroup.thawed());
    none_is_stuck(&processes).await;
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_a_start_to_be_found() {
    let processes = processes([("blog".to_owned(), grant("exec sleep 1000"))], true);
    let spawn = processes.spawn("blog", &[], &[]);
    let given_up = timeout(Duration::ZERO, spawn).await;
    assert!(given_up.is_err(), "a launcher takes longer");
    let (_, changed) = timeout(PATIENCE, processes.changes(0)).await.unwrap();
    assert_eq!(changed, ["blog"]);
    let process = processes.find("blog").unwrap().expect("it was started");
    processes.shutdown().await;
    assert!(process.ended().is_some());
}

/// A cgroup of version 1 that is frozen.
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
        // Not before what was in it has ended.
        let end = std::time::Instant::now() + PATIENCE;
        while std::fs::remove_dir(&self.0).is_err() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn the_next_launcher_waits_already_and_one_that_was_ended_costs_nothing() {
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
        timeout(PATIENCE, ready).await.expect("a launcher waits")
    };
    processes.spawn("one", &[], &[]).await.unwrap();
    let spare = waits().await;
    let pid = spare.child.id();
    processes.spare.put(Some(spare));
    let second = processes.spawn("two", &[], &[]).await.unwrap();
    assert_eq!(Some(second.pid()), pid, "the launcher has become the program");

    let mut spare = waits().await;
    let pid = spare.child.id();
    spare.child.start_kill().unwrap();
    spare.child.wait().await.unwrap();
    processes.spare.put(Some(spare));
    let third = processes.spawn("three", &[], &[]).await.unwrap();
    assert_ne!(Some(third.pid()), pid);
    processes.shutdown().await;
    assert!(processes.spare.take().is_none(), "none is left behind");
}
