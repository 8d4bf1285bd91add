//! One program and its process.

use std::time::Duration;

use drowse_provider_sdk::{
    Address, Error, ErrorCode, Observation, Result, Status, Target, Usage, clock,
    command::{self, Command, OUTPUT_LIMIT, Process, State},
};

use crate::settings::TargetSettings;

/// Timeout for a killed process to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between the two samples of CPU time. The system counts it in hundredths of a second.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// A granted command as a target.
pub(crate) struct Control<'a> {
    name: &'a str,
    /// Listening address; unknown in a list or a watch.
    address: Option<Address>,
    command: Command,
}

// === impl Control ===

impl<'a> Control<'a> {
    pub(crate) fn of(target: &'a Target<TargetSettings>) -> Result<Self> {
        let TargetSettings { arguments, environment, .. } = &target.settings;
        let command = Command::new(&target.handle).arguments(arguments).environment(environment);
        let address = Some(target.settings.listens_at(&target.handle)?);
        Ok(Self { name: &target.handle, address, command })
    }

    pub(crate) fn named(name: &'a str) -> Self {
        Self { name, address: None, command: Command::new(name) }
    }

    pub(crate) fn observe(&self) -> Result<Observation> {
        if !command::is_granted(self.name) {
            return Ok(Observation::missing(self.name).with_detail(self.missing()));
        }
        Ok(match self.find("inspect")? {
            Some(process) => self.observation(&process),
            None => Observation::new(self.name, Status::Stopped, "never started"),
        })
    }

    pub(crate) fn start(&self) -> Result<Observation> {
        if let Some(process) = self.running("start")? {
            return self.continue_process("start", &process);
        }
        match self.command.clone().spawn() {
            Ok(process) => Ok(self.observation(&process)),
            // Another call spawned it first.
            Err(error) if *error.code() == ErrorCode::Conflict => match self.running("start")? {
                Some(process) => self.continue_process("start", &process),
                None => Err(self.with_context("start", error)),
            },
            Err(error) => Err(self.with_context("start", error)),
        }
    }

    pub(crate) fn stop(&self, signal: Option<&str>, grace: Duration) -> Result<Observation> {
        let Some(process) = self.running_to_stop("stop")? else { return self.observe() };
        let signal = signal_name(signal.unwrap_or("SIGTERM"));
        let stop = || {
            process.signal(&signal)?;
            // A paused process receives the signal only when it is resumed.
            process.signal("SIGCONT")?;
            match process.wait(grace)? {
                State::Exited(status) => Ok(State::Exited(status)),
                State::Running | State::Paused => {
                    process.signal("SIGKILL")?;
                    process.wait(KILL_TIMEOUT)
                }
            }
        };
        let state = stop().map_err(|error| self.with_context("stop", error))?;
        self.observe_end("stop", process, state)
    }

    pub(crate) fn kill(&self, signal: Option<&str>) -> Result<Observation> {
        let Some(process) = self.running_to_stop("kill")? else { return self.observe() };
        let signal = signal_name(signal.unwrap_or("SIGKILL"));
        let kill = || {
            process.signal(&signal)?;
            process.signal("SIGCONT")?;
            process.wait(KILL_TIMEOUT)
        };
        let state = kill().map_err(|error| self.with_context("kill", error))?;
        self.observe_end("kill", process, state)
    }

    pub(crate) fn pause(&self) -> Result<Observation> {
        self.require_grant("pause")?;
        let Some(process) = self.running("pause")? else {
            return Err(Error::conflict(format!(
                "pause command {:?}: the program does not run; start it instead",
                self.name
            )));
        };
        process.signal("SIGSTOP").map_err(|error| self.with_context("pause", error))?;
        Ok(self.observation(&Process { state: State::Paused, ..process }))
    }

    pub(crate) fn resume(&self) -> Result<Observation> {
        self.require_grant("resume")?;
        let Some(process) = self.running("resume")? else {
            return Err(Error::conflict(format!(
                "resume command {:?}: the program does not run; start it instead",
                self.name
            )));
        };
        self.continue_process("resume", &process)
    }

