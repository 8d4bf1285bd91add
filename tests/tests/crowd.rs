//! Ten thousand concurrent visitors of a sleeping workload.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, Router, limits, memory::Memory, needs, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

const VISITORS: usize = 10_000;

/// Concurrent connection attempts. More than the accept queue would be retransmitted after a second,
/// which makes the test longer without testing more.
const CONNECTING: usize = 1000;

const PATIENCE: Duration = Duration::from_secs(120);

/// Maximum memory of the router per waiting visitor, in bytes.
const BYTES_PER_VISITOR: u64 = 32 << 10;

/// Waits for a file, then executes the program that follows.
const GATED: &str = "while [ ! -e \"$0\" ]; do sleep 0.01; done; exec \"$@\"";

/// A response: its status line, and the time of its last byte.
struct Answered {
    status: String,
    at: SystemTime,
}

/// A router with a backend that starts when the file `gate` exists.
fn router(gate: &std::path::Path, home: Home, hello: &Hello) -> Result<Router> {
    let mut run = ["sh", "-c", GATED].map(str::to_owned).into_iter().collect::<Vec<_>>();
    run.push(gate.display().to_string());
    run.extend(hello.run());
    home.configure(&format!(
        "[provider.process]\nplugin = \"process\"\ncommand.hello = {{ run = {run:?} }}\n\n{}",
        hello.workload("never"),
    ))?;
    home.start()
}

#[test]
fn ten_thousand_visitors_wake_it_once_and_all_are_answered_within_bounded_memory() -> Result<()> {
    let files = limits::open_files()?;
    if files < VISITORS as u64 + 200 {
        needs::skip("ten_thousand_visitors", &format!("only {files} files may be open"));
        return Ok(());
    }
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let gate = home.path().join("gate");
    let router = router(&gate, home, &hello)?;
    let before = Memory::of(router.id())?;

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let crowd = gather(&runtime, router.address());
    until("all visitors wait", PATIENCE, || {
        let waiting = router.workload("hello").ok()?["waiting"].as_u64()?;
        (waiting == VISITORS as u64).then_some(())
    })
    .with_context(|| {
        format!("the router reports {:#}", router.workload("hello").unwrap_or_default())
    })?;
    let waiting = Memory::of(router.id())?;
    fs::write(&gate, "")?;

    let answers = runtime.block_on(crowd.join_all());
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let after = Memory::of(router.id())?;
    let bad = answers.iter().filter(|answer| !answer.status.contains(" 200 ")).collect::<Vec<_>>();
    assert!(
        bad.is_empty(),
        "{} of {VISITORS} were not answered 200, the first {:?}; the router's log ends:\n{}",
        bad.len(),
        bad[0].status,
        router.log().tail(40),
    );
    assert_eq!(hello.starts()?.len(), 1);
    let started = |line: &&String| line.contains("process started");
    assert_eq!(router.log().since(0).iter().filter(started).count(), 1);

    let ready = ready_at(&router)?;
    let last = answers.iter().map(|answer| answer.at).max().context("no response")?;
    let first = answers.iter().map(|answer| answer.at).min().context("no response")?;
    let per_visitor = |memory: u64| memory.saturating_sub(before.resident) / VISITORS as u64;
    writeln!(
        io::stderr(),
        "{VISITORS} visitors: 1 start, all answered; from readiness to the first answer {:.1?}, to \
         the last {:.1?}\nthe router's memory: {} KiB asleep, {} KiB when all waited ({} bytes \
         each), {} KiB at most ({} bytes each), {} KiB afterwards",
        first.duration_since(ready).unwrap_or_default(),
        last.duration_since(ready).unwrap_or_default(),
        before.resident >> 10,
        waiting.resident >> 10,
        per_visitor(waiting.resident),
        after.peak >> 10,
        per_visitor(after.peak),
        after.resident >> 10,
    )?;
    assert!(
        per_visitor(after.peak) < BYTES_PER_VISITOR,
        "a waiting visitor took {} bytes",
        per_visitor(after.peak)
    );
    assert_eq!(router.get("any.example", "/")?.status, 200, "a request after the crowd failed");
    Ok(())
}

/// Sends all requests, each on its own connection.
fn gather(runtime: &Runtime, router: SocketAddr) -> JoinSet<Result<Answered>> {
    let _inside = runtime.enter();
    let connecting = Arc::new(Semaphore::new(CONNECTING));
    let mut crowd = JoinSet::new();
    for number in 0..VISITORS {
        let connecting = connecting.clone();
        crowd.spawn(async move {
            let visit = visit(router, connecting);
            let answered = timeout(PATIENCE * 2, visit).await;
            answered.context("no answer").flatten().with_context(|| format!("visitor {number}"))
        });
    }
    crowd
}

async fn visit(router: SocketAddr, connecting: Arc<Semaphore>) -> Result<Answered> {
    let mut stream = {
        let _turn = connecting.acquire().await?;
        TcpStream::connect(router).await.context("connect")?
    };
    let request = b"GET / HTTP/1.1\r\nhost: any.example\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.context("ask")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("read the answer")?;
    let at = SystemTime::now();
    let text = String::from_utf8(answer)?;
    let status = text.lines().next().unwrap_or_default().to_owned();
    ensure!(!status.is_empty(), "the connection ended without an answer");
    Ok(Answered { status, at })
}

/// When the gate opened, from the router's log, whose times are in UTC.
fn ready_at(router: &Router) -> Result<SystemTime> {
    let lines = router.log().since(0);
    let line = lines.iter().find(|line| line.contains(" phase=ready "));
    let line = line.context("the router logged no readiness")?;
    let (_, time) = line.split_once('T').context("no time")?;
    let time = time.split('Z').next().unwrap_or_default();
    let seconds = time
        .split(':')
        .try_fold(0.0, |sum, part| part.parse::<f64>().map(|part| sum * 60.0 + part))?;
    const DAY: f64 = 86_400.0;
    let now = SystemTime::now();
    let today = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() % DAY;
    Ok(now - Duration::from_secs_f64((today - seconds).rem_euclid(DAY)))
}
