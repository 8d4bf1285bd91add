//! The router as a program: a home with its TOML, started, asked and stopped.

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

/// A directory with everything a router keeps, and its configuration.
pub struct Home {
    dir: TempDir,
    program: PathBuf,
    cache: PathBuf,
    listener: SocketAddr,
    echo: bool,
    apart: bool,
}

/// A running router. Dropping it stops it.
pub struct Router {
    process: Process,
    log: Log,
    home: Home,
}

/// The time requests in flight have to end when the router is stopped; then it is told to hurry.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// The time a router has to end by itself once it hurries, with everything it has to stop.
const GRACE: Duration = Duration::from_secs(20);

// === impl Home ===

impl Home {
    /// An empty home with a listener on a free port of the loopback interface.
    pub fn new(programs: &Programs) -> Result<Self> {
        Self::with_port(programs, ports::free()?)
    }

    /// An empty home with its listener on this port of the loopback interface.
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
            apart: false,
        })
    }

    /// Keeps compiled plugins in this directory. The default is the directory that the tests
    /// share, so that each plugin is compiled once, and without one a directory of the home.
    #[must_use]
    pub fn cache(mut self, cache: &Path) -> Self {
        self.cache = cache.to_owned();
        self
    }

    /// Shows what the router logs as it comes.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Keeps Ctrl-C from the router: it is for its owner, who then stops it. An owner that Ctrl-C
    /// ends cannot, so there the router must see it, too.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.apart = true;
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

    /// The configuration's file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("drowse.toml")
    }

    /// Where the listener `web` listens.
    pub fn address(&self) -> SocketAddr {
        self.listener
    }

    /// Writes the configuration: the home's own keys and the listener `web`, then these tables.
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

    /// `drowse` with these words and this home's configuration, to its end.
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
        if self.apart {
            command.process_group(0);
        }
        let mut process =
            Process::spawn("the router", &mut command, GRACE)?.hurried_after(LAST_REQUESTS);
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
        router.wait_until_it_answers()?;
        Ok(router)
    }
}

// === impl Router ===

impl Router {
    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Where the listener `web` listens.
    pub fn address(&self) -> SocketAddr {
        self.home.listener
    }

    /// An address for clients.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.home.listener)
    }

    /// What it logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// One request on a connection of its own.
    pub fn get(&self, host: &str, path: &str) -> Result<client::Answer> {
        client::get(self.home.listener, host, path, Duration::from_secs(60))
    }

    /// Whether a command worked, and its answer; of one that failed, all that it said.
    pub fn drowse(&self, words: &[&str]) -> Result<(bool, String)> {
        let output = self.home.drowse(words)?;
        let worked = output.status.success();
        let said = if worked { output.stdout } else { [output.stdout, output.stderr].concat() };
        Ok((worked, String::from_utf8(said)?))
    }

    /// What `drowse status --json` says.
    pub fn status(&self) -> Result<Value> {
        let output = self.home.drowse(&["status", "--json"])?;
        ensure!(
            output.status.success(),
            "drowse status: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("drowse status gave no JSON")
    }

    /// What the status says of one workload.
    pub fn workload(&self, name: &str) -> Result<Value> {
        find(&self.status()?, "workloads", name)
    }

    /// What the status says of one provider.
    pub fn provider(&self, name: &str) -> Result<Value> {
        find(&self.status()?, "providers", name)
    }

    /// The phase of one workload.
    pub fn phase(&self, workload: &str) -> Result<String> {
        let found = self.workload(workload)?;
        Ok(found["phase"].as_str().context("a workload without a phase")?.to_owned())
    }

    /// Waits for a workload's phase.
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

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Stops it and gives its home back, for another start. An error when it had to be killed.
    pub fn stop(self) -> Result<Home> {
        let Self { mut process, log, home } = self;
        ensure!(
            process.stop()?,
            "the router did not end within {GRACE:?} after the second SIGTERM; its log ends:\n{}",
            log.tail(40),
        );
        Ok(home)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let begun =
            until("the router answers", Duration::from_secs(60), || match self.process.ended() {
                Ok(None) => self.status().is_ok().then_some(None),
                Ok(Some(status)) => Some(Some(status.to_string())),
                Err(error) => Some(Some(error.to_string())),
            });
        let ended = begun.with_context(|| format!("its log:\n{}", self.log.tail(40)))?;
        ensure!(
            ended.is_none(),
            "the router ended at once ({}); its log:\n{}",
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
