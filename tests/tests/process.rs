//! The process provider through the binary.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, Router, curl, needs, process};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// A router with the sleeping workload `hello`.
fn asleep(boot: Duration, idle: &str) -> Result<(Router, Hello)> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), boot)?;
    home.configure(&[hello.provider(), hello.workload(idle)].concat())?;
    Ok((home.start()?, hello))
}

/// Returns whether curl is installed. Otherwise the test is recorded as skipped.
fn has_curl(test: &str) -> bool {
    match needs::lacks(&["curl"]) {
        Some(lack) => {
            needs::skip(test, &lack);
            false
        }
        None => true,
    }
}

#[test]
fn a_request_is_held_until_the_backend_it_woke_answers_and_then_it_sleeps_again() -> Result<()> {
    let boot = Duration::from_millis(700);
    let (router, hello) = asleep(boot, "1s")?;
    assert_eq!(router.phase("hello")?, "asleep");
    assert_eq!(hello.starts()?, [0; 0], "it was started without a request");

    let answer = router.get("any.example", "/")?;
    assert_eq!(answer.status, 200);
    assert!(answer.first_byte >= boot, "{:?}", answer.first_byte);
    assert!(answer.text().contains("start 1"), "{}", answer.text());

    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    let starts = hello.starts()?;
    assert_eq!(starts.len(), 1);
    assert!(!process::exists(starts[0]), "asleep, but the process runs");

    assert!(router.get("any.example", "/")?.text().contains("start 2"));
    Ok(())
}

#[test]
fn a_hundred_visitors_wake_it_once_and_all_are_answered() -> Result<()> {
    if !has_curl("a_hundred_visitors") {
        return Ok(());
    }
    let (router, hello) = asleep(Duration::from_millis(500), "never")?;
    let url = router.url("/");
    let statuses = thread::scope(|scope| {
        let visitors = (0..100)
            .map(|_| {
                scope
                    .spawn(|| curl(&["--output", "/dev/null", "--write-out", "%{http_code}", &url]))
            })
            .collect::<Vec<_>>();
        visitors
            .into_iter()
            .map(|visitor| visitor.join().expect("the visitor does not panic"))
            .map(|output| Ok(String::from_utf8(output?.stdout)?))
            .collect::<Result<Vec<_>>>()
    })?;
    assert_eq!(statuses, vec!["200"; 100]);
    assert_eq!(hello.starts()?.len(), 1);
    Ok(())
}

#[test]
fn a_response_longer_than_the_idle_time_arrives_complete() -> Result<()> {
    if !has_curl("an_answer_that_takes_longer") {
        return Ok(());
    }
    let (router, hello) = asleep(Duration::ZERO, "500ms")?;
    let output = curl(&[&router.url("/slow?seconds=3")])?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 30, "{text}");
    assert_eq!(hello.starts()?.len(), 1);
    router.wait_for_phase("hello", "asleep", PATIENCE)
}

#[test]
fn a_request_body_sent_to_a_sleeping_backend_arrives_complete() -> Result<()> {
    if !has_curl("a_request_body") {
        return Ok(());
    }
    let (router, _hello) = asleep(Duration::from_millis(300), "never")?;
    let file = router.home().path().join("upload");
    fs::write(&file, vec![b'x'; 5_000_000])?;
    let data = format!("@{}", file.display());
    let output = curl(&["--data-binary", &data, &router.url("/")])?;
    assert_eq!(String::from_utf8(output.stdout)?, "got 5000000 bytes\n");
    Ok(())
}

#[test]
fn a_browser_gets_a_page_that_reloads_and_a_program_is_held() -> Result<()> {
    if !has_curl("a_browser_gets_a_page") {
        return Ok(());
    }
    let (router, _hello) = asleep(Duration::from_secs(2), "never")?;
    let browser = [
        "--include",
        "--header",
        "accept: text/html,application/xhtml+xml,*/*;q=0.8",
        "--header",
        "sec-fetch-mode: navigate",
        "--header",
        "sec-fetch-dest: document",
    ];
    let url = router.url("/some/place?x=1");
    let page = String::from_utf8(curl(&[&browser[..], &[&url]].concat())?.stdout)?;
    let head = page.to_lowercase();
    assert!(head.starts_with("http/1.1 503"), "{page}");
    assert!(head.contains("retry-after:"), "{page}");
    assert!(head.contains("no-store"), "{page}");
    assert!(head.contains("text/html"), "{page}");

    let held = String::from_utf8(curl(&[&url])?.stdout)?;
    assert!(held.contains("start 1"), "{held}");
    let again = String::from_utf8(curl(&[&browser[..], &[&url]].concat())?.stdout)?;
    assert!(
        again.contains("start 1"),
        "a browser does not get the response of the awake backend: {again}"
    );
    Ok(())
}

