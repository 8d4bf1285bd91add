//! Wake overhead of the router.
//!
//! The overhead is the time from a visitor's request to its first byte, minus the engine's own start
//! call, minus the time until the backend first answers a client that polls in a tight loop.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Docker, Hello, Home, Programs, Router, client, needs};

use super::{relay::Relay, samples::Samples};
use crate::{apt, build, test, workspace::Workspace};

/// Number of wakes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Number of wakes of the process provider.
    #[arg(long, default_value_t = 200)]
    process: usize,
    /// Number of wakes of the docker provider.
    #[arg(long, default_value_t = 60)]
    docker: usize,
}

/// Times of all wakes in milliseconds.
#[derive(Default)]
struct Wakes {
    engine: Samples,
    visitor: Samples,
    overhead: Samples,
}

/// Interval of the tight polling loop.
const POLL: Duration = Duration::from_micros(100);

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = build::programs(workspace)?;
    apt::ensure(test::ENGINES)?;

    println!("\nmilliseconds, median and 99th percentile");
    println!(
        "{:<10} {:>6}  {:>16}  {:>16}  {:>16}",
        "provider", "wakes", "engine and boot", "visitor", "overhead"
    );
    process(&programs, options.process)?.print("process", options.process);
    match Docker::lacks() {
        Some(lack) => needs::skip("docker", &lack),
        None => docker(&programs, options.docker)?.print("docker", options.docker),
    }
    println!("\nbudget: 5 ms overhead");
    Ok(())
}

/// The program records its start time while a tight loop polls it. The time from the router's start of
/// the program to the program's first line counts as overhead.
fn process(programs: &Programs, wakes: usize) -> Result<Wakes> {
    let home = Home::new(programs)?;
    let hello = Hello::new(programs, home.path(), Duration::ZERO)?;
    home.configure(&[hello.provider(), hello.workload("never")].concat())?;
    let router = home.start()?;
    let mut measured = Wakes::default();
    for wake in 0..=wakes {
        let (answers, visitor) = thread::scope(|scope| {
            let watcher = scope.spawn(|| first_answer(hello.address()));
            let visitor = visit(&router)?;
            anyhow::Ok((watcher.join().expect("the watcher does not panic")?, visitor))
        })?;
        sleep(&router)?;
        // Discard the first wake, which fills caches.
        if wake > 0 {
            measured.add(answers.duration_since(hello.started()?)?, visitor);
        }
    }
    router.stop()?;
    Ok(measured)
}

/// A relay records when the start call reaches the engine; a tight loop polls the container after the
/// call is answered.
fn docker(programs: &Programs, wakes: usize) -> Result<Wakes> {
    let engine = Docker::start()?;
    engine.create_web("bench", 0.0)?;
    engine.run(&["start", "bench"])?;
    let address = address(&engine)?;
    engine.run(&["kill", "bench"])?;

    let home = Home::new(programs)?;
    let socket = home.path().join("relay.sock");
    let mut relay = Relay::begin(&socket, engine.socket())?;
    home.configure(&format!(
        "[provider.docker]\nplugin = \"docker\"\nendpoint.engine = {{ url = \"unix://{}\" }}\n\n\
         [workload.hello]\nprovider = \"docker\"\ntarget = \"bench\"\nidle = \"never\"\n\
         sleep = {{ method = \"kill\" }}\n\n\
         [[route]]\nworkload = \"hello\"\nport = 80\n",
        socket.display(),
    ))?;
    let router = home.start()?;
    let mut measured = Wakes::default();
    for wake in 0..=wakes {
        let (own, visitor) = thread::scope(|scope| {
            let relay = &mut relay;
            let watcher = scope.spawn(move || -> Result<_> {
                let asked = relay.next(PATIENCE)?;
                Ok((asked, first_answer(address)?))
            });
            let visitor = visit(&router)?;
            let (asked, answers) = watcher.join().expect("the watcher does not panic")?;
            anyhow::Ok((answers.duration_since(asked)?, visitor))
        })?;
        ensure!(self::address(&engine)? == address, "the container changed its address");
        sleep(&router)?;
        // Discard the first wake, which fills caches.
        if wake > 0 {
            measured.add(own, visitor);
        }
    }
    router.stop()?;
    Ok(measured)
}

fn address(engine: &Docker) -> Result<SocketAddr> {
    let inspected = engine.inspect("bench")?;
    let networks = inspected["NetworkSettings"]["Networks"].as_object().context("no networks")?;
    let address = networks.values().find_map(|network| network["IPAddress"].as_str());
    let address = address.context("the container has no address")?;
    Ok(SocketAddr::new(address.parse()?, 80))
}

/// Polls a server until it answers, and returns that time.
fn first_answer(address: SocketAddr) -> Result<SystemTime> {
    let begin = Instant::now();
    while !client::answers(address) {
        ensure!(begin.elapsed() < PATIENCE, "{address} did not answer within {PATIENCE:?}");
        // Leave the cores to the router and the backend.
        thread::sleep(POLL);
    }
    Ok(SystemTime::now())
}

fn visit(router: &Router) -> Result<Duration> {
    let answer = router.get("bench.example", "/")?;
    ensure!(answer.status == 200, "the answer is {}: {}", answer.status, answer.text());
    Ok(answer.first_byte)
}

fn sleep(router: &Router) -> Result<()> {
    let output = router.home().drowse(&["sleep", "hello", "--wait"])?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "drowse sleep: {stderr}");
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

// === impl Wakes ===

impl Wakes {
    fn add(&mut self, engine: Duration, visitor: Duration) {
        self.engine.add(millis(engine));
        self.visitor.add(millis(visitor));
        self.overhead.add(millis(visitor) - millis(engine));
    }

    fn print(&self, provider: &str, wakes: usize) {
        let pair = |samples: &Samples| format!("{:7.2} {:8.2}", samples.median(), samples.p99());
        println!(
            "{provider:<10} {wakes:>6}  {}  {}  {}",
            pair(&self.engine),
            pair(&self.visitor),
            pair(&self.overhead),
        );
    }
}
