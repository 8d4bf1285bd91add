use rustix::process::Signal;

use super::*;
use crate::command::tests::{grant, says, with};

/// Long enough for anything that is waited for here.
const PATIENCE: Duration = Duration::from_secs(30);

fn processes(script: &str, restart: Restart, restart_limit: usize) -> Arc<Processes> {
    with(CommandGrant { restart, restart_limit, ..grant(script) })
}

/// The numbers of the processes that a command had, until it has had so many.
async fn lives(processes: &Processes, wanted: usize) -> Vec<u64> {
    let mut lives: Vec<u64> = Vec::new();
    let mut cursor = 0;
    let seen = async {
        while lives.len() < wanted {
            (cursor, _) = processes.changes(cursor).await;
            let id = processes.find("blog").unwrap().unwrap().id();
            if lives.last() != Some(&id) {
                lives.push(id);
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it is started so often");
    lives
}

/// Nobody minds the command any more.
async fn left_alone(processes: &Processes) {
    let minded = || {
        let table = processes.table();
        table.minders.get("blog").is_some_and(|minder| !minder.task.is_finished())
    };
    let done = async {
        while minded() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("it is left alone");
}

#[tokio::test]
async fn a_program_that_failed_is_started_again_with_what_the_plugin_added() {
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
    let lives = lives(&processes, 3).await;
    assert_eq!(lives[0], first);
    let process = processes.find("blog").unwrap().unwrap();
    says(&process, "good word").await;
    processes.shutdown().await;
}

#[tokio::test]
async fn a_program_that_ended_well_is_left_alone_unless_it_shall_always_run() {
    let once = processes("exit 0", Restart::OnFailure, 10);
    once.spawn("blog", &[], &[]).await.unwrap().wait().await;
    left_alone(&once).await;
    let always = processes("exit 0", Restart::Always, 10);
    always.spawn("blog", &[], &[]).await.unwrap();
    lives(&always, 2).await;
    always.shutdown().await;
}

#[tokio::test]
async fn a_program_that_keeps_ending_is_given_up_and_can_be_started_by_a_visitor() {
    let processes = processes("exit 1", Restart::OnFailure, 2);
    processes.spawn("blog", &[], &[]).await.unwrap();
    let last = *lives(&processes, 3).await.last().unwrap();
    left_alone(&processes).await;
    assert_eq!(processes.find("blog").unwrap().unwrap().id(), last, "no fourth");
    assert!(processes.spawn("blog", &[], &[]).await.unwrap().id() > last);
}

#[tokio::test]
async fn a_program_that_was_told_to_end_is_not_started_again() {
    for signal in [Signal::TERM, Signal::KILL, Signal::USR1] {
        let processes = processes("echo up; exec sleep 1000", Restart::Always, 10);
        let process = processes.spawn("blog", &[], &[]).await.unwrap();
        says(&process, "up").await;
        processes.signal(process.id(), signal).unwrap();
        process.wait().await;
        left_alone(&processes).await;
        assert_eq!(processes.find("blog").unwrap().unwrap().id(), process.id());
    }
}

#[tokio::test]
async fn a_paused_program_that_dies_is_started_again() {
    let processes = processes("echo up; exec sleep 1000", Restart::Always, 10);
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    says(&process, "up").await;
    processes.signal(process.id(), Signal::STOP).unwrap();
    // By somebody else.
    process.signal(Signal::KILL);
    lives(&processes, 2).await;
    processes.shutdown().await;
}

#[tokio::test]
async fn who_is_told_to_end_before_the_restart_stays_ended() {
    let processes = processes("exit 1", Restart::OnFailure, 10);
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    process.wait().await;
    // The first pause has begun or is about to; a life that came in between is told to end, too.
    let current = processes.find("blog").unwrap().unwrap();
    processes.signal(current.id(), Signal::TERM).unwrap();
    left_alone(&processes).await;
    assert_eq!(processes.find("blog").unwrap().unwrap().id(), current.id());
}

#[tokio::test]
async fn nothing_is_started_again_when_the_router_ends() {
    let processes = processes("exit 1", Restart::Always, 1000);
    processes.spawn("blog", &[], &[]).await.unwrap();
    lives(&processes, 2).await;
    processes.shutdown().await;
    left_alone(&processes).await;
    let last = processes.find("blog").unwrap().unwrap();
    last.wait().await;
    assert_eq!(processes.find("blog").unwrap().unwrap().id(), last.id());
}

#[test]
fn pauses_grow_and_have_a_bound() {
    let pauses: Vec<_> = (0..12).map(pause).collect();
    assert!(pauses.is_sorted());
    assert_eq!((pauses[0], pauses[1], pauses[11]), (FIRST_PAUSE, FIRST_PAUSE * 2, LONGEST_PAUSE));
    assert_eq!(pause(usize::MAX), LONGEST_PAUSE);
}
