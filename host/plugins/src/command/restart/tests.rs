use rustix::process::Signal;

use super::*;
use crate::command::tests::{grant, wait_for_line, with};

/// Timeout of the test's waits.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

fn processes(script: &str, restart: Restart, restart_limit: usize) -> Arc<Processes> {
    with(CommandGrant { restart, restart_limit, ..grant(script) })
}

/// The IDs of a command's processes, once it has had `wanted` of them.
async fn process_ids(processes: &Processes, wanted: usize) -> Vec<u64> {
    let mut ids: Vec<u64> = Vec::new();
    let mut cursor = 0;
    let seen = async {
        while ids.len() < wanted {
            (cursor, _) = processes.changes(cursor).await;
            let id = processes.find("blog").unwrap().unwrap().id();
            if ids.last() != Some(&id) {
                ids.push(id);
            }
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, seen).await.expect("the command is restarted");
    ids
}

/// Waits until the command is no longer watched.
async fn unwatched(processes: &Processes) {
    let watched = || {
        let table = processes.table();
        table.restart_watchers.get("blog").is_some_and(|watcher| !watcher.task.is_finished())
    };
    let done = async {
        while watched() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, done).await.expect("the command is no longer watched");
}

#[tokio::test]
async fn a_failed_program_is_restarted_with_the_plugin_s_arguments() {
    let grant = CommandGrant {
        restart: Restart::OnFailure,
        extra_arguments: true,
        extra_environment: vec!["MOOD".into()],
        // The first argument of a shell is its `$0`.
        ..grant("echo $MOOD $0; exit 3")
    };
    let processes = with(grant);
    let mood = [("MOOD".to_owned(), "good".to_owned())];
    let first = processes.spawn("blog", &["word".to_owned()], &mood).await.unwrap().id();
    let ids = process_ids(&processes, 3).await;
    assert_eq!(ids[0], first);
    let process = processes.find("blog").unwrap().unwrap();
    wait_for_line(&process, "good word").await;
    processes.shutdown().await;
}

#[tokio::test]
async fn a_successful_program_is_restarted_only_with_restart_always() {
    let once = processes("exit 0", Restart::OnFailure, 10);
    once.spawn("blog", &[], &[]).await.unwrap().wait().await;
    unwatched(&once).await;
    let always = processes("exit 0", Restart::Always, 10);
    always.spawn("blog", &[], &[]).await.unwrap();
    process_ids(&always, 2).await;
    always.shutdown().await;
}

#[tokio::test]
async fn a_program_that_keeps_exiting_is_not_restarted_but_can_be_started() {
    let processes = processes("exit 1", Restart::OnFailure, 2);
    processes.spawn("blog", &[], &[]).await.unwrap();
    let last = *process_ids(&processes, 3).await.last().unwrap();
    unwatched(&processes).await;
    assert_eq!(processes.find("blog").unwrap().unwrap().id(), last, "no fourth");
    assert!(processes.spawn("blog", &[], &[]).await.unwrap().id() > last);
}

#[tokio::test]
async fn a_program_that_the_plugin_stopped_is_not_restarted() {
    for signal in [Signal::TERM, Signal::KILL, Signal::USR1] {
        let processes = processes("echo up; exec sleep 1000", Restart::Always, 10);
        let process = processes.spawn("blog", &[], &[]).await.unwrap();
        wait_for_line(&process, "up").await;
        processes.signal(process.id(), signal).unwrap();
        process.wait().await;
        unwatched(&processes).await;
        assert_eq!(processes.find("blog").unwrap().unwrap().id(), process.id());
    }
}

#[tokio::test]
async fn a_paused_program_that_is_killed_is_restarted() {
    let processes = processes("echo up; exec sleep 1000", Restart::Always, 10);
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    wait_for_line(&process, "up").await;
    processes.signal(process.id(), Signal::STOP).unwrap();
    // Not by the plugin.
    process.signal(Signal::KILL);
    process_ids(&processes, 2).await;
    processes.shutdown().await;
}

#[tokio::test]
async fn a_program_stopped_before_its_restart_is_not_restarted() {
    let processes = processes("exit 1", Restart::OnFailure, 10);
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    process.wait().await;
    // The first pause has started or is about to; a process started in between is stopped too.
    let current = processes.find("blog").unwrap().unwrap();
    processes.signal(current.id(), Signal::TERM).unwrap();
    unwatched(&processes).await;
    assert_eq!(processes.find("blog").unwrap().unwrap().id(), current.id());
}

#[tokio::test]
async fn nothing_is_restarted_after_shutdown() {
    let processes = processes("exit 1", Restart::Always, 1000);
    processes.spawn("blog", &[], &[]).await.unwrap();
    process_ids(&processes, 2).await;
    processes.shutdown().await;
    unwatched(&processes).await;
    let last = processes.find("blog").unwrap().unwrap();
    last.wait().await;
    assert_eq!(processes.find("blog").unwrap().unwrap().id(), last.id());
}

#[test]
fn pauses_double_up_to_the_maximum() {
    let pauses: Vec<_> = (0..12).map(pause).collect();
    assert!(pauses.is_sorted());
    assert_eq!((pauses[0], pauses[1], pauses[11]), (FIRST_PAUSE, FIRST_PAUSE * 2, LONGEST_PAUSE));
    assert_eq!(pause(usize::MAX), LONGEST_PAUSE);
}
