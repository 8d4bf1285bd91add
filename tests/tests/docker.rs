//! The docker provider through the binary, on a real engine.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Docker, Home, Programs, Router};

const PATIENCE: Duration = Duration::from_secs(60);

/// A WebSocket client of the package python3-websockets: it sends each line of its input and prints
/// the replies.
const WEBSOCKET_CLIENT: &str = "
import asyncio, sys, websockets

async def main():
    loop = asyncio.get_running_loop()
    async with websockets.connect(sys.argv[1], open_timeout=60) as socket:
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            await socket.send(line)
            print(await socket.recv(), flush=True)

asyncio.run(main())
";

/// An open WebSocket.
struct WebSocket {
    client: Child,
}

/// A router with one container of the engine.
fn router(engine: &Docker, container: &str, idle: &str) -> Result<Router> {
    let home = Home::new(&Programs::from_env())?;
    home.configure(&tables(engine, container, idle))?;
    home.start()
}

fn tables(engine: &Docker, container: &str, idle: &str) -> String {
    format!(
        "[provider.docker]\nplugin = \"docker\"\nendpoint.engine = {{ url = \"unix://{}\" }}\n\n\
         [workload.web]\nprovider = \"docker\"\ntarget = \"{container}\"\nidle = \"{idle}\"\n\
         sleep = {{ grace = \"1s\" }}\n\n\
         [[route]]\nworkload = \"web\"\nport = 80\n",
        engine.socket().display(),
    )
}

#[test]
fn two_hundred_visitors_start_a_container_once_and_it_is_stopped_once() -> Result<()> {
    let Some(engine) = Docker::shared("two_hundred_visitors") else { return Ok(()) };
    engine.create_web("visitors", 1.0)?;
    let events = engine.events("visitors")?;
    let router = router(engine, "visitors", "2s")?;

    let url = router.url("/");
    let arguments =
        ["--silent", "--max-time", "60", "--output", "/dev/null", "--write-out", "%{http_code}"];
    let visitors = (0..200)
        .map(|_| Command::new("curl").args(arguments).arg(&url).stdout(Stdio::piped()).spawn())
        .collect::<Result<Vec<_>, _>>()?;
    let statuses = visitors
        .into_iter()
        .map(|visitor| Ok(String::from_utf8(visitor.wait_with_output()?.stdout)?))
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(statuses, vec!["200"; 200]);
    events.wait("start", PATIENCE)?;
    assert_eq!(events.count("start"), 1, "{:?}", events.so_far());
    assert_eq!(events.count("stop"), 0, "{:?}", events.so_far());

    events.wait("stop", PATIENCE)?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    assert!(!engine.is_running("visitors")?);
    assert_eq!(events.count("start"), 1, "{:?}", events.so_far());
    assert_eq!(events.count("stop"), 1, "{:?}", events.so_far());
    Ok(())
}

#[test]
fn a_container_is_not_stopped_during_a_download() -> Result<()> {
    let Some(engine) = Docker::shared("a_download") else { return Ok(()) };
    engine.create_web("download", 0.0)?;
    let events = engine.events("download")?;
    let router = router(engine, "download", "500ms")?;

    // Five seconds, ten times the idle time.
    let output = drowse_tests::curl(&[&router.url("/cgi-bin/slow?50")])?;
    let ended = now()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout)?.lines().count(), 50);

    let asked_to_stop = events.wait("kill", PATIENCE)?;
    let margin = Duration::from_millis(100).as_nanos();
    assert!(
        asked_to_stop.at + margin > ended,
        "stopped during the download: {:?}",
        events.so_far()
    );
    events.wait("stop", PATIENCE)?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    assert_eq!(events.count("stop"), 1, "{:?}", events.so_far());
    assert_eq!(events.count("start"), 1, "{:?}", events.so_far());
    Ok(())
}

