//! The example backend `hello` as a workload of the process provider.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

use crate::{Process, Programs, ports};

/// The workload `hello`: its command and the file in which it records its starts.
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
    /// Listens on a free port, records its starts in `dir`, and is ready `boot` after its start.
    pub fn new(programs: &Programs, dir: &Path, boot: Duration) -> Result<Self> {
        Self::with_program(&programs.hello, dir, boot)
    }

    /// As [`Hello::new`], with another program.
    pub fn with_program(program: &Path, dir: &Path, boot: Duration) -> Result<Self> {
        Ok(Self {
            program: program.to_owned(),
            starts: dir.join("starts"),
            port: ports::free()?,
            boot,
            held: None,
        })
    }

    /// As [`Hello::new`], but ready only after [`Hello::release`].
    pub fn held(programs: &Programs, dir: &Path) -> Result<Self> {
        let hello = Self::new(programs, dir, Duration::ZERO)?;
        Ok(Self { held: Some(dir.join("released")), ..hello })
    }

    /// Lets the current and all later starts become ready.
    pub fn release(&self) -> Result<()> {
        let file = self.held.as_ref().context("nothing holds the backend")?;
        fs::write(file, "").context("release the backend")
    }

    /// Address on which the backend listens.
    pub fn address(&self) -> SocketAddr {
        ports::loopback(self.port)
    }

    /// Port on which the backend listens.
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

    /// Starts it without a router, for platforms simulated by a test.
    pub fn spawn(&self) -> Result<Process> {
        let run = self.run();
        let mut command = Command::new(&run[0]);
        command.args(&run[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        Process::spawn("the backend", &mut command, Duration::from_secs(5))
    }

    /// Configuration table of the provider `process` with the command `hello`.
    pub fn provider(&self) -> String {
        format!(
            "[provider.process]\nplugin = \"process\"\ncommand.hello = {{ run = {:?} }}\n\n",
            self.run(),
        )
    }

    /// Configuration tables of the workload `hello` with this idle time, and of a route for every host.
    pub fn workload(&self, idle: &str) -> String {
        format!(
            "[workload.hello]\nprovider = \"process\"\nidle = \"{idle}\"\n\n\
             [[route]]\nworkload = \"hello\"\nport = {}\n\n",
            self.port,
        )
    }

    /// A command that kills the process of the last start. It retries, because the start is recorded
    /// with a short delay.
    pub fn kill_last_start(&self) -> [String; 3] {
        let last = format!("$(tail -n 1 {} | cut -d ' ' -f 1)", self.starts.display());
        let script = format!("until kill -KILL {last} 2>/dev/null; do sleep 0.01; done");
        ["sh".to_owned(), "-c".to_owned(), script]
    }

    /// Process ids of all starts so far.
    pub fn starts(&self) -> Result<Vec<u32>> {
        self.start_records()?.iter().map(|(id, _)| Ok(id.parse()?)).collect()
    }

    /// Time of the last start, taken in the program's first line.
    pub fn started(&self) -> Result<SystemTime> {
        let records = self.start_records()?;
        let (_, at) = records.last().context("the backend was not started")?;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(at.parse()?))
    }

    /// Process id and nanoseconds since the epoch of each start.
    fn start_records(&self) -> Result<Vec<(String, String)>> {
        if !self.starts.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&self.starts)?;
        text.lines()
            .map(|line| {
                let (id, at) = line
                    .split_once(' ')
                    .with_context(|| format!("{line:?} is not a start record"))?;
                Ok((id.to_owned(), at.to_owned()))
            })
            .collect()
    }
}
