//! Guests that misbehave, while others are served at a thousand requests a second.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use drowse_tests::{Hello, Home, Programs, Router, load::Load, needs, until};

/// What a visitor of a misbehaving workload waits at most: the limits below and some slack for a
/// machine that is busy with the load.
const BOUND: Duration = Duration::from_secs(15);

/// A misdeed and the words by which the status names it.
struct Misdeed {
    name: &'static str,
    handle: &'static str,
    words: &'static [&'static str],
}

const MISDEEDS: &[Misdeed] = &[
    misdeed("loop", "loop", &["200 ms"]),
    misdeed("memory", "memory", &["32 MiB", "memory"]),
    misdeed("stack", "stack", &["stack"]),
    misdeed("log", "log", &["200 ms"]),
    misdeed("response", "response", &["4 MiB", "response"]),
    misdeed("panic", "panic", &["no such luck"]),
    misdeed("hang", "hang", &["2 s"]),
    misdeed("ungranted", "ungranted", &["nowhere", "provider.hostile"]),
    misdeed("authorization", "authorization", &["uthorization"]),
    misdeed("command", "command", &["sh", "provider.hostile"]),
    misdeed("outside", "path:/images/json", &["GET /images/json", "rules"]),
];

/// Paths that some servers read as another path than the rules do.
const TRICKS: &[&str] = &[
    "/containers/../images/json",
    "/containers/a/../../images/json",
    "/containers/./json",
    "/containers/%2e%2e/json",
    "/containers/a%2fb/json",
    "/containers/a%2Fb/json",
    "/containers/a%5cb/json",
    "/containers//json",
    "//containers/a/json",
    "/containers/a\\b/json",
    "/containers/a b/json",
    "/containers/a%00/json",
    "containers/a/json",
    "http://elsewhere/containers/a/json",
];

const fn misdeed(
    name: &'static str,
    handle: &'static str,
    words: &'static [&'static str],
) -> Misdeed {
    Misdeed { name, handle, words }
}

/// Answers `/endless` without end and everything else with its request line, and remembers what
/// it was asked. Its threads end with their connections.
#[derive(Clone, Default)]
struct Engine {
    asked: Arc<Mutex<Vec<String>>>,
}

/// A router with an awake workload `hello` and whatever `tables` add.
fn router(engine: &Engine, tables: impl FnOnce(&Hello) -> String) -> Result<(Router, Hello)> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    fs::copy(programs.hostile.join("hostile.wasm"), home.plugins().join("hostile.wasm"))?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let socket = home.path().join("engine.sock");
    engine.serve(&socket)?;
    home.configure(&format!(
        "{}{}\
         [provider.hostile]\nplugin = \"hostile\"\n\
         endpoint.engine = {{ url = \"unix://{}\" }}\n\
         limits = {{ cpu-time = \"200ms\", wall-time = \"2s\", memory = \"32MiB\", max-response-size = \"4MiB\" }}\n\n\
         {}",
        hello.provider(),
        hello.workload("never"),
        socket.display(),
        tables(&hello),
    ))?;
    let router = home.start()?;
    ensure!(router.get("good.example", "/")?.status == 200, "the good workload does not wake");
    Ok((router, hello))
}

fn workload(name: &str, handle: &str) -> String {
    format!(
        "[workload.{name}]\nprovider = \"hostile\"\ntarget = '{handle}'\n\
         sleep = {{ grace = \"500ms\" }}\nready = {{ started = true }}\n\
         wake = {{ cooldown = \"100ms\" }}\n\n\
         [[route]]\nhost = \"{name}.example\"\nworkload = \"{name}\"\nport = 80\n\n"
    )
}