    pub(crate) fn logs(&self, lines: u32) -> Result<Vec<String>> {
        let Some(process) = self.find("read the output of")? else { return Ok(Vec::new()) };
        let output = process.output(OUTPUT_LIMIT);
        let output = output.map_err(|error| self.with_context("read the output of", error))?;
        let text = String::from_utf8_lossy(&output);
        // Output of the maximum size begins within a line.
        let complete = match text.split_once('\n') {
            Some((_, rest)) if output.len() >= OUTPUT_LIMIT as usize => rest,
            _ => &text,
        };
        let all: Vec<&str> = complete.lines().collect();
        let first = all.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
        Ok(all[first..].iter().map(|line| (*line).to_owned()).collect())
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        const VERB: &str = "measure the usage of";
        self.require_grant(VERB)?;
        let Some(process) = self.running(VERB)? else { return Ok(Usage::nothing()) };
        let sample = || process.usage().map_err(|error| self.with_context(VERB, error));
        let Some(before) = sample()? else { return Ok(Usage::nothing()) };
        let began = clock::monotonic();
        clock::sleep(SAMPLE_INTERVAL);
        let Some(after) = sample()? else { return Ok(Usage::nothing()) };
        let passed = clock::monotonic().saturating_sub(began);
        // CPU time of a group member that exited without being waited for is lost.
        let own = Duration::from_nanos(after.cpu.saturating_sub(before.cpu));
        Ok(Usage {
            cpu_percent: Some(own.as_secs_f64() / passed.as_secs_f64() * 100.0),
            memory: Some(after.memory),
            attributes: Vec::new(),
        })
    }

    fn find(&self, verb: &str) -> Result<Option<Process>> {
        self.command.find().map_err(|error| self.with_context(verb, error))
    }

    /// The running process of the command, if the command is granted.
    fn running(&self, verb: &str) -> Result<Option<Process>> {
        if !command::is_granted(self.name) {
            return Ok(None);
        }
        Ok(self.find(verb)?.filter(Process::is_running))
    }

    /// The running process. A process that has ended is marked as stopped, so that it is not
    /// restarted.
    fn running_to_stop(&self, verb: &str) -> Result<Option<Process>> {
        if !command::is_granted(self.name) {
            return Ok(None);
        }
        let found = self.find(verb)?;
        if let Some(ended) = found.as_ref().filter(|process| !process.is_running()) {
            ended.signal("SIGTERM").map_err(|error| self.with_context(verb, error))?;
        }
        Ok(found.filter(Process::is_running))
    }

    /// Fails unless the command is granted.
    fn require_grant(&self, verb: &str) -> Result<()> {
        match command::is_granted(self.name) {
            true => Ok(()),
            false => Err(self.with_context(verb, Error::not_found(self.missing()))),
        }
    }

    fn missing(&self) -> String {
        format!("no command {:?} is granted; add command.{} to the provider", self.name, self.name)
    }

    /// Resumes the process; no effect on one that is not paused.
    fn continue_process(&self, verb: &str, process: &Process) -> Result<Observation> {
        process.signal("SIGCONT").map_err(|error| self.with_context(verb, error))?;
        Ok(self.observation(&Process { state: State::Running, ..process.clone() }))
    }

    /// Observation after a stop.
    fn observe_end(&self, verb: &str, mut process: Process, state: State) -> Result<Observation> {
        if !matches!(state, State::Exited(_)) {
            return Err(Error::timeout(format!(
                "{verb} command {:?}: process {} still runs {KILL_TIMEOUT:?} after the last signal",
                self.name, process.pid
            )));
        }
        process.state = state;
        Ok(self.observation(&process))
    }

    fn observation(&self, process: &Process) -> Observation {
        let observation = match process.state {
            State::Paused => Observation::new(self.name, Status::Paused, "paused"),
            State::Running => {
                let mut observation = Observation::new(self.name, Status::Running, "running");
                observation.addresses = self.address.iter().cloned().collect();
                observation
            }
            State::Exited(status) => Observation::new(self.name, Status::Stopped, "exited")
                .with_detail(exit_detail(status)),
        };
        let observation = match process.state {
            // A negative status is unknown.
            State::Exited(status @ 0..) => {
                observation.with_attribute("exit-status", status.to_string())
            }
            _ => observation,
        };
        observation
            .with_native_id(process.id.to_string())
            .with_attribute("pid", process.pid.to_string())
            .with_attribute("started-at", process.started_at.to_string())
    }

    fn with_context(&self, verb: &str, error: Error) -> Error {
        error.context(format!("{verb} command {:?}", self.name))
    }
}

/// Normalizes `term` and `TERM` to `SIGTERM`.
fn signal_name(signal: &str) -> String {
    let upper = signal.to_ascii_uppercase();
    if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") }
}

fn exit_detail(status: i32) -> String {
    if status < 0 {
        return "ended; exit status unknown, because the router was restarted meanwhile".to_owned();
    }
    let signal = match status - 128 {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        6 => "SIGABRT",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => return format!("exited with status {status}"),
    };
    format!("ended by {signal} (status {status})")
}
