//! The router stays controllable if something hangs, and exits on signals.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, HungFilesystem, Process, Programs, client, needs, process, until};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum time of a response of the control socket, with a margin for busy machines.
const PROMPT: Duration = Duration::from_secs(3);

/// A provider whose only command is on the hung file system, and its workload.
fn stuck(hung: &HungFilesystem) -> String {
    format!(
        "[provider.stuck]\nplugin = \"process\"\ncommand.stuck = {{ run = [{:?}] }}\n\n\
         [workload.stuck]\nprovider = \"stuck\"\n\n\
         [[route]]\nhost = \"stuck.example\"\nworkload = \"stuck\"\nport = 1\n\n",
        hung.path().join("program")
    )
}

#[test]
fn a_program_on_a_hung_file_system_blocks_neither_others_nor_the_status_nor_the_exit() -> Result<()>
{
    if let Some(lack) = HungFilesystem::lacks() {
        needs::skip("a_program_on_a_filesystem_that_hangs", &lack);
        return Ok(());
    }
    let programs = Programs::from_env();
    let hung = HungFilesystem::mount()?;
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&[hello.provider(), hello.workload("never"), stuck(&hung)].concat())?;
    let mut router = home.start()?;
    let refused = thread::scope(|scope| {
        let visitor = scope.spawn(|| router.get("stuck.example", "/"));
        router.wait_for_phase("stuck", "waking", PATIENCE)?;
        let asked = Instant::now();
        router.status()?;
        ensure!(asked.elapsed() < PROMPT, "the status took {:?}", asked.elapsed());
        let asked = Instant::now();
        ensure!(router.get("any.example", "/")?.status == 200);
        ensure!(asked.elapsed() < PROMPT, "another provider's wake took {:?}", asked.elapsed());
        visitor.join().expect("the visitor does not panic")
    })?;
    assert_eq!(refused.status, 503, "{}", refused.text());
    let status_text = router.workload("stuck")?.to_string();
    assert!(
        status_text.contains("did not start within 5 s; is its filesystem reachable?"),
        "{status_text}"
    );

    let asked = Instant::now();
    router.signal(Signal::TERM)?;
    let ended = until("the router ends", PATIENCE, || router.ended().ok().flatten())?;
    assert!(asked.elapsed() < 2 * PROMPT, "it took {:?}", asked.elapsed());
    assert_eq!(ended.code(), Some(0), "{}", router.log().tail(20));
    // The stuck launcher holds no resources: the next router gets the ports, the lock and the socket.
    let router = router.stop()?.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    Ok(())
}

#[test]
fn a_second_signal_ends_the_router_quickly_with_the_signal_in_its_exit_code() -> Result<()> {
    let programs = Programs::from_env();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let home = Home::new(&programs)?;
        let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
        // A program that ignores SIGTERM has five minutes, but not after the second signal.
        let deaf = "trap '' TERM; echo $$ > deaf; while :; do sleep 1; done";
        let grants = format!(
            "[provider.deaf]\nplugin = \"process\"\n\
             command.deaf = {{ run = [\"/bin/sh\", \"-c\", {deaf:?}], directory = {:?} }}\n\n\
             [workload.deaf]\nprovider = \"deaf\"\nsleep = {{ grace = \"300s\" }}\n\n\
             [[route]]\nhost = \"deaf.example\"\nworkload = \"deaf\"\nport = 1\n\n",
            home.path()
        );
        home.configure(&[hello.provider(), hello.workload("never"), grants].concat())?;
        let mut router = home.start()?;
        ensure!(router.home().drowse(&["wake", "deaf"])?.status.success());
        let pid: u32 = until("the program runs", PATIENCE, || {
            fs::read_to_string(router.home().path().join("deaf")).ok()?.trim().parse().ok()
        })?;
        let mut visitor = TcpStream::connect(router.address())?;
        visitor.write_all(b"GET /slow?seconds=120 HTTP/1.1\r\nhost: any.example\r\n\r\n")?;
        visitor.read_exact(&mut [0]).context("the answer does not begin")?;

        router.signal(signal)?;
        router.log().wait("the router drains", 0, PATIENCE, |line| line.contains("ending: no"))?;
        let asked = Instant::now();
        router.signal(signal)?;
        let ended = until("the router ends", PATIENCE, || router.ended().ok().flatten())?;
        assert!(asked.elapsed() < 3 * PROMPT, "it took {:?}", asked.elapsed());
        assert_eq!(ended.code(), Some(code), "{}", router.log().tail(20));
        ensure!(!process::exists(hello.starts()?[0]), "the backend was left behind");
        ensure!(!process::exists(pid), "the program that ignores SIGTERM was left behind");
    }
    Ok(())
}

/// Starts the router through a shell, which can change inherited limits, with this destination of its log.
fn by_shell(home: &Home, first: &str, words: &[&str], log: Stdio) -> Result<Process> {
    let programs = Programs::from_env();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("{first} exec \"$0\" \"$@\"")])
        .arg(&programs.router)
        .args(["run", "--config"])
        .arg(home.config())
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let router = Process::spawn("the router", &mut command, PATIENCE)?;
    until("the router answers", PATIENCE, || {
        home.drowse(&["status"]).ok()?.status.success().then_some(())
    })?;
    Ok(router)
}

#[test]
fn with_few_descriptors_operator_and_clients_are_served() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    home.configure(&[hello.provider(), hello.workload("never")].concat())?;
    let log = home.path().join("log");
    let mut router = by_shell(&home, "ulimit -n 256;", &[], File::create(&log)?.into())?;

    let visitors: Vec<TcpStream> =
        (0..400).map(|_| Ok(TcpStream::connect(home.address())?)).collect::<Result<_>>()?;
    let asked = Instant::now();
    let output = home.drowse(&["status", "--json"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(asked.elapsed() < PROMPT, "the status took {:?}", asked.elapsed());
    for mut visitor in &visitors {
        visitor.set_read_timeout(Some(PATIENCE))?;
        visitor.write_all(b"GET / HTTP/1.1\r\nhost: any.example\r\nconnection: close\r\n\r\n")?;
    }
    for (number, mut visitor) in visitors.into_iter().enumerate() {
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).with_context(|| format!("visitor {number}"))?;
        assert!(answer.starts_with("HTTP/1.1 200"), "visitor {number}: {answer}");
    }
    ensure!(router.stop()?, "it had to be killed");
    let log = fs::read_to_string(log)?;
    assert!(log.contains("connections lowered from 20000 to"), "{log}");
    assert!(!log.contains("no connection accepted"), "it ran out of descriptors: {log}");
    assert_eq!(hello.starts()?.len(), 1);
    Ok(())
}

#[test]
fn an_unread_log_blocks_neither_requests_nor_the_exit() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    home.configure("")?;
    let mut router = by_shell(&home, "", &["--log", "debug"], Stdio::piped())?;
    // Several hundred bytes of log per request: several times the capacity of a pipe.
    for _ in 0..2000 {
        let answer = client::get(home.address(), "nowhere.example", "/", PROMPT)?;
        assert_eq!(answer.status, 404);
    }
    let asked = Instant::now();
    ensure!(router.stop()?, "it had to be killed");
    assert!(asked.elapsed() < 2 * PROMPT, "it took {:?}", asked.elapsed());
    Ok(())
}
