//! Requests reach the intended container when names, networks and ports change: attacks on a real engine,
//! with containers that answer with their own name.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    Docker, Home, Programs, Router, client, engine::PYTHON, memory::Memory, ports, until,
};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum duration of a request beyond the fault that it meets.
const BEYOND: Duration = Duration::from_secs(2);

/// A server that answers with its name, and to a POST also with the length of the body. Keeps connections
/// alive. `GET /exit` terminates it. It takes `$BOOT` seconds to start. Arguments: name, address, port.
const NAMED: &str = "
import http.server, os, signal, socket, socketserver, sys, time

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

time.sleep(float(os.environ.get('BOOT', '0')))

class Named(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        if self.path == '/exit':
            os._exit(1)
        self.say(sys.argv[1])

    def do_POST(self):
        left = length = int(self.headers['content-length'])
        while left:
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                return
            left -= len(piece)
        self.say(f'{sys.argv[1]} {length}')

    def say(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

# Not http.server.HTTPServer, which resolves its own name: without a network that takes seconds.
class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET
    allow_reuse_address = daemon_threads = True
    request_queue_size = 64

Server((sys.argv[2], int(sys.argv[3])), Named).serve_forever()
";

/// Creates a container that answers with its name on port 80, with additional options of `docker create`.
fn create(engine: &Docker, name: &str, options: &[&str]) -> Result<()> {
    create_on(engine, name, "0.0.0.0", 80, options)
}

fn create_on(
    engine: &Docker,
    name: &str,
    address: &str,
    port: u16,
    options: &[&str],
) -> Result<()> {
    let port = port.to_string();
    let words = ["create", "--name", name, "--volume", "/usr:/usr:ro"];
    let program = ["host", PYTHON, "-c", NAMED, name, address, &port];
    engine.run(&[&words, options, &program].concat()).map(drop)
}

/// Creates a network with a subnet of its own, so that a test can request addresses. `number` makes the
/// subnet unique.
fn network(engine: &Docker, name: &str, number: u32, more: &[&str]) -> Result<()> {
    let subnet = format!("10.205.{}.0/24", (std::process::id() + 50 * number) % 250);
    let words = ["network", "create", "--subnet", &subnet];
    engine.run(&[&words, more, &[name]].concat()).map(drop)
}

fn provider(engine: &Docker) -> String {
    format!(
        "[provider.docker]\nplugin = \"docker\"\nendpoint.engine = {{ url = \"unix://{}\" }}\n",
        engine.socket().display(),
    )
}

/// A workload with the name of its container, and a route for that name.
fn workload(name: &str, port: u16, idle: &str) -> String {
    format!(
        "\n[workload.{name}]\nprovider = \"docker\"\nidle = \"{idle}\"\n\
         sleep = {{ grace = \"2s\" }}\n\n\
         [[route]]\nhost = \"{name}.example\"\nworkload = \"{name}\"\nport = {port}\n",
    )
}

fn router(engine: &Docker, names: &[&str]) -> Result<Router> {
    let home = Home::new(&Programs::from_env())?;
    let workloads = names.iter().map(|name| workload(name, 80, "never"));
    home.configure(&format!("{}{}", provider(engine), workloads.collect::<String>()))?;
    home.start()
}

/// The name in the response; none without a status of 200.
fn answers(router: &Router, name: &str) -> Result<Option<String>> {
    let answer = router.get(&format!("{name}.example"), "/")?;
    Ok((answer.status == 200).then(|| answer.text()))
}

fn address(engine: &Docker, name: &str, network: &str) -> Result<String> {
    let address = &engine.inspect(name)?["NetworkSettings"]["Networks"][network]["IPAddress"];
    let address = address.as_str().filter(|address| !address.is_empty());
    Ok(address.with_context(|| format!("{name} has no address in {network}"))?.to_owned())
}

/// Checks for `time` that every response to a request for `name` is from `expected`. Requests may be held,
/// so each has a short timeout.
fn never_another(router: &Router, name: &str, expected: &str, time: Duration) -> Result<()> {
    let (begin, host) = (Instant::now(), format!("{name}.example"));
    while begin.elapsed() < time {
        let answer = client::get(router.address(), &host, "/", Duration::from_millis(500)).ok();
        let answered = answer.filter(|answer| answer.status == 200).map(|answer| answer.text());
        let right = answered.as_deref().is_none_or(|by| by == expected);
        ensure!(
            right,
            "a request for {name} was answered by {answered:?}; the log ends:\n{}",
            router.log().tail(30)
        );
    }
    Ok(())
}

#[test]
fn two_containers_that_swap_their_names_swap_their_visitors() -> Result<()> {
    let Some(engine) = Docker::shared("two_containers_that_swap_their_names") else {
        return Ok(());
    };
    create(engine, "swap-a", &[])?;
    create(engine, "swap-b", &[])?;
    let router = router(engine, &["swap-a", "swap-b"])?;
    for name in ["swap-a", "swap-b"] {
        assert_eq!(answers(&router, name)?.as_deref(), Some(name));
    }
    for (from, to) in [("swap-a", "swap-c"), ("swap-b", "swap-a"), ("swap-c", "swap-b")] {
        engine.run(&["rename", from, to])?;
    }
    // The event of the last rename may be slightly delayed.
    let limit = Duration::from_secs(1);
    for (name, by) in [("swap-a", "swap-b"), ("swap-b", "swap-a")] {
        until(&format!("{name} is answered by {by}"), limit, || {
            (answers(&router, name).ok()?? == by).then_some(())
        })?;
        never_another(&router, name, by, Duration::from_millis(300))?;
    }
    Ok(())
}

#[test]
fn a_container_in_a_removed_containers_network_is_not_mistaken_for_the_next_owner_of_its_address()
-> Result<()> {
    let Some(engine) = Docker::shared("a_container_in_the_network_of_one") else { return Ok(()) };
    network(engine, "shared", 0, &[])?;
    create(engine, "owner", &["--network", "shared"])?;
    create_on(engine, "sharer", "0.0.0.0", 81, &["--network", "container:owner"])?;
    engine.run(&["start", "owner"])?;
    let address = address(engine, "owner", "shared")?;
    // The next owner of the address listens on the shared port.
    create_on(engine, "heir", "0.0.0.0", 81, &["--network", "shared", "--ip", &address])?;
    let home = Home::new(&Programs::from_env())?;
    let workloads = workload("owner", 80, "never") + &workload("sharer", 81, "never");
    let heir = workload("heir", 81, "never");
    home.configure(&format!("{}{workloads}{heir}", provider(engine)))?;
    let router = home.start()?;
    // Two workloads at one address, with different ports.
    for name in ["owner", "sharer", "owner"] {
        assert_eq!(answers(&router, name)?.as_deref(), Some(name), "{}", router.log().tail(20));
    }
    engine.run(&["rm", "--force", "owner"])?;
    engine.run(&["start", "heir"])?;
    never_another(&router, "sharer", "sharer", Duration::from_secs(2))?;
    assert_eq!(answers(&router, "heir")?.as_deref(), Some("heir"));
    Ok(())
}

#[test]
fn a_host_port_taken_by_another_container_is_not_dialled_for_the_old_one() -> Result<()> {
    let Some(engine) = Docker::shared("a_port_of_the_machine") else { return Ok(()) };
    let port = ports::free()?;
    for name in ["port-a", "port-b"] {
        create_on(engine, name, "127.0.0.1", port, &["--network", "host"])?;
    }
    let home = Home::new(&Programs::from_env())?;
    let workloads = workload("port-a", port, "never") + &workload("port-b", port, "never");
    home.configure(&format!("{}{workloads}", provider(engine)))?;
    let router = home.start()?;
    assert_eq!(answers(&router, "port-a")?.as_deref(), Some("port-a"));
    engine.run(&["rm", "--force", "port-a"])?;
    engine.run(&["start", "port-b"])?;
    never_another(&router, "port-a", "port-a", Duration::from_secs(1))?;
    assert_eq!(answers(&router, "port-b")?.as_deref(), Some("port-b"));
    Ok(())
}

#[test]
fn an_address_reassigned_while_the_router_was_down_is_not_dialled_for_the_old_container()
-> Result<()> {
    let Some(engine) = Docker::shared("an_address_handed_on") else { return Ok(()) };
    network(engine, "handed", 1, &["--ipv6", "--subnet", "fd00:d0::/64"])?;
    create_on(engine, "handed-a", "::", 80, &["--network", "handed"])?;
    let mut router = router(engine, &["handed-a", "handed-b"])?;
    assert_eq!(answers(&router, "handed-a")?.as_deref(), Some("handed-a"));
    let old = address(engine, "handed-a", "handed")?;
    let six = engine.inspect("handed-a")?;
    let six = &six["NetworkSettings"]["Networks"]["handed"]["GlobalIPv6Address"];
    let six = six.as_str().context("no IPv6 address")?;
    let words = ["--network", "handed", "--ip", &old, "--ip6", six];
    create_on(engine, "handed-b", "::", 80, &words)?;
    router.signal(Signal::KILL)?;
    let home = router.stop()?;
    engine.run(&["rm", "--force", "handed-a"])?;
    engine.run(&["start", "handed-b"])?;
    let router = home.start()?;
    never_another(&router, "handed-a", "handed-a", Duration::from_secs(1))?;
    assert_eq!(answers(&router, "handed-b")?.as_deref(), Some("handed-b"));
    Ok(())
}

#[test]
fn a_visitor_waiting_for_a_container_is_not_sent_to_the_next_owner_of_its_address() -> Result<()> {
    let Some(engine) = Docker::shared("a_visitor_who_waits_for_a_container") else {
        return Ok(());
    };
    network(engine, "waits", 2, &[])?;
    create(engine, "waits-a", &["--network", "waits", "--env", "BOOT=30"])?;
    let router = router(engine, &["waits-a", "waits-b"])?;
    let (host, limit) = ("waits-a.example", Duration::from_secs(4));
    let answer = thread::scope(|scope| {
        let visitor = scope.spawn(|| client::get(router.address(), host, "/", limit));
        let old =
            until("it has an address", PATIENCE, || address(engine, "waits-a", "waits").ok())?;
        create(engine, "waits-b", &["--network", "waits", "--ip", &old])?;
        engine.run(&["rm", "--force", "waits-a"])?;
        engine.run(&["start", "waits-b"])?;
        assert_eq!(answers(&router, "waits-b")?.as_deref(), Some("waits-b"));
        anyhow::Ok(visitor.join().expect("the visitor does not panic"))
    })?;
    // The request is held or refused, but not answered.
    assert!(
        answer.as_ref().is_ok_and(|answer| answer.status == 503) || answer.is_err(),
        "{answer:?}"
    );
    Ok(())
}

/// Opens a connection and sends `head`.
fn begin(router: &Router, head: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect::<SocketAddr>(router.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// Reads the headers of a response, or what is received of them.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn a_request_that_waits_with_its_body_is_answered_when_its_container_is_restarted() -> Result<()> {
    let Some(engine) = Docker::shared("a_request_that_waits_with_its_body") else { return Ok(()) };
    create(engine, "polite", &[])?;
    let router = router(engine, &["polite"])?;
    assert_eq!(answers(&router, "polite")?.as_deref(), Some("polite"));
    let request = "POST / HTTP/1.1\r\nhost: polite.example\r\ncontent-length: 5\r\n\
                   expect: 100-continue\r\nconnection: close\r\n\r\n";
    let mut stream = begin(&router, request)?;
    let first = head(&mut stream);
    assert!(first.starts_with("HTTP/1.1 100"), "{first:?}");
    engine.run(&["restart", "--time", "1", "polite"])?;
    let restarted = Instant::now();
    // The router may already have answered and closed the connection.
    let _ = stream.write_all(b"hello");
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    assert!(restarted.elapsed() < BEYOND, "it took {:?}: {rest:?}", restarted.elapsed());
    assert!(rest.starts_with("HTTP/1.1 "), "no response: {rest:?}");
    assert_eq!(answers(&router, "polite")?.as_deref(), Some("polite"));
    Ok(())
}

#[test]
fn an_upload_to_a_removed_container_ends_soon_and_is_not_buffered() -> Result<()> {
    let Some(engine) = Docker::shared("an_upload_to_a_container") else { return Ok(()) };
    create(engine, "upload", &[])?;
    let router = router(engine, &["upload"])?;
    assert_eq!(answers(&router, "upload")?.as_deref(), Some("upload"));
    let before = Memory::of(router.id())?.resident;
    let mut stream = begin(
        &router,
        "POST / HTTP/1.1\r\nhost: upload.example\r\ncontent-length: 52428800\r\n\r\n",
    )?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let piece = vec![7; 1 << 20];
    for _ in 0..25 {
        stream.write_all(&piece)?;
    }
    engine.run(&["rm", "--force", "upload"])?;
    let removed = Instant::now();
    // The router refuses the rest at some point.
    for _ in 25..50 {
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    let answer = head(&mut stream);
    assert!(removed.elapsed() < BEYOND, "it took {:?}: {answer:?}", removed.elapsed());
    let grown = Memory::of(router.id())?.resident.saturating_sub(before);
    assert!(grown < 16 << 20, "the router's memory has grown by {} MiB", grown >> 20);
    Ok(())
}

#[test]
fn a_websocket_ends_with_its_container() -> Result<()> {
    let Some(engine) = Docker::shared("a_websocket_ends") else { return Ok(()) };
    engine.create_echo("ws")?;
    let home = Home::new(&Programs::from_env())?;
    home.configure(&format!("{}{}", provider(engine), workload("ws", 80, "1s")))?;
    let router = home.start()?;
    let request = "GET / HTTP/1.1\r\nhost: ws.example\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for fault in [vec!["kill", "ws"], vec!["network", "disconnect", "bridge", "ws"]] {
        let mut stream = begin(&router, request)?;
        stream.set_read_timeout(Some(BEYOND * 3))?;
        let first = head(&mut stream);
        assert!(first.starts_with("HTTP/1.1 101"), "{first:?}");
        engine.run(&fault)?;
        let done = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(done.elapsed() < BEYOND, "{fault:?}: it took {:?}", done.elapsed());
    }
    engine.run(&["network", "connect", "bridge", "ws"])?;
    // No visit remains.
    router.wait_for_phase("ws", "asleep", PATIENCE)
}

#[test]
fn a_container_restarted_by_its_engine_is_still_put_to_sleep() -> Result<()> {
    let Some(engine) = Docker::shared("a_container_that_its_engine_restarts") else {
        return Ok(());
    };
    create(engine, "always", &["--restart", "always"])?;
    let home = Home::new(&Programs::from_env())?;
    home.configure(&format!("{}{}", provider(engine), workload("always", 80, "1s")))?;
    let router = home.start()?;
    for ended in ["exit", "restart"] {
        assert_eq!(answers(&router, "always")?.as_deref(), Some("always"));
        if ended == "exit" {
            let _ = router.get("always.example", "/exit")?;
        } else {
            engine.run(&["restart", "--time", "1", "always"])?;
        }
        until("it runs again", PATIENCE, || engine.is_running("always").ok().filter(|runs| *runs))?;
        router.wait_for_phase("always", "asleep", Duration::from_secs(20)).context(ended)?;
        thread::sleep(Duration::from_millis(300));
        assert!(!engine.is_running("always")?, "after {ended}: asleep, but its container runs");
    }
    Ok(())
}

#[test]
fn a_container_name_is_matched_as_a_whole() -> Result<()> {
    let Some(engine) = Docker::shared("a_name_that_is_part") else { return Ok(()) };
    // As patterns, the first two would match the others.
    let names = ["part.1", "partx1", "part.1-b"];
    for name in names {
        create(engine, name, &[])?;
    }
    let home = Home::new(&Programs::from_env())?;
    let workloads = names.iter().enumerate().map(|(number, name)| {
        workload(&format!("p{number}"), 80, "never")
            .replace("idle", &format!("target = \"{name}\"\nidle"))
    });
    home.configure(&format!("{}{}", provider(engine), workloads.collect::<String>()))?;
    let router = home.start()?;
    for (number, name) in names.iter().enumerate() {
        assert_eq!(answers(&router, &format!("p{number}"))?.as_deref(), Some(*name));
    }
    engine.run(&["rm", "--force", "part.1"])?;
    never_another(&router, "p0", "part.1", Duration::from_millis(500))?;
    assert_eq!(answers(&router, "p1")?.as_deref(), Some("partx1"));
    assert_eq!(answers(&router, "p2")?.as_deref(), Some("part.1-b"));
    Ok(())
}

#[test]
fn a_container_disconnected_right_after_a_restart_is_served_after_it_is_reconnected() -> Result<()>
{
    let Some(engine) = Docker::shared("a_container_that_leaves_its_network") else {
        return Ok(());
    };
    network(engine, "leaves", 3, &[])?;
    create(engine, "leaves", &["--network", "leaves"])?;
    let router = router(engine, &["leaves"])?;
    assert_eq!(answers(&router, "leaves")?.as_deref(), Some("leaves"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let limit = Duration::from_secs(1);
                    let _ = client::get(router.address(), "leaves.example", "/", limit);
                }
            });
        }
        let rounds = (0..10).try_for_each(|round| {
            engine.run(&["restart", "--time", "1", "leaves"])?;
            engine.run(&["network", "disconnect", "leaves", "leaves"])?;
            thread::sleep(Duration::from_millis(200 * round));
            engine.run(&["network", "connect", "leaves", "leaves"])?;
            let connected = Instant::now();
            let answer = client::get(router.address(), "leaves.example", "/", PATIENCE * 2);
            let answered = answer.as_ref().is_ok_and(|answer| answer.status == 200);
            ensure!(
                answered && connected.elapsed() < BEYOND * 2,
                "round {round}: after {:?}: {answer:?}; the log ends:\n{}",
                connected.elapsed(),
                router.log().tail(60)
            );
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        rounds
    })
}
