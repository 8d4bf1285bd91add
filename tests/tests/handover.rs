//! Containers are removed, killed and disconnected during requests. The engine reassigns addresses within
//! milliseconds, and no request may be answered by the wrong container.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Docker, EngineRelay, Home, Programs, Router, client, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// Clients of the constant load. Each sends requests on new connections in a loop.
const CLIENTS: usize = 12;
/// Pause between two requests of a client.
const PAUSE: Duration = Duration::from_millis(40);
/// Longer than the kernel's first SYN retransmission timeout.
const AGAIN: Duration = Duration::from_millis(1300);

/// Shell script of a server that answers with its name, shortly after its start.
const NAMED: &str = "echo \"$NAME\" > /www/index.html; exec httpd -f -p 80 -h /www";

/// Constant load on one host. Responses are counted by their text.
struct Load {
    over: Arc<AtomicBool>,
    answers: Arc<Mutex<BTreeMap<String, usize>>>,
    clients: Vec<JoinHandle<()>>,
}

// === impl Load ===

impl Load {
    fn begin(router: SocketAddr, host: &'static str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Mutex::new(BTreeMap::new()));
        let client = |_| {
            let (over, answers) = (over.clone(), answers.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let what = match client::get(router, host, "/", PATIENCE) {
                        Ok(answer) if answer.status == 200 => answer.text().trim().to_owned(),
                        Ok(answer) => answer.status.to_string(),
                        Err(error) => format!("{error:#}"),
                    };
                    *answers
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .entry(what)
                        .or_default() += 1;
                    thread::sleep(PAUSE);
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { over, answers, clients }
    }

    fn count(&self, what: &str) -> usize {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(what).copied().unwrap_or_default()
    }

    fn end(mut self) -> BTreeMap<String, usize> {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client does not panic");
        }
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn create(engine: &Docker, name: &str) -> Result<()> {
    let name_is = format!("NAME={name}");
    engine
        .run(&["create", "--name", name, "--env", &name_is, "web", "/bin/sh", "-c", NAMED])
        .map(drop)
}

/// A router with these containers, which uses the engine at this socket.
fn router(socket: &std::path::Path, containers: &[&str]) -> Result<Router> {
    let home = Home::new(&Programs::from_env())?;
    let mut tables = format!(
        "[provider.docker]\nplugin = \"docker\"\nendpoint.engine = {{ url = \"unix://{}\" }}\n",
        socket.display()
    );
    for name in containers {
        tables += &format!(
            "[workload.{name}]\nprovider = \"docker\"\ntarget = \"{name}\"\nidle = \"never\"\n\
             [[route]]\nhost = \"{name}.example\"\nworkload = \"{name}\"\nport = 80\n",
        );
    }
    home.configure(&tables)?;
    home.start()
}

fn address(engine: &Docker, name: &str) -> Result<String> {
    let inspected = engine.inspect(name)?;
    let address = inspected["NetworkSettings"]["IPAddress"].as_str();
    Ok(address.context("it has no address")?.to_owned())
}

#[test]
fn no_request_is_answered_by_the_next_owner_of_an_address() -> Result<()> {
    let Some(engine) = Docker::shared("given_the_address") else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("engine.sock");
    let relay = EngineRelay::begin(&socket, engine.socket())?;
    create(engine, "first")?;
    create(engine, "second")?;
    let router = router(&socket, &["first", "second"])?;
    let load = Load::begin(router.address(), "first.example");
    let (mut rounds, mut reassigned) = (0, 0);
    while rounds < 6 {
        let before = load.count("first");
        until("the first one answers", PATIENCE, || (load.count("first") > before).then_some(()))
            .with_context(|| format!("the router's log ends:\n{}", router.log().tail(40)))?;
        // In the last rounds there are no events.
        if rounds == 4 {
            ensure!(relay.cut_events() > 0, "no event stream was open");
        }
        let old = address(engine, "first")?;
        engine.run(&["rm", "--force", "first"])?;
        engine.run(&["start", "second"])?;
        reassigned += usize::from(address(engine, "second")? == old);
        thread::sleep(AGAIN);
        engine.run(&["kill", "second"])?;
        create(engine, "first")?;
        if rounds >= 4 {
            // The router believes that it is missing, and gets no event about its return.
            router.drowse(&["wake", "first"])?;
        }
        rounds += 1;
    }
    let answers = load.end();
    println!("{answers:?}, reassigned {reassigned} times");
    ensure!(reassigned > 0, "the engine never reassigned the address");
    ensure!(!answers.contains_key("second"), "answered by the wrong container: {answers:?}");
    relay.restore_events();
    Ok(())
}

#[test]
fn a_single_request_right_after_a_kill_is_served_by_the_next_start() -> Result<()> {
    let Some(engine) = Docker::shared("right_after_a_kill") else { return Ok(()) };
    create(engine, "single")?;
    let router = router(&engine.socket(), &["single"])?;
    let mut slowest = Duration::ZERO;
    for verb in [&["kill"][..], &["stop", "--time", "0"], &["kill"]] {
        ensure!(router.get("single.example", "/")?.status == 200);
        engine.run(&[verb, &["single"]].concat())?;
        let answer = router.get("single.example", "/")?;
        ensure!(answer.status == 200, "{verb:?}: {} {}", answer.status, answer.text());
        slowest = slowest.max(answer.first_byte);
    }
    println!("the slowest took {slowest:?}");
    // A dial that outlives its container would take three to five seconds.
    ensure!(slowest < Duration::from_millis(2500), "{slowest:?}");
    Ok(())
}

#[test]
fn an_open_stream_ends_with_the_network_of_its_container() -> Result<()> {
    let Some(engine) = Docker::shared("the_network_of_its_container") else { return Ok(()) };
    engine.create_web("cut-off", 0.0)?;
    engine.run(&["network", "create", "handover"])?;
    engine.run(&["network", "connect", "handover", "cut-off"])?;
    engine.run(&["network", "disconnect", "bridge", "cut-off"])?;
    let router = router(&engine.socket(), &["cut-off"])?;
    let mut stream = Command::new("curl")
        .args(["--silent", "--no-buffer", "--max-time", "60", "--header", "Host: cut-off.example"])
        .arg(router.url("/cgi-bin/slow?600"))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(stream.stdout.take().context("no output")?).lines();
    lines.next().context("no line")??;
    ensure!(router.workload("cut-off")?["visits"] == 1);

    engine.run(&["network", "disconnect", "handover", "cut-off"])?;
    let cut = Instant::now();
    for line in lines {
        line?;
    }
    let status = stream.wait()?;
    ensure!(cut.elapsed() < Duration::from_secs(2), "it hung for {:?}", cut.elapsed());
    ensure!(!status.success(), "the stream ended without an error");
    until("there is no visit", Duration::from_secs(2), || {
        (router.workload("cut-off").ok()?["visits"] == 0).then_some(())
    })?;
    engine.run(&["network", "connect", "handover", "cut-off"])?;
    ensure!(router.get("cut-off.example", "/")?.status == 200);
    Ok(())
}
