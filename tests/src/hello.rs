//! The example backend as a workload of the process provider.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

use crate::{Process, Programs, ports};

/// A workload `hello`, its command and the files it leaves.
#[derive(Clone)]
pub struct Hello {
    program: PathBuf,
    starts: PathBuf,
    port: u16,
    boot: Duration,
    held: Option<PathBuf>,
}

// === impl Hello ===

impl Hello {
    /// On a free port, noting its starts in `dir`, ready `boot` after it was started.
    pub fn new(programs: &Programs, dir: &Path, boot: Duration) -> Result<Self> {
        Self::of(&programs.hello, dir, boot)
    }

    /// The same of this program.
    pub fn of(program: &Path, dir: &Path, boot: Duration) -> Result<Self> {
        Ok(Self {
            program: program.to_owned(),
            starts: dir.join("starts"),
            port: ports::free()?,
            boot,
            held: None,
        })
    }

    /// The same, but ready only after [`Hello::release`]: a wake lasts as long as a test wants.
    pub fn held(programs: &Programs, dir: &Path) -> Result<Self> {
        let hello = Self::new(programs, dir, Duration::ZERO)?;
        Ok(Self { held: Some(dir.join("released")), ..hello })
    }

    /// Lets this and every later start become ready.
    pub fn release(&self) -> Result<()> {
        let file = self.held.as_ref().context("nothing holds the backend")?;
        fs::write(file, "").context("release the backend")
    }

    /// Where the backend listens when it is awake.
    pub fn address(&self) -> SocketAddr {
        ports::loopback(self.port)
    }

    /// The port alone.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The command line.
    pub fn run(&self) -> Vec<String> {
        let mut run = vec![
            self.program.display().to_string(),
            "--port".to_owned(),
            self.port.to_string(),
            "--boot".to_owned(),
            self.boot.as_millis().to_string(),
            "--starts".to_owned(),
            self.starts.display().to_string(),
        ];
        if let Some(file) = &self.held {
            run.extend(["--until".to_owned(), file.display().to_string()]);
        }
        run
    }

    /// Starts it without a router, as a platform of the test's own does.
    pub fn spawn(&self) -> Result<Process> {
        let run = self.run();
        let mut command = Command::new(&run[0]);
        command.args(&run[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        Process::spawn("the backend", &mut command, Duration::from_secs(5))
    }

    /// The provider `process` with the command `hello` granted.
    pub fn provider(&self) -> String {
        format!(
            "[provider.process]\nplugin = \"process\"\ncommand.hello = {{ run = {:?} }}\n\n",
            self.run(),
        )
    }

    /// The workload `hello` with this idle time and a route to it for every host.
    pub fn workload(&self, idle: &str) -> String {
        format!(
            "[workload.hello]\nprovider = \"process\"\nidle = \"{idle}\"\n\n\
             [[route]]\nworkload = \"hello\"\nport = {}\n\n",
            self.port,
        )
    }

    /// A command that kills the process of the last start, which is the last line of its notes: that
    /// may come a moment after the start.
    pub fn kill_the_last(&self) -> [String; 3] {
        let last = format!("$(tail -n 1 {} | cut -d ' ' -f 1)", self.starts.display());
        let script = format!("until kill -KILL {last} 2>/dev/null; do sleep 0.01; done");
        ["sh".to_owned(), "-c".to_owned(), script]
    }

    /// Process ids of all its starts so far.
    pub fn starts(&self) -> Result<Vec<u32>> {
        self.notes()?.iter().map(|(id, _)| Ok(id.parse()?)).collect()
    }

    /// When its program was last started: the moment of its first line.
    pub fn started(&self) -> Result<SystemTime> {
        let notes = self.notes()?;
        let (_, at) = notes.last().context("the backend was not started")?;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(at.parse()?))
    }

    /// Process id and nanoseconds since the epoch of each start.
    fn notes(&self) -> Result<Vec<(String, String)>> {
        if !self.starts.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&self.starts)?;
        text.lines()
            .map(|line| {
                let (id, at) =
                    line.split_once(' ').with_context(|| format!("{line:?} is no start"))?;
                Ok((id.to_owned(), at.to_owned()))
            })
            .collect()
    }
}