#[test]
fn a_container_is_not_stopped_while_a_websocket_is_open() -> Result<()> {
    let Some(engine) = Docker::shared("a_websocket") else { return Ok(()) };
    engine.create_echo("echo")?;
    let events = engine.events("echo")?;
    let router = router(engine, "echo", "500ms")?;

    let mut socket = WebSocket::open(&format!("ws://{}/", router.address()))?;
    assert_eq!(socket.echo("one")?, "one");
    // Silence for several idle times. Nothing happens, so there is no event to wait for.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(events.count("kill"), 0, "{:?}", events.so_far());
    assert_eq!(router.phase("web")?, "ready");
    assert_eq!(socket.echo("two")?, "two");
    socket.close()?;

    events.wait("stop", PATIENCE)?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    assert_eq!(events.count("start"), 1, "{:?}", events.so_far());
    Ok(())
}

#[test]
fn a_manually_paused_container_is_woken() -> Result<()> {
    let Some(engine) = Docker::shared("paused_by_hand") else { return Ok(()) };
    engine.create_web("paused", 0.0)?;
    engine.run(&["start", "paused"])?;
    engine.run(&["pause", "paused"])?;
    let router = router(engine, "paused", "never")?;
    let answer = router.get("any.example", "/")?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Ok(())
}

#[test]
fn a_pausing_workload_is_paused_and_resumed() -> Result<()> {
    let Some(engine) = Docker::shared("a_pausing_workload") else { return Ok(()) };
    engine.create_web("pausing", 0.0)?;
    let events = engine.events("pausing")?;
    let home = Home::new(&Programs::from_env())?;
    let tables = tables(engine, "pausing", "500ms");
    home.configure(
        &tables.replace("sleep = { grace = \"1s\" }", "sleep = { method = \"pause\" }"),
    )?;
    let router = home.start()?;
    for _ in 0..2 {
        assert_eq!(router.get("any.example", "/")?.status, 200);
        router.wait_for_phase("web", "asleep", PATIENCE)?;
        assert_eq!(engine.inspect("pausing")?["State"]["Paused"], true);
    }
    events.wait_for(2, "pause", PATIENCE)?;
    assert_eq!(events.count("start"), 1, "{:?}", events.so_far());
    assert_eq!(events.count("pause"), 2, "{:?}", events.so_far());
    assert_eq!(events.count("unpause"), 1, "{:?}", events.so_far());
    Ok(())
}

#[test]
fn a_manually_started_container_is_ready_and_a_manually_stopped_one_is_woken_again() -> Result<()> {
    let Some(engine) = Docker::shared("by_hand") else { return Ok(()) };
    engine.create_web("by-hand", 0.0)?;
    let router = router(engine, "by-hand", "never")?;
    engine.run(&["start", "by-hand"])?;
    router.wait_for_phase("web", "ready", PATIENCE)?;
    engine.run(&["kill", "by-hand"])?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    Ok(())
}

#[test]
fn visitors_between_the_removal_of_a_container_and_its_recreation_are_held() -> Result<()> {
    let Some(engine) = Docker::shared("recreation") else { return Ok(()) };
    engine.create_web("again", 0.0)?;
    let router = router(engine, "again", "never")?;
    assert_eq!(router.get("any.example", "/")?.status, 200);

    let over = AtomicBool::new(false);
    let visits = thread::scope(|scope| {
        let visitor = || -> Result<Vec<(Instant, u16, Instant)>> {
            let mut visits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = router.get("any.example", "/");
                // A connection that breaks with its container counts as status 0.
                visits.push((begun, answer.map_or(0, |answer| answer.status), Instant::now()));
                thread::sleep(Duration::from_millis(20));
            }
            Ok(visits)
        };
        let visitors: Vec<_> = (0..4).map(|_| scope.spawn(visitor)).collect();
        let rounds = (0..4).map(|_| -> Result<[Instant; 2]> {
            engine.run(&["rm", "--force", "again"])?;
            thread::sleep(Duration::from_millis(300));
            let gap = Instant::now();
            engine.create_web("again", 0.0)?;
            let created = Instant::now();
            thread::sleep(Duration::from_secs(1));
            Ok([gap, created])
        });
        let rounds = rounds.collect::<Result<Vec<_>>>();
        over.store(true, Ordering::Relaxed);
        let visitors = visitors.into_iter().map(|visitor| visitor.join().expect("no panic"));
        Ok::<_, anyhow::Error>((rounds?, visitors.collect::<Result<Vec<_>>>()?.concat()))
    });
    let (rounds, visits) = visits?;
    let refused: Vec<_> = visits.iter().filter(|(_, status, _)| *status == 503).collect();
    ensure!(refused.is_empty(), "{refused:?} in {rounds:?}; {}", router.log().tail(40));
    for [gap, created] in rounds {
        let mut held = 0;
        for (begun, status, ended) in &visits {
            // The request was active during the gap, whenever it was sent.
            if *begun < created && *ended > gap {
                held += 1;
                ensure!(*status == 200, "{status} in the gap: {}", router.log().tail(40));
                let late = ended.saturating_duration_since(created);
                ensure!(late < PATIENCE, "answered {late:?} after the creation");
            }
        }
        ensure!(held > 0, "no visitor was held in the gap");
    }
    Ok(())
}

