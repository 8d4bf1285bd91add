//! An engine with Docker's API, driven by Docker's own client: containers, images and events.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{log::Log, needs, process::Process};

/// Image of a web server that takes `$BOOT` seconds to start and has a slow page.
const WEB: &str = "web";

/// Empty image into which the machine's own programs are mounted.
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

/// The machine's own interpreter, at the same path in containers of the image `host`.
pub const PYTHON: &str = "/usr/bin/python3";

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

/// An engine, identified by its socket.
pub struct Engine {
    socket: PathBuf,
}

/// Live events of one container.
pub struct Events {
    log: Log,
    _client: Process,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `start`, `stop`, `die`, …
    pub action: String,
    /// Nanoseconds since the epoch from the engine's clock, which is this machine's.
    pub at: u128,
}

// === impl Engine ===

impl Engine {
    /// The first missing program for the client or for creating the images, if any.
    pub fn lacks() -> Option<String> {
        needs::lacks(&["docker", "busybox", "tar"])
    }

    /// The engine with this socket.
    pub fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Creates the images `web` and `host`.
    pub fn make_images(&self) -> Result<()> {
        self.import(WEB, web)?;
        self.import(HOST, host)
    }

    /// Runs `docker` with these arguments and returns its standard output.
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

    /// Creates, without starting it, a web server that takes `boot` seconds to start. It serves `/` and
    /// `/cgi-bin/slow?N`, which sends N lines, one every 0.1 s.
    pub fn create_web(&self, name: &str, boot: f64) -> Result<()> {
        self.create_web_with(name, boot, &[])
    }

    /// As [`Engine::create_web`], with additional options of `docker create`.
    pub fn create_web_with(&self, name: &str, boot: f64, options: &[&str]) -> Result<()> {
        let boot = format!("BOOT={boot}");
        let words = ["create", "--name", name, "--env", &boot];
        self.run(&[&words, options, &[WEB, "/boot"]].concat())?;
        Ok(())
    }

    /// Creates a WebSocket echo server without starting it.
    pub fn create_echo(&self, name: &str) -> Result<()> {
        let python = [PYTHON, "-c", ECHO_SCRIPT];
        self.run(
            &[&["create", "--name", name, "--volume", "/usr:/usr:ro", HOST], &python[..]].concat(),
        )?;
        Ok(())
    }

    /// Output of `docker inspect`.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let text = self.run(&["inspect", "--format", "{{json .}}", name])?;
        serde_json::from_str(&text).with_context(|| format!("inspect {name}: {text}"))
    }

    /// Returns whether a container is running.
    pub fn is_running(&self, name: &str) -> Result<bool> {
        Ok(self.inspect(name)?["State"]["Running"] == Value::Bool(true))
    }

    /// Subscribes to the events of a container, from now on.
    pub fn events(&self, name: &str) -> Result<Events> {
        let mut command = self.client();
        // With a start time, because the client does not report when the subscription begins.
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

    fn now(&self) -> Result<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        Ok(format!("{}.{:09}", now.as_secs(), now.subsec_nanos()))
    }

    fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// Creates an image from a directory that `fill` populates.
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
    /// All events so far.
    pub fn so_far(&self) -> Vec<Event> {
        self.log.since(0).iter().filter_map(|line| Event::parse(line)).collect()
    }

    /// Number of events with this action so far.
    pub fn count(&self, action: &str) -> usize {
        self.so_far().iter().filter(|event| event.action == action).count()
    }

    /// Waits for the first event with this action.
    pub fn wait(&self, action: &str, limit: Duration) -> Result<Event> {
        self.wait_for(1, action, limit)
    }

    /// Waits for the `number`th event with this action and returns it. All earlier events have been
    /// reported then.
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