/// A visitor is told of the failure in bounded time, and the status names the cause.
fn is_contained(router: &Router, misdeed: &Misdeed) -> Result<()> {
    let begin = Instant::now();
    let answer = router.get(&format!("{}.example", misdeed.name), "/")?;
    let took = begin.elapsed();
    let (name, text) = (misdeed.name, answer.text());
    ensure!([502, 503, 504].contains(&answer.status), "{name}: {}: {text}", answer.status);
    ensure!(took < BOUND, "{name}: the visitor waited {took:?}");
    let said = router.workload(name)?["failure"].to_string();
    for word in misdeed.words {
        ensure!(said.contains(word), "{name}: the status does not say {word:?}: {said}");
    }
    Ok(())
}

#[test]
fn misdeeds_stay_inside_while_others_are_served_a_thousand_times_a_second() -> Result<()> {
    if let Some(lack) = needs::lacks(&["hey"]) {
        needs::skip("misdeeds_stay_inside", &lack);
        return Ok(());
    }
    let (router, _hello) = router(&Engine::default(), |hello| {
        let deeds = MISDEEDS.iter().map(|misdeed| workload(misdeed.name, misdeed.handle));
        let stopper = workload("stopper", &format!("hang-in-stop:127.0.0.1:{}", hello.port()));
        deeds.collect::<String>()
            + &stopper.replace("port = 80", &format!("port = {}", hello.port()))
    })?;

    let mut load = Load::begin(&router.url("/"), "good.example", 1000, 30)?;
    let mut rounds = 0;
    while load.runs()? {
        for misdeed in MISDEEDS {
            is_contained(&router, misdeed)?;
        }
        if rounds == 0 {
            hang_in_stop_is_contained(&router)?;
        }
        rounds += 1;
    }
    let report = load.finish(Duration::from_secs(60))?;
    assert_eq!(report.answered, report.requests, "requests were lost:\n{}", report.text);
    assert!(rounds > 0);
    let faults = router.provider("hostile")?["faults"].as_u64();
    assert!(faults.is_some_and(|faults| faults >= 7), "{faults:?}");
    println!("{rounds} rounds of misdeeds at {:.0} requests a second", report.rate);
    Ok(())
}

fn hang_in_stop_is_contained(router: &Router) -> Result<()> {
    ensure!(router.get("stopper.example", "/")?.status == 200, "the stopper does not wake");
    router.home().drowse(&["sleep", "stopper"])?;
    until("the status names the stop that hangs", BOUND, || {
        let said = router.workload("stopper").ok()?["failure"].to_string();
        (said.contains("stop") && said.contains(" s")).then_some(())
    })
}

#[test]
fn no_trick_with_a_path_reaches_the_engine() -> Result<()> {
    let engine = Engine::default();
    let (router, _hello) = router(&engine, |_| {
        let tricks = TRICKS.iter().enumerate();
        let tables =
            tricks.map(|(n, path)| workload(&format!("trick{n}"), &format!("path:{path}")));
        tables.collect::<String>() + &workload("allowed", "path:/containers/a/json")
    })?;
    for (n, path) in TRICKS.iter().enumerate() {
        let answer = router.get(&format!("trick{n}.example"), "/")?;
        assert!([502, 503].contains(&answer.status), "{path}: {}", answer.status);
        let said = router.workload(&format!("trick{n}"))?["failure"].to_string();
        assert!(said.contains("denied"), "{path}: {said}");
    }
    assert_eq!(engine.asked(), [""; 0], "nothing went through");

    // The same call on an honest path does.
    router.get("allowed.example", "/")?;
    assert_eq!(engine.asked(), ["GET /containers/a/json HTTP/1.1"]);
    Ok(())
}

// === impl Engine ===

impl Engine {
    fn serve(&self, socket: &Path) -> Result<()> {
        let listener = UnixListener::bind(socket)?;
        let engine = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let engine = engine.clone();
                // Whoever hangs up in the middle has what it wanted.
                thread::spawn(move || engine.answer(stream).ok());
            }
        });
        Ok(())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let asked = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        if asked.contains("/endless") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 64 << 10])?;
            }
        }
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
        stream.write_all(format!("{head}{}\r\n\r\n{asked}", asked.len()).as_bytes())
    }
}