#[test]
fn a_manually_restarted_woken_container_sleeps_again() -> Result<()> {
    let Some(engine) = Docker::shared("restarted_by_hand") else { return Ok(()) };
    engine.create_web("restarted", 0.0)?;
    let events = engine.events("restarted")?;
    let router = router(engine, "restarted", "3s")?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    engine.run(&["restart", "--time", "0", "restarted"])?;
    events.wait("restart", PATIENCE)?;
    drowse_tests::until("it sleeps again", PATIENCE, || {
        let asleep = router.phase("web").is_ok_and(|phase| phase == "asleep");
        (asleep && engine.is_running("restarted").is_ok_and(|runs| !runs)).then_some(())
    })?;
    assert_eq!(events.count("start"), 2, "{:?}", events.so_far());
    Ok(())
}

#[test]
fn a_missing_container_is_reported_and_others_are_served() -> Result<()> {
    let Some(engine) = Docker::shared("does_not_exist") else { return Ok(()) };
    engine.create_web("exists", 0.0)?;
    let home = Home::new(&Programs::from_env())?;
    home.configure(&format!(
        "{}\n[workload.ghost]\nprovider = \"docker\"\ntarget = \"no-such-container\"\n\n\
         [[route]]\nhost = \"ghost.example\"\nworkload = \"ghost\"\nport = 80\n",
        tables(engine, "exists", "never"),
    ))?;
    let router = home.start()?;
    let answer = router.get("ghost.example", "/")?;
    assert!([502, 503].contains(&answer.status), "{}", answer.status);
    assert!(answer.text().contains("ghost"), "{}", answer.text());
    let status = router.workload("ghost")?.to_string();
    assert!(status.contains("no-such-container"), "{status}");
    assert_eq!(router.get("any.example", "/")?.status, 200);

    // The container appears, and is woken without a restart of the router.
    engine.create_web("no-such-container", 0.0)?;
    drowse_tests::until("the new container is woken", PATIENCE, || {
        (router.get("ghost.example", "/").ok()?.status == 200).then_some(())
    })
}

fn now() -> Result<u128> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(now.as_nanos())
}

// === impl WebSocket ===

impl WebSocket {
    fn open(url: &str) -> Result<Self> {
        let client = Command::new("/usr/bin/python3")
            .args(["-c", WEBSOCKET_CLIENT, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the WebSocket client")?;
        Ok(Self { client })
    }

    fn echo(&mut self, line: &str) -> Result<String> {
        let input = self.client.stdin.as_mut().context("the client is closed")?;
        writeln!(input, "{line}")?;
        let mut answer = String::new();
        let output = self.client.stdout.as_mut().context("the client is closed")?;
        // One reply per line, so nothing is left in this reader.
        BufReader::new(output).read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    fn close(mut self) -> Result<()> {
        drop(self.client.stdin.take());
        let status = self.client.wait()?;
        ensure!(status.success(), "the WebSocket client ended with {status}");
        Ok(())
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        // After a close it has already exited.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
