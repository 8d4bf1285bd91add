//! Hostile plugins, while other workloads are served at a thousand requests per second.

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

/// Maximum wait of a visitor of a hostile workload: the limits below plus a margin for a machine under
/// load.
const BOUND: Duration = Duration::from_secs(15);

/// A hostile behaviour and the words by which the status names it.
struct Behaviour {
    name: &'static str,
    handle: &'static str,
    words: &'static [&'static str],
}

const BEHAVIOURS: &[Behaviour] = &[
    behaviour("loop", "loop", &["200 ms"]),
    behaviour("memory", "memory", &["32 MiB", "memory"]),
    behaviour("stack", "stack", &["stack"]),
    behaviour("log", "log", &["200 ms"]),
    behaviour("response", "response", &["4 MiB", "response"]),
    behaviour("panic", "panic", &["no such luck"]),
    behaviour("hang", "hang", &["2 s"]),
    behaviour("ungranted", "ungranted", &["nowhere", "provider.hostile"]),
    behaviour("authorization", "authorization", &["uthorization"]),
    behaviour("command", "command", &["sh", "provider.hostile"]),
    behaviour("outside", "path:/images/json", &["GET /images/json", "rules"]),
];

/// Paths that some servers interpret differently than the rules.
const AMBIGUOUS_PATHS: &[&str] = &[
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

const fn behaviour(
    name: &'static str,
    handle: &'static str,
    words: &'static [&'static str],
) -> Behaviour {
    Behaviour { name, handle, words }
}

/// A fake engine: answers `/endless` with an endless body and other requests with their request line,
/// and records requests. Its threads end with their connections.
#[derive(Clone, Default)]
struct Engine {
    requests: Arc<Mutex<Vec<String>>>,
}

/// A router with an awake workload `hello` and additional `tables`.
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

/// Checks that a visitor gets an error in bounded time, and that the status names the cause.
fn is_contained(router: &Router, behaviour: &Behaviour) -> Result<()> {
    let begin = Instant::now();
    let answer = router.get(&format!("{}.example", behaviour.name), "/")?;
    let took = begin.elapsed();
    let (name, text) = (behaviour.name, answer.text());
    ensure!([502, 503, 504].contains(&answer.status), "{name}: {}: {text}", answer.status);
    ensure!(took < BOUND, "{name}: the visitor waited {took:?}");
    let failure_text = router.workload(name)?["failure"].to_string();
    for word in behaviour.words {
        ensure!(
            failure_text.contains(word),
            "{name}: {word:?} is not in the status: {failure_text}"
        );
    }
    Ok(())
}

#[test]
fn hostile_plugins_are_contained_while_others_get_a_thousand_requests_per_second() -> Result<()> {
    if let Some(lack) = needs::lacks(&["hey"]) {
        needs::skip("hostile_plugins_are_contained", &lack);
        return Ok(());
    }
    let (router, _hello) = router(&Engine::default(), |hello| {
        let deeds = BEHAVIOURS.iter().map(|behaviour| workload(behaviour.name, behaviour.handle));
        let stopper = workload("stopper", &format!("hang-in-stop:127.0.0.1:{}", hello.port()));
        deeds.collect::<String>()
            + &stopper.replace("port = 80", &format!("port = {}", hello.port()))
    })?;

    let mut load = Load::begin(&router.url("/"), "good.example", 1000, 30)?;
    let mut rounds = 0;
    while load.runs()? {
        for behaviour in BEHAVIOURS {
            is_contained(&router, behaviour)?;
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
    println!("{rounds} rounds of behaviours at {:.0} requests a second", report.rate);
    Ok(())
}

fn hang_in_stop_is_contained(router: &Router) -> Result<()> {
    ensure!(router.get("stopper.example", "/")?.status == 200, "the stopper does not wake");
    router.home().drowse(&["sleep", "stopper"])?;
    until("the status names the stop that hangs", BOUND, || {
        let failure_text = router.workload("stopper").ok()?["failure"].to_string();
        (failure_text.contains("stop") && failure_text.contains(" s")).then_some(())
    })
}

#[test]
fn no_ambiguous_path_reaches_the_engine() -> Result<()> {
    let engine = Engine::default();
    let (router, _hello) = router(&engine, |_| {
        let tricks = AMBIGUOUS_PATHS.iter().enumerate();
        let tables =
            tricks.map(|(n, path)| workload(&format!("trick{n}"), &format!("path:{path}")));
        tables.collect::<String>() + &workload("allowed", "path:/containers/a/json")
    })?;
    for (n, path) in AMBIGUOUS_PATHS.iter().enumerate() {
        let answer = router.get(&format!("trick{n}.example"), "/")?;
        assert!([502, 503].contains(&answer.status), "{path}: {}", answer.status);
        let failure_text = router.workload(&format!("trick{n}"))?["failure"].to_string();
        assert!(failure_text.contains("denied"), "{path}: {failure_text}");
    }
    assert_eq!(engine.requests(), [""; 0], "a request reached the engine");

    // The same call with an unambiguous path is permitted.
    router.get("allowed.example", "/")?;
    assert_eq!(engine.requests(), ["GET /containers/a/json HTTP/1.1"]);
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
                // Clients may disconnect at any time.
                thread::spawn(move || engine.answer(stream).ok());
            }
        });
        Ok(())
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let asked = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
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