#[test]
fn a_rejecting_route_sends_retry_after_and_still_wakes() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::from_millis(300))?;
    let rejecting = format!(
        "[[route]]\nhost = \"busy.example\"\nworkload = \"hello\"\nport = {}\nwaiting = \"reject\"\n",
        hello.port()
    );
    home.configure(&[hello.provider(), hello.workload("never"), rejecting].concat())?;
    let router = home.start()?;

    let answer = router.get("busy.example", "/")?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{}", answer.head);
    router.wait_for_phase("hello", "ready", PATIENCE)?;
    assert_eq!(router.get("busy.example", "/")?.status, 200);
    Ok(())
}

#[test]
fn the_operator_can_wake_a_workload_and_put_it_to_sleep() -> Result<()> {
    let (router, hello) = asleep(Duration::ZERO, "never")?;
    let output = router.home().drowse(&["wake", "hello"])?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    router.wait_for_phase("hello", "ready", PATIENCE)?;
    let id = hello.starts()?[0];
    assert!(process::exists(id));

    let output = router.home().drowse(&["sleep", "hello"])?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    assert!(!process::exists(id));

    let output = router.home().drowse(&["wake", "nobody"])?;
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("nobody"), "{stderr}");
    Ok(())
}

#[test]
fn sleep_wait_returns_when_a_visitor_wakes_the_workload_again() -> Result<()> {
    let (router, hello) = asleep(Duration::ZERO, "never")?;
    thread::scope(|scope| {
        let inside = scope.spawn(|| router.get("any.example", "/slow?seconds=5"));
        router.wait_for_phase("hello", "ready", PATIENCE)?;
        until_inside(&router)?;
        let sleep = scope.spawn(|| router.home().drowse(&["sleep", "hello", "--wait=60s"]));
        router.wait_for_phase("hello", "draining", PATIENCE)?;
        let next = router.get("any.example", "/")?;
        assert!(next.text().contains("start 2"), "{}", next.text());
        assert_eq!(inside.join().expect("the visitor does not panic")?.status, 200);
        let output = sleep.join().expect("the operator does not panic")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("woken again"), "{stderr}");
        anyhow::Ok(())
    })?;
    assert_eq!(hello.starts()?.len(), 2);
    Ok(())
}

fn until_inside(router: &Router) -> Result<()> {
    drowse_tests::until("the visitor is inside", PATIENCE, || {
        (router.workload("hello").ok()?["visits"].as_u64()? > 0).then_some(())
    })
}

#[test]
fn a_backend_that_dies_is_woken_by_the_next_visitor() -> Result<()> {
    let (router, hello) = asleep(Duration::ZERO, "never")?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    process::kill(hello.starts()?[0])?;
    let answer = router.get("any.example", "/")?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("start 2"), "{}", answer.text());
    Ok(())
}

/// The provider `process` with the command `hello` with additional keys.
fn granted(hello: &Hello, keys: &str) -> String {
    let run = hello.run();
    format!(
        "[provider.process]\nplugin = \"process\"\ncommand.hello = {{ run = {run:?}, {keys} }}\n\n"
    )
}

#[test]
fn a_backend_with_a_restart_grant_is_restarted_after_a_crash_but_not_after_a_sleep() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let provider = granted(&hello, "restart = \"on-failure\"");
    home.configure(&[provider, hello.workload("never")].concat())?;
    let router = home.start()?;
    assert!(router.get("any.example", "/")?.text().contains("start 1"));
    process::kill(hello.starts()?[0])?;
    drowse_tests::until("it is restarted without a visitor", PATIENCE, || {
        (hello.starts().ok()?.len() == 2).then_some(())
    })?;
    let answer = router.get("any.example", "/")?;
    assert!(answer.status == 200 && answer.text().contains("start 2"), "{}", answer.text());

    ensure!(router.home().drowse(&["sleep", "hello"])?.status.success());
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    let starts = hello.starts()?;
    assert_eq!(starts.len(), 2);
    assert!(!process::exists(starts[1]), "asleep, but the process runs");
    // The next start is triggered by a visitor.
    assert!(router.get("any.example", "/")?.text().contains("start 3"));
    Ok(())
}

#[test]
fn a_limit_that_cannot_be_set_is_reported_and_the_program_is_not_started() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let provider = granted(&hello, "limits = { open-files = 256, cgroup = \"/nonexistent\" }");
    home.configure(&[provider, hello.workload("never")].concat())?;
    let router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 503);
    let status = router.workload("hello")?.to_string();
    assert!(status.contains("limits.cgroup: /nonexistent/cgroup.procs"), "{status}");
    Ok(())
}

