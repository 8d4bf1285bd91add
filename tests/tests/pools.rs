//! A pool of fifty workloads with a limit of ten, through the binary.

use std::{
    env, fs,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Home, Programs, Router, client, ports, process, until};

const WORKLOADS: usize = 50;
const CEILING: usize = 10;
const WALKERS: usize = 12;
/// Maximum wait for a place.
const STARVED: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);

/// Duration of the random walk: 20 seconds, or `DROWSE_WALK_SECONDS`.
fn walk() -> Duration {
    let printed = env::var("DROWSE_WALK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(printed.unwrap_or(20))
}

/// A router with a pool of `ceiling` and workloads `w0`, `w1`, … of the process provider in it.
fn pool(workloads: usize, ceiling: usize, more: &str) -> Result<Router> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = programs.hello.display().to_string();
    let mut commands = "[provider.process]\nplugin = \"process\"\n".to_owned();
    let mut tables = format!("\n[pool.small]\nmax-awake = {ceiling}\n{more}");
    for number in 0..workloads {
        let port = ports::free()?.to_string();
        let run = [hello.as_str(), "--port", &port];
        commands += &format!("command.w{number} = {{ run = {run:?} }}\n");
        tables += &format!(
            "\n[workload.w{number}]\nprovider = \"process\"\nidle = \"1h\"\npool = \"small\"\n\n\
             [[route]]\nhost = \"w{number}.pool\"\nworkload = \"w{number}\"\nport = {port}\n"
        );
    }
    home.configure(&(commands + &tables))?;
    home.start()
}

/// Number of running backends. Launchers, which have not executed their program yet, are not counted:
/// they run the router's own program.
fn backends(router: u32) -> usize {
    let program = |process: u32| fs::read_link(format!("/proc/{process}/exe")).ok();
    let own = program(router);
    let programs = process::children(router).into_iter().flatten().filter_map(program);
    programs.filter(|program| Some(program) != own.as_ref()).count()
}

fn visit(address: SocketAddr, number: usize, slow: bool) -> Result<Duration> {
    let path = if slow { "/slow?seconds=1" } else { "/" };
    let begin = Instant::now();
    let answer = client::get(address, &format!("w{number}.pool"), path, STARVED)?;
    ensure!(answer.status == 200, "w{number} answered {}: {}", answer.status, answer.text());
    if slow {
        let lines = answer.text().matches("line").count();
        ensure!(lines >= 10, "w{number} broke off: {}", answer.text());
    }
    Ok(begin.elapsed().max(answer.first_byte))
}

#[test]
fn a_random_walk_over_fifty_workloads_never_has_more_than_ten_awake_and_loses_nobody() -> Result<()>
{
    let router = pool(WORKLOADS, CEILING, "queue-timeout = \"1m\"\n")?;
    let (address, id) = (router.address(), router.id());
    let (ended, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (waits, losses) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let end = Instant::now() + walk();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                most.fetch_max(backends(id), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let walkers: Vec<_> = (0..WALKERS)
            .map(|_| {
                scope.spawn(|| {
                    while Instant::now() < end {
                        match visit(address, fastrand::usize(..WORKLOADS), fastrand::u8(..10) == 0)
                        {
                            Ok(wait) => waits.lock().expect("no panic").push(wait),
                            Err(error) => losses.lock().expect("no panic").push(error),
                        }
                        thread::sleep(Duration::from_millis(fastrand::u64(..300)));
                    }
                })
            })
            .collect();
        for walker in walkers {
            walker.join().expect("no panic");
        }
        ended.store(true, Ordering::Relaxed);
    });
    let mut waits = waits.into_inner()?;
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() * share / 100).min(waits.len() - 1)];
    let most = most.into_inner();
    println!(
        "{} visits, at most {most} awake, waits p50 {:?} p99 {:?} max {:?}",
        waits.len(),
        at(50),
        at(99),
        at(100)
    );
    let losses = losses.into_inner()?;
    ensure!(losses.is_empty(), "{} visits were lost, such as {:#}", losses.len(), losses[0]);
    ensure!(most <= CEILING, "{most} were awake at a time");
    ensure!(most == CEILING, "the walk never filled the pool: {most}");
    ensure!(at(100) < STARVED, "a visitor starved");
    Ok(())
}

#[test]
fn a_wake_in_a_full_pool_shows_its_position_and_proceeds_when_there_is_room() -> Result<()> {
    let router = pool(2, 1, "")?;
    let address = router.address();
    thread::scope(|scope| -> Result<()> {
        let first =
            scope.spawn(move || client::get(address, "w0.pool", "/slow?seconds=4", PATIENCE));
        router.wait_for_phase("w0", "ready", PATIENCE)?;
        let second = scope.spawn(move || client::get(address, "w1.pool", "/", PATIENCE));
        let stage = until("w1 waits for a slot", PATIENCE, || {
            let stage = router.workload("w1").ok()?["stage"].as_str()?.to_owned();
            stage.contains("waits for a slot").then_some(stage)
        })?;
        ensure!(stage.contains("1 of 1"), "{stage}");
        let status = router.status()?;
        let pool = &status["pools"][0];
        ensure!(pool["awake"] == 1 && pool["queue"][0] == "w1", "{pool:#}");
        let first = first.join().expect("no panic")?;
        ensure!(first.status == 200, "{}", first.text());
        let second = second.join().expect("no panic")?;
        ensure!(second.status == 200, "{}", second.text());
        router.wait_for_phase("w0", "asleep", PATIENCE)
    })
}

#[test]
fn a_queue_that_is_full_refuses_the_next_wake_by_name() -> Result<()> {
    let router = pool(3, 1, "max-queued = 1\n")?;
    let address = router.address();
    thread::scope(|scope| -> Result<()> {
        let inside =
            scope.spawn(move || client::get(address, "w0.pool", "/slow?seconds=3", PATIENCE));
        router.wait_for_phase("w0", "ready", PATIENCE)?;
        let waits = scope.spawn(move || client::get(address, "w1.pool", "/", PATIENCE));
        until("w1 waits", PATIENCE, || router.workload("w1").ok()?["stage"].as_str().map(drop))?;
        let refused = client::get(address, "w2.pool", "/", PATIENCE)?;
        ensure!(refused.status == 503, "{}", refused.status);
        let failure = router.workload("w2")?["failure"]["message"].clone();
        let failure = failure.as_str().context("no failure is shown")?;
        ensure!(failure.contains("pool \"small\" is full"), "{failure}");
        ensure!(inside.join().expect("no panic")?.status == 200);
        ensure!(waits.join().expect("no panic")?.status == 200);
        Ok(())
    })
}
