//! The router as a child process: its directory and configuration, start, requests and stop.

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Programs, client, log::Log, ports, process::Process, programs::variables, until};

/// A temporary directory with a router's configuration and state.
pub struct Home {
    dir: TempDir,
    program: PathBuf,
    cache: PathBuf,
    listener: SocketAddr,
    echo: bool,
    own_process_group: bool,
}

/// A running router. Dropping it stops it.
pub struct Router {
    process: Process,
    log: Log,
    home: Home,
}

/// Time for requests in flight when the router is stopped, before the second SIGTERM.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Time between the second SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(20);

// === impl Home ===

impl Home {
    /// An empty home with a listener on a free loopback port.
    pub fn new(programs: &Programs) -> Result<Self> {
        Self::with_port(programs, ports::free()?)
    }

    /// An empty home with a listener on this loopback port.
    pub fn with_port(programs: &Programs, port: u16) -> Result<Self> {
        let dir = TempDir::with_prefix("drowse-")?;
        fs::create_dir(dir.path().join("plugins"))?;
        let shared = env::var_os(variables::CACHE).map(PathBuf::from);
        Ok(Self {
            cache: shared.unwrap_or_else(|| dir.path().join("cache")),
            dir,
            program: programs.router.clone(),
            listener: ports::loopback(port),
            echo: false,
            own_process_group: false,
        })
    }

    /// Stores compiled plugins in `cache`. The default is the directory shared by the tests, so that
    /// each plugin is compiled once, and without one a directory of the home.
    #[must_use]
    pub fn cache(mut self, cache: &Path) -> Self {
        self.cache = cache.to_owned();
        self
    }

    /// Prints the router's log live.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Starts the router in its own process group, so that Ctrl-C reaches only the owner, which then stops
    /// the router. Do not use it if the owner does not handle Ctrl-C.
    #[must_use]
    pub fn own_process_group(mut self) -> Self {
        self.own_process_group = true;
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The plugins directory.
    pub fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("drowse.toml")
    }

    /// Address of the listener `web`.
    pub fn address(&self) -> SocketAddr {
        self.listener
    }

    /// Writes the configuration: the home's directories, the listener `web`, and these tables.
    pub fn configure(&self, tables: &str) -> Result<()> {
        let text = format!(
            "plugin-dir = {:?}\ncache-dir = {:?}\nstate-dir = {:?}\ncontrol-socket = {:?}\n\n\
             [[listener]]\nname = \"web\"\nbind = \"{}\"\n\n{tables}",
            self.plugins(),
            self.cache,
            self.dir.path().join("state"),
            self.dir.path().join("control.sock"),
            self.listener,
        );
        fs::write(self.config(), text).context("write the router's configuration")
    }

    /// Runs `drowse` with these arguments and this home's configuration until it exits.
    pub fn drowse(&self, words: &[&str]) -> Result<Output> {
        Command::new(&self.program)
            .args(words)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run drowse {}", words.join(" ")))
    }

    /// Starts the router and waits until it answers on its control socket.
    pub fn start(self) -> Result<Router> {
        let log = Log::default();
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--config"])
            .arg(self.config())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.own_process_group {
            command.process_group(0);
        }
        let mut process = Process::spawn("the router", &mut command, GRACE)?
            .with_second_sigterm_after(LAST_REQUESTS);
        let echo = self.echo;
        let show = move |line: &str| {
            if echo {
                println!("  | {line}");
            }
        };
        let child = process.child();
        log.follow(child.stdout.take().context("no output")?, show);
        log.follow(child.stderr.take().context("no log")?, show);
        let mut router = Router { process, log, home: self };
        router.wait_until_ready()?;
        Ok(router)
    }
}

// === impl Router ===

impl Router {
    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Address of the listener `web`.
    pub fn address(&self) -> SocketAddr {
        self.home.listener
    }

    /// A URL for clients.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.home.listener)
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a `GET` on a new connection.
    pub fn get(&self, host: &str, path: &str) -> Result<client::Answer> {
        client::get(self.home.listener, host, path, Duration::from_secs(60))
    }

    /// Runs a command. Returns whether it succeeded, and its standard output; if it failed, with standard
    /// error.
    pub fn drowse(&self, words: &[&str]) -> Result<(bool, String)> {
        let output = self.home.drowse(words)?;
        let worked = output.status.success();
        let printed = if worked { output.stdout } else { [output.stdout, output.stderr].concat() };
        Ok((worked, String::from_utf8(printed)?))
    }

    /// Output of `drowse status --json`.
    pub fn status(&self) -> Result<Value> {
        let output = self.home.drowse(&["status", "--json"])?;
        ensure!(
            output.status.success(),
            "drowse status: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("parse the output of drowse status")
    }

    /// Status of a workload.
    pub fn workload(&self, name: &str) -> Result<Value> {
        find(&self.status()?, "workloads", name)
    }

    /// Status of a provider.
    pub fn provider(&self, name: &str) -> Result<Value> {
        find(&self.status()?, "providers", name)
    }

    /// Phase of a workload.
    pub fn phase(&self, workload: &str) -> Result<String> {
        let found = self.workload(workload)?;
        Ok(found["phase"].as_str().context("a workload without a phase")?.to_owned())
    }

    /// Waits until a workload is in this phase.
    pub fn wait_for_phase(&self, workload: &str, phase: &str, limit: Duration) -> Result<()> {
        until(&format!("{workload} is {phase}"), limit, || {
            (self.phase(workload).ok()? == phase).then_some(())
        })
        .with_context(|| format!("its log ends:\n{}", self.log.tail(40)))
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Its exit status, if it has exited.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Stops it and returns its home, for another start. An error if it had to be killed.
    pub fn stop(self) -> Result<Home> {
        let Self { mut process, log, home } = self;
        ensure!(
            process.stop()?,
            "the router did not exit within {GRACE:?} after the second SIGTERM; its log ends:\n{}",
            log.tail(40),
        );
        Ok(home)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let started =
            until("the router answers", Duration::from_secs(60), || match self.process.ended() {
                Ok(None) => self.status().is_ok().then_some(None),
                Ok(Some(status)) => Some(Some(status.to_string())),
                Err(error) => Some(Some(error.to_string())),
            });
        let ended = started.with_context(|| format!("its log:\n{}", self.log.tail(40)))?;
        ensure!(
            ended.is_none(),
            "the router exited at once ({}); its log:\n{}",
            ended.unwrap_or_default(),
            self.log.tail(40),
        );
        Ok(())
    }
}

fn find(status: &Value, list: &str, name: &str) -> Result<Value> {
    status[list]
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == name)
        .cloned()
        .with_context(|| format!("no {name} among the {list} of {status:#}"))
}
