use drowse_core::StopOptions;
use rustix::process::{Resource, getrlimit};

use super::*;
use crate::settings::{CommandLimits, Restart};

pub(super) fn grant(script: &str) -> CommandGrant {
    CommandGrant {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: BTreeMap::from([("GREETING".into(), "hello".into())]),
        directory: None,
        extra_arguments: false,
        extra_environment: Vec::new(),
        end: StopOptions { signal: None, grace: Duration::from_millis(100) },
        restart: Restart::Never,
        restart_limit: 10,
        limits: CommandLimits::default(),
    }
}

fn processes(script: &str) -> Arc<Processes> {
    with(grant(script))
}

pub(super) fn with(grant: CommandGrant) -> Arc<Processes> {
    let log_limiter = Arc::new(LogLimiter::new("process", 20));
    let grants = BTreeMap::from([("blog".into(), grant)]);
    Processes::new("process", grants, launch_options(None), log_limiter, Arc::default())
}

/// Uses the built router as launcher.
pub(super) fn launch_options(files: Option<u64>) -> LaunchOptions {
    let launcher = Some(drowse_tests::Programs::from_env().router);
    LaunchOptions { launcher, files, ..LaunchOptions::default() }
}

/// Waits until the process has written a line.
pub(super) async fn wait_for_line(process: &Process, line: &str) {
    let seen = async {
        while !String::from_utf8_lossy(&process.output(TAIL)).contains(line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.expect("the process writes its line");
}

const TAIL: usize = 64 << 10;

#[tokio::test]
async fn a_process_survives_its_caller_and_reports_exit_and_output() {
    let processes = processes("echo $GREETING $HOME; exit 7");
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    assert_eq!(process.wait().await, 7);
    assert_eq!(process.output(TAIL), b"hello\n", "no environment variable is inherited");
    assert_eq!(process.output(3), b"lo\n");
    assert_eq!(processes.find("blog").unwrap().unwrap().id(), process.id());
}

#[tokio::test]
async fn a_command_has_one_process_at_a_time() {
    let processes = processes("echo up; exec sleep 1000");
    let first = processes.spawn("blog", &[], &[]).await.unwrap();
    assert!(matches!(processes.spawn("blog", &[], &[]).await, Err(CommandError::Conflict(_))));
    first.signal(Signal::KILL);
    assert_eq!(first.wait().await, 128 + 9);
    let second = processes.spawn("blog", &[], &[]).await.unwrap();
    assert_ne!(first.id(), second.id());
    assert!(processes.by_id(first.id()).unwrap().is_none());
    assert!(matches!(processes.by_id(second.id() + 1), Err(CommandError::NotFound(_))));
    processes.shutdown().await;
    assert_eq!(second.exit_status(), Some(128 + 15));
    assert!(matches!(processes.spawn("blog", &[], &[]).await, Err(CommandError::Conflict(_))));
}

#[tokio::test]
async fn the_process_group_is_killed_when_its_leader_exits() {
    let processes = processes("sleep 1000 & echo child $!; exit 0");
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    assert_eq!(process.wait().await, 0);
    let output = String::from_utf8(process.output(TAIL)).unwrap();
    let child: i32 = output.trim().strip_prefix("child ").unwrap().parse().unwrap();
    let gone = async {
        // It is killed at once; its new parent reaps it soon.
        while running(child) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the child is killed");
}

fn running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed_on_shutdown() {
    let processes = processes("trap '' TERM; echo deaf; while :; do sleep 1000; done");
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    wait_for_line(&process, "deaf").await;
    // SIGTERM kills `sleep`, but not the shell.
    processes.shutdown().await;
    assert_eq!(process.exit_status(), Some(128 + 9));
}

#[tokio::test]
async fn shutdown_uses_the_granted_signal_and_grace_period() {
    let mut world = grant("trap 'echo saving; exit 5' INT; echo up; while :; do sleep 0.01; done");
    world.end = StopOptions { signal: Some("SIGINT".into()), grace: Duration::from_secs(30) };
    let processes = with(world);
    assert!(processes.max_shutdown_time() > Duration::from_secs(30));
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    wait_for_line(&process, "up").await;
    processes.shutdown().await;
    assert_eq!(
        process.exit_status(),
        Some(5),
        "{:?}",
        String::from_utf8_lossy(&process.output(TAIL))
    );
}

#[tokio::test]
async fn a_program_gets_the_configured_limit_of_open_files() {
    let grants = BTreeMap::from([("blog".into(), grant("ulimit -Sn"))]);
    let files = getrlimit(Resource::Nofile).current.map_or(64, |files| files.min(64));
    let log_limiter = Arc::new(LogLimiter::new("process", 20));
    let processes =
        Processes::new("process", grants, launch_options(Some(files)), log_limiter, Arc::default());
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    process.wait().await;
    assert_eq!(String::from_utf8_lossy(&process.output(TAIL)), format!("{files}\n"));
}

#[tokio::test]
async fn changes_waits_and_names_the_changed_commands() {
    let processes = processes("exit 0");
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    let (started, commands) = processes.changes(0).await;
    assert_eq!(commands, ["blog"]);
    process.wait().await;
    let (ended, commands) =
        if started < 2 { processes.changes(started).await } else { (started, commands) };
    assert_eq!((ended, commands), (2, vec!["blog".to_owned()]));
    let waiting = tokio::time::timeout(Duration::from_millis(20), processes.changes(ended)).await;
    assert!(waiting.is_err(), "there was no further change");
    assert_eq!(processes.changes(99).await.0, 2, "a number of an earlier router starts from 0");
}

#[tokio::test]
async fn ungranted_commands_and_additions_are_refused_with_the_line_to_add() {
    let processes = processes("exit 0");
    let refusal = |result: Result<Arc<Process>, CommandError>| match result {
        Err(CommandError::Denied(message)) => message,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was started"),
    };
    let unknown = refusal(processes.spawn("shop", &[], &[]).await);
    assert!(unknown.contains("add to [provider.process]: command.shop = { run = "), "{unknown}");
    let arguments = refusal(processes.spawn("blog", &["-x".into()], &[]).await);
    assert!(
        arguments.ends_with("add to [provider.process.command.blog]: allow-extra-arguments = true"),
        "{arguments}"
    );
    let variable =
        refusal(processes.spawn("blog", &[], &[("LD_PRELOAD".into(), "x".into())]).await);
    assert!(
        variable.ends_with(", \"LD_PRELOAD\"]") || variable.ends_with("= [\"LD_PRELOAD\"]"),
        "{variable}"
    );
}

#[tokio::test]
async fn a_missing_program_is_reported() {
    let mut missing = grant("");
    missing.program = "/no/such/program".into();
    let processes = with(missing);
    let Err(CommandError::Failed(message)) = processes.spawn("blog", &[], &[]).await else {
        panic!()
    };
    assert!(message.contains("/no/such/program cannot be started: No such file"), "{message}");
}

#[tokio::test]
async fn usage_covers_the_whole_process_group() {
    let processes = processes("(while :; do :; done) & echo up; wait");
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    wait_for_line(&process, "up").await;
    let busy = async {
        loop {
            let used = process.usage().unwrap().expect("it runs");
            // The shell only waits, so this is its child's CPU time.
            if used.cpu >= Duration::from_millis(50) {
                return used;
            }
            tokio::task::yield_now().await;
        }
    };
    let used = tokio::time::timeout(Duration::from_secs(20), busy).await.expect("it uses CPU");
    assert!((64 << 10..1 << 30).contains(&used.memory), "{used:?}");
    process.signal(Signal::KILL);
    process.wait().await;
    assert_eq!(process.usage().unwrap(), None);
}

#[tokio::test]
async fn signals_are_sent_by_name() {
    let script = "trap 'echo heard' WINCH; echo up; while :; do sleep 0.01; done";
    let processes = processes(script);
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    wait_for_line(&process, "up").await;
    process.signal(signal("SIGWINCH").unwrap());
    wait_for_line(&process, "heard").await;
    process.signal(signal("SIGXCPU").unwrap());
    assert_eq!(process.wait().await, 128 + Signal::XCPU.as_raw());
    assert_eq!(signal("SIGNOTHING"), None);
}

#[tokio::test]
async fn a_stopped_process_is_paused_until_it_is_continued() {
    let processes = processes("exec sleep 1000");
    let process = processes.spawn("blog", &[], &[]).await.unwrap();
    assert!(!process.paused());
    process.signal(Signal::STOP);
    assert!(process.paused());
    process.signal(Signal::TERM);
    assert!(process.paused(), "the signal is delivered when it continues");
    process.signal(Signal::CONT);
    assert!(!process.paused());
    assert_eq!(process.wait().await, 128 + 15);
    process.signal(Signal::STOP);
    assert!(!process.paused(), "it has ended");
}

#[tokio::test]
async fn a_running_process_is_adopted_by_the_next_router_once() {
    let home = tempfile::tempdir().unwrap();
    let open = || Arc::new(ProcessRecords::open(Some(home.path())));
    let log_limiter = || Arc::new(LogLimiter::new("process", 20));
    // It is started by a launcher, which must not be mistaken for it.
    let limits = CommandLimits { files: Some(64), ..CommandLimits::default() };
    let grant = CommandGrant { limits, ..grant("echo up; exec sleep 1000") };
    let grants = || BTreeMap::from([("blog".to_owned(), grant.clone())]);
    let first = Processes::new("process", grants(), launch_options(None), log_limiter(), open());
    let process = first.spawn("blog", &[], &[]).await.unwrap();
    wait_for_line(&process, "up").await;
    let (id, pid, began) = (process.id(), process.pid(), process.started_at());
    // Simulates a killed router, which stops no process.
    let records = std::fs::read(home.path().join("processes.json")).unwrap();

    let second = Processes::new("process", grants(), launch_options(None), log_limiter(), open());
    second.recover().await;
    let found = second.find("blog").unwrap().expect("it runs");
    assert_eq!((found.id(), found.pid(), found.started_at()), (id, pid, began));
    assert!(matches!(second.spawn("blog", &[], &[]).await, Err(CommandError::Conflict(_))));
    second.shutdown().await;
    assert_eq!(found.exit_status(), Some(-1), "the status is unknown as it is not our child");
    assert!(!running(i32::try_from(pid).unwrap()));

    // The record of a process that has exited: a process that reuses its PID is not touched.
    std::fs::write(home.path().join("processes.json"), records).unwrap();
    let third = Processes::new("process", grants(), launch_options(None), log_limiter(), open());
    third.recover().await;
    assert!(third.find("blog").unwrap().is_none());
    assert!(open().providers().is_empty(), "the record is removed");
}

#[tokio::test]
async fn a_process_of_a_command_that_is_no_longer_granted_is_stopped() {
    let home = tempfile::tempdir().unwrap();
    let open = || Arc::new(ProcessRecords::open(Some(home.path())));
    let log_limiter = || Arc::new(LogLimiter::new("process", 20));
    let grants = BTreeMap::from([("blog".to_owned(), grant("echo up; exec sleep 1000"))]);
    let first = Processes::new("process", grants, launch_options(None), log_limiter(), open());
    let process = first.spawn("blog", &[], &[]).await.unwrap();
    wait_for_line(&process, "up").await;

    let second =
        Processes::new("process", BTreeMap::new(), launch_options(None), log_limiter(), open());
    second.recover().await;
    assert_eq!(process.wait().await, 128 + 15);
    assert!(open().providers().is_empty());
}
