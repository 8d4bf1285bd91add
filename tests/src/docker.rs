//! A Docker engine of our own, beside whatever runs on the machine: its data, socket, bridge and
//! containerd namespace are used by nobody else.

use std::{
    cell::Cell,
    fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixStream,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{log::Log, needs, pki, ports, process::Process, until};

/// Runs the engine until its standard input ends, then takes everything away again: so nothing
/// stays behind however the program ends that asked for the engine. On its way it is told to let
/// the engine crash and to start it again.
///
/// Arguments: directory, bridge, the bridge's address with prefix; and for an engine that listens
/// on a port, too, to those who show a certificate: the port.
const KEEPER: &str = r#"
dir=$1 bridge=$2 address=$3 port=$4
ip link add "$bridge" type bridge || exit 1
ip address add "$address" dev "$bridge" && ip link set "$bridge" up && {
    serve() {
        dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
            --host "unix://$dir/docker.sock" --bridge "$bridge" \
            ${port:+--host "tcp://127.0.0.1:$port" --tlsverify --tlscacert "$dir/tls/ca.pem"} \
            ${port:+--tlscert "$dir/tls/engine.pem" --tlskey "$dir/tls/engine-key.pem"} \
            --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false \
            --userland-proxy=false --shutdown-timeout 1 \
            --containerd-namespace "$bridge" --containerd-plugins-namespace "$bridge-plugins" \
            </dev/null >>"$dir/log" 2>&1 &
        engine=$!
    }
    serve
    while read -r word; do
        case $word in
            crash)
                kill -KILL "$engine"
                wait "$engine"
                # Its containerd ends with it, a little later; an engine that met it would wait for
                # it in vain.
                containerd=$(cat "$dir/exec/containerd/containerd.pid")
                while kill -0 "$containerd"; do sleep 0.01; done
                ;;
            serve) serve ;;
        esac
    done
    # Only an engine takes away the containers of one that has crashed.
    if ! kill -0 "$engine"; then
        serve
        tries=0
        until docker --host "unix://$dir/docker.sock" version || [ "$tries" -ge 100 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
    fi
    containers=$(docker --host "unix://$dir/docker.sock" ps --all --quiet)
    [ -z "$containers" ] || docker --host "unix://$dir/docker.sock" rm --force $containers
    # Their bridges would stay on the machine.
    docker --host "unix://$dir/docker.sock" network prune --force
    kill "$engine"
    tries=0
    while kill -0 "$engine" 2>/dev/null && [ "$tries" -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -KILL "$engine" 2>/dev/null
    wait "$engine"
} >/dev/null 2>&1
# An engine that had to be killed leaves mounts.
while read -r _ mount _; do
    case $mount in "$dir"/*) umount -l "$mount" ;; esac
done </proc/mounts
ip link delete "$bridge"
rm -rf "$dir"
"#;

/// The web server's image: it takes `$BOOT` seconds to start and can answer slowly.
const WEB: &str = "web";

/// An image without content: the machine's own programs are mounted into it.
const HOST: &str = "host";

const BOOT_SCRIPT: &str = "#!/bin/sh
sleep ${BOOT:-0}
exec httpd -f -p 80 -h /www
";

const SLOW_SCRIPT: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
i=0
while [ $i -lt ${QUERY_STRING:-10} ]; do
    echo line $i
    sleep 0.1
    i=$((i + 1))
done
";

/// The machine's own, which containers see in the same place.
const PYTHON: &str = "/usr/bin/python3";

/// An echo server of the package python3-websockets.
const ECHO_SCRIPT: &str = "
import asyncio, websockets

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    async with websockets.serve(echo, '0.0.0.0', 80):
        await asyncio.Future()

asyncio.run(main())
";

/// A running engine.
pub struct Docker {
    dir: PathBuf,
    keeper: Child,
    port: Option<u16>,
}

/// What the engine reports of one container, as it happens.
pub struct Events {
    log: Log,
    _client: Process,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `start`, `stop`, `die`, …
    pub action: String,
    /// Nanoseconds since the epoch, by the engine's clock, which is this machine's.
    pub at: u128,
}

// === impl Docker ===

impl Docker {
    /// What this machine lacks to run an engine and the servers and clients of the tests.
    pub fn lacks() -> Option<String> {
        static LACKS: OnceLock<Option<String>> = OnceLock::new();
        LACKS.get_or_init(Self::look).clone()
    }

    fn look() -> Option<String> {
        if !cfg!(target_os = "linux") {
            return Some("an engine of our own needs Linux".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            return Some("an engine of our own needs root".to_owned());
        }
        if let Some(lack) = needs::lacks(&["dockerd", "docker", "ip", "busybox", "tar", "curl"]) {
            return Some(lack);
        }
        let imported = Command::new(PYTHON)
            .args(["-c", "import websockets"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let missing = !imported.is_ok_and(|status| status.success());
        missing.then(|| format!("{PYTHON} with the package websockets is missing"))
    }

    /// The engine that the tests of one program share. None where it cannot run, after saying so.
    ///
    /// # Panics
    ///
    /// When it does not start although the machine has what it needs.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Docker> = OnceLock::new();
        if let Some(lack) = Self::lacks() {
            needs::skip(test, &lack);
            return None;
        }
        Some(SHARED.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("{error:#}"))))
    }

    /// Starts an engine with the images of the tests.
    pub fn start() -> Result<Self> {
        let engine = Self::start_with(TempDir::with_prefix("drowse-docker-")?.keep(), None)?;
        engine.import(WEB, web)?;
        engine.import(HOST, host)?;
        Ok(engine)
    }

    /// Starts an engine that listens on a port of the loopback interface, too, to those who show a
    /// certificate. It has the image `web` alone.
    pub fn start_with_tls() -> Result<Self> {
        let dir = TempDir::with_prefix("drowse-docker-")?.keep();
        pki::write(&dir.join("tls"))?;
        let engine = Self::start_with(dir, Some(ports::free()?))?;
        engine.import(WEB, web)?;
        Ok(engine)
    }

    fn start_with(dir: PathBuf, port: Option<u16>) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        if let Some(lack) = Self::lacks() {
            bail!("start a Docker engine: {lack}");
        }
        // The engines of one program differ in the letter, those of two programs in the number.
        let (number, turn) = (std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed) % 4);
        let (letter, network) = [("", 213), ("b", 209), ("c", 208), ("d", 207)][turn as usize];
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(format!("drowse{number}{letter}"))
            .arg(format!("10.{network}.{}.1/24", 1 + number % 250))
            .arg(port.map(|port| port.to_string()).unwrap_or_default())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start the Docker engine's keeper")?;
        let mut engine = Self { dir, keeper, port };
        engine.wait_until_it_answers()?;
        Ok(engine)
    }

    /// Where it listens to those who show a certificate.
    pub fn url(&self) -> Option<String> {
        self.port.map(|port| format!("https://127.0.0.1:{port}"))
    }

    /// The files of a client that it listens to: `ca.pem`, `cert.pem` and `key.pem`.
    pub fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// Ends the engine as a crash does. Its containers are left alone; what runs goes on until the
    /// engine is started again, which ends it.
    pub fn crash(&self) -> Result<()> {
        self.say("crash")?;
        until("the Docker engine is gone", Duration::from_secs(10), || {
            UnixStream::connect(self.socket()).is_err().then_some(())
        })
    }

    /// Starts the engine again after a crash, and waits until it answers.
    pub fn start_again(&self) -> Result<()> {
        self.say("serve")?;
        until("the Docker engine answers again", Duration::from_secs(60), || {
            self.run(&["version"]).ok().map(drop)
        })
        .with_context(|| format!("it wrote:\n{}", self.written()))
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// Runs `docker` with these arguments and returns what it wrote.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.client().args(arguments).stdin(Stdio::null()).output()?;
        ensure!(
            output.status.success(),
            "docker {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr),
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Creates a web server that takes `boot` seconds to start, and does not start it. It serves
    /// `/` and, over a tenth of a second for each of N lines, `/cgi-bin/slow?N`.
    pub fn create_web(&self, name: &str, boot: f64) -> Result<()> {
        self.create_web_with(name, boot, &[])
    }

    /// The same, with more words for `docker create`.
    pub fn create_web_with(&self, name: &str, boot: f64, options: &[&str]) -> Result<()> {
        let boot = format!("BOOT={boot}");
        let words = ["create", "--name", name, "--env", &boot];
        self.run(&[&words, options, &[WEB, "/boot"]].concat())?;
        Ok(())
    }

    /// Creates a WebSocket server that echoes, and does not start it.
    pub fn create_echo(&self, name: &str) -> Result<()> {
        let python = [PYTHON, "-c", ECHO_SCRIPT];
        self.run(
            &[&["create", "--name", name, "--volume", "/usr:/usr:ro", HOST], &python[..]].concat(),
        )?;
        Ok(())
    }

    /// What the engine says of a container.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let text = self.run(&["inspect", "--format", "{{json .}}", name])?;
        serde_json::from_str(&text).with_context(|| format!("inspect {name}: {text}"))
    }

    /// Whether a container runs.
    pub fn is_running(&self, name: &str) -> Result<bool> {
        Ok(self.inspect(name)?["State"]["Running"] == Value::Bool(true))
    }

    /// Begins to listen to the events of a container, from now on.
    pub fn events(&self, name: &str) -> Result<Events> {
        let mut command = self.client();
        // From a moment ago: the client tells nobody when it has begun to listen.
        let since = self.now()?;
        command
            .args(["events", "--since", &since, "--format", "{{.TimeNano}} {{.Action}}"])
            .args(["--filter", "type=container", "--filter", &format!("container={name}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut client = Process::spawn("docker events", &mut command, Duration::from_secs(1))?;
        let log = Log::default();
        log.follow(client.child().stdout.take().context("no events")?, |_| {});
        Ok(Events { log, _client: client })
    }

    /// A word to the engine's keeper.
    fn say(&self, word: &str) -> Result<()> {
        let mut keeper = self.keeper.stdin.as_ref().context("the engine's keeper has ended")?;
        writeln!(keeper, "{word}").context("speak to the engine's keeper")
    }

    /// What the engine has written.
    fn written(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn now(&self) -> Result<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        Ok(format!("{}.{:09}", now.as_secs(), now.subsec_nanos()))
    }

    fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let limit = Duration::from_secs(60);
        let answered = until("the Docker engine answers", limit, || {
            if let Ok(Some(status)) = self.keeper.try_wait() {
                return Some(Err(anyhow!("its keeper ended with {status}")));
            }
            self.run(&["version"]).ok().map(Ok)
        });
        answered
            .flatten()
            .map(drop)
            .with_context(|| format!("start a Docker engine; it wrote:\n{}", self.written()))
    }

    /// Makes an image of a directory that `fill` fills.
    fn import(&self, name: &str, fill: fn(&Path) -> Result<()>) -> Result<()> {
        let dir = TempDir::with_prefix("drowse-image-")?;
        fill(dir.path()).with_context(|| format!("fill the image {name}"))?;
        let archive = dir.path().with_extension("tar");
        let status = Command::new("tar")
            .arg("-C")
            .arg(dir.path())
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status()?;
        ensure!(status.success(), "tar ended with {status}");
        let imported = self.run(&["import", &archive.to_string_lossy(), name]);
        fs::remove_file(&archive)?;
        imported.map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("wait for the Docker engine's end: {error}");
        }
    }
}

fn web(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("www/cgi-bin"))?;
    let busybox = needs::program("busybox").context("busybox is missing")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    for applet in ["sh", "httpd", "sleep"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("www/index.html"), "<p>awake</p>\n")?;
    script(&root.join("boot"), BOOT_SCRIPT)?;
    script(&root.join("www/cgi-bin/slow"), SLOW_SCRIPT)
}

fn host(root: &Path) -> Result<()> {
    for dir in ["usr", "tmp"] {
        fs::create_dir(root.join(dir))?;
    }
    for link in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link))?;
    }
    Ok(())
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

// === impl Events ===

impl Events {
    /// What was reported so far.
    pub fn so_far(&self) -> Vec<Event> {
        self.log.since(0).iter().filter_map(|line| Event::parse(line)).collect()
    }

    /// How many events of this action were reported so far.
    pub fn count(&self, action: &str) -> usize {
        self.so_far().iter().filter(|event| event.action == action).count()
    }

    /// Waits for the first event of this action.
    pub fn wait(&self, action: &str, limit: Duration) -> Result<Event> {
        self.wait_for(1, action, limit)
    }

    /// Waits until there were so many events of this action, and returns the last of them. What
    /// happened before it has been reported, too.
    pub fn wait_for(&self, number: usize, action: &str, limit: Duration) -> Result<Event> {
        let seen = Cell::new(0);
        let is_last = |line: &str| {
            let counts = Event::parse(line).is_some_and(|event| event.action == action);
            seen.set(seen.get() + usize::from(counts));
            counts && seen.get() == number
        };
        let what = format!("docker event {action}, {number} times");
        let (line, _) = self.log.wait(&what, 0, limit, is_last)?;
        Event::parse(&line).context("the event is gone")
    }
}

// === impl Event ===

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let (at, action) = line.split_once(' ')?;
        Some(Self { action: action.to_owned(), at: at.parse().ok()? })
    }
}