#[test]
fn a_woken_program_has_its_limits_and_is_found_again_after_a_router_crash() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let provider = granted(&hello, "limits = { open-files = 256, cpu-time = \"1h\" }");
    home.configure(&[provider, hello.workload("never")].concat())?;
    let mut router = home.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    let id = hello.starts()?[0];
    let limits = fs::read_to_string(format!("/proc/{id}/limits"))?;
    let line = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let held = |name: &str| line(name).split_whitespace().skip(3).collect::<Vec<_>>();
    assert_eq!(held("Max open files")[..2], ["256", "256"], "{limits}");
    assert_eq!(held("Max cpu time")[..2], ["3600", "3600"], "{limits}");
    let run = fs::read_to_string(format!("/proc/{id}/cmdline"))?;
    assert_eq!(run.trim_end_matches('\0').split('\0').collect::<Vec<_>>(), hello.run());

    router.signal(Signal::KILL)?;
    drowse_tests::until("the router has ended", PATIENCE, || router.ended().ok().flatten())?;
    let router = router.stop()?.start()?;
    router.wait_for_phase("hello", "ready", PATIENCE)?;
    assert!(router.get("any.example", "/")?.text().contains("start 1"), "it was restarted");
    Ok(())
}

#[test]
fn a_visitor_that_gives_up_does_not_stop_the_wake() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::held(&programs, home.path())?;
    home.configure(&[hello.provider(), hello.workload("never")].concat())?;
    let router = home.start()?;
    let mut visitor = TcpStream::connect(router.address())?;
    visitor.write_all(b"GET / HTTP/1.1\r\nhost: any.example\r\n\r\n")?;
    router.wait_for_phase("hello", "waking", PATIENCE)?;
    drop(visitor);
    drowse_tests::until("no visitor waits", PATIENCE, || {
        (router.workload("hello").ok()?["waiting"] == 0).then_some(())
    })?;
    hello.release()?;
    router.wait_for_phase("hello", "ready", PATIENCE)?;
    assert_eq!(hello.starts()?.len(), 1);
    Ok(())
}

#[test]
fn a_keep_alive_connection_without_a_request_keeps_nothing_awake() -> Result<()> {
    let (router, _hello) = asleep(Duration::ZERO, "500ms")?;
    let mut visitor = TcpStream::connect(router.address())?;
    visitor.set_read_timeout(Some(PATIENCE))?;
    let request = b"GET / HTTP/1.1\r\nhost: any.example\r\n\r\n";
    visitor.write_all(request)?;
    let first = read_answer(&mut visitor)?;
    assert!(first.contains("start 1"), "{first}");
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    visitor.write_all(request)?;
    let second = read_answer(&mut visitor)?;
    assert!(second.contains("start 2"), "{second}");
    Ok(())
}

#[test]
fn the_router_stops_its_processes_when_it_exits() -> Result<()> {
    let (router, hello) = asleep(Duration::ZERO, "never")?;
    router.get("any.example", "/")?;
    let id = hello.starts()?[0];
    assert!(process::exists(id));
    router.stop()?;
    ensure!(!process::exists(id), "process {id} was left behind");
    Ok(())
}

#[test]
fn a_router_dropped_with_a_request_in_flight_stops_its_processes() -> Result<()> {
    let (router, hello) = asleep(Duration::ZERO, "never")?;
    let mut visitor = TcpStream::connect(router.address())?;
    visitor.write_all(b"GET /slow?seconds=120 HTTP/1.1\r\nhost: any.example\r\n\r\n")?;
    visitor.read_exact(&mut [0]).context("the answer does not begin")?;
    let id = hello.starts()?[0];
    drop(router);
    ensure!(!process::exists(id), "process {id} was left behind");
    Ok(())
}

#[test]
fn a_backend_that_cannot_start_is_named_with_its_reason() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    home.configure(
        "[provider.process]\nplugin = \"process\"\n\
         command.broken = { run = [\"/nowhere/at-all\"] }\n\n\
         [workload.broken]\nprovider = \"process\"\nwake = { timeout = \"5s\" }\n\n\
         [[route]]\nworkload = \"broken\"\nport = 1\n",
    )?;
    let router = home.start()?;
    let answer = router.get("any.example", "/")?;
    assert!([502, 503].contains(&answer.status), "{}", answer.status);
    assert!(answer.text().contains("broken"), "{}", answer.text());
    let status = router.workload("broken")?.to_string();
    assert!(status.contains("/nowhere/at-all"), "{status}");
    Ok(())
}

/// Reads one response of the example backend. Its bodies end with a newline.
fn read_answer(visitor: &mut TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b" s.\n") {
        visitor.read_exact(&mut byte).context("read an answer")?;
        answer.push(byte[0]);
    }
    Ok(String::from_utf8(answer)?)
}
