//! One program, its process, and what is done to it.

use std::time::Duration;

use drowse_provider_sdk::{
    Address, Error, ErrorCode, Observation, Result, Status, Target, Usage, clock,
    command::{self, Command, OUTPUT_LIMIT, Process, State},
};

use crate::settings::TargetSettings;

/// How long a killed process may take to end.
const KILL_TIME: Duration = Duration::from_secs(5);

/// Between the two looks that CPU time is measured by. The system counts it in hundredths of a
/// second.
const MOMENT: Duration = Duration::from_millis(500);

/// One granted command, seen as a target.
pub(crate) struct Control<'a> {
    name: &'a str,
    /// Where it listens; a list or a watch does not know.
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
        Ok(match self.find("look at")? {
            Some(process) => self.seen(&process),
            None => Observation::new(self.name, Status::Stopped, "never started"),
        })
    }

    pub(crate) fn start(&self) -> Result<Observation> {
        if let Some(process) = self.running("start")? {
            return self.continued("start", &process);
        }
        match self.command.clone().spawn() {
            Ok(process) => Ok(self.seen(&process)),
            // Another call was faster.
            Err(error) if *error.code() == ErrorCode::Conflict => match self.running("start")? {
                Some(process) => self.continued("start", &process),
                None => Err(self.failed("start", error)),
            },
            Err(error) => Err(self.failed("start", error)),
        }
    }

    pub(crate) fn stop(&self, signal: Option<&str>, grace: Duration) -> Result<Observation> {
        let Some(process) = self.running("stop")? else { return self.observe() };
        let signal = signal_name(signal.unwrap_or("SIGTERM"));
        let stop = || {
            process.signal(&signal)?;
            // What is paused hears it only when it goes on.
            process.signal("SIGCONT")?;
            match process.wait(grace)? {
                State::Exited(status) => Ok(State::Exited(status)),
                State::Running | State::Paused => {
                    process.signal("SIGKILL")?;
                    process.wait(KILL_TIME)
                }
            }
        };
        let state = stop().map_err(|error| self.failed("stop", error))?;
        self.ended("stop", process, state)
    }

    pub(crate) fn kill(&self, signal: Option<&str>) -> Result<Observation> {
        let Some(process) = self.running("kill")? else { return self.observe() };
        let signal = signal_name(signal.unwrap_or("SIGKILL"));
        let kill = || {
            process.signal(&signal)?;
            process.signal("SIGCONT")?;
            process.wait(KILL_TIME)
        };
        let state = kill().map_err(|error| self.failed("kill", error))?;
        self.ended("kill", process, state)
    }

    pub(crate) fn pause(&self) -> Result<Observation> {
        self.exists("pause")?;
        let Some(process) = self.running("pause")? else {
            return Err(Error::conflict(format!(
                "pause command {:?}: it does not run; start it instead",
                self.name
            )));
        };
        process.signal("SIGSTOP").map_err(|error| self.failed("pause", error))?;
        Ok(self.seen(&Process { state: State::Paused, ..process }))
    }

    pub(crate) fn resume(&self) -> Result<Observation> {
        self.exists("resume")?;
        let Some(process) = self.running("resume")? else {
            return Err(Error::conflict(format!(
                "resume command {:?}: it does not run; start it instead",
                self.name
            )));
        };
        self.continued("resume", &process)
    }

    pub(crate) fn logs(&self, lines: u32) -> Result<Vec<String>> {
        let Some(process) = self.find("read the output of")? else { return Ok(Vec::new()) };
        let output = process.output(OUTPUT_LIMIT);
        let output = output.map_err(|error| self.failed("read the output of", error))?;
        let text = String::from_utf8_lossy(&output);
        // A tail that is full begins within a line.
        let whole = match text.split_once('\n') {
            Some((_, rest)) if output.len() >= OUTPUT_LIMIT as usize => rest,
            _ => &text,
        };
        let all: Vec<&str> = whole.lines().collect();
        let first = all.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
        Ok(all[first..].iter().map(|line| (*line).to_owned()).collect())
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        const VERB: &str = "tell the usage of";
        self.exists(VERB)?;
        let Some(process) = self.running(VERB)? else { return Ok(Usage::nothing()) };
        let used = || process.usage().map_err(|error| self.failed(VERB, error));
        let Some(before) = used()? else { return Ok(Usage::nothing()) };
        let began = clock::monotonic();
        clock::sleep(MOMENT);
        let Some(after) = used()? else { return Ok(Usage::nothing()) };
        let passed = clock::monotonic().saturating_sub(began);
        // A member that ended and that nobody waited for takes its time with it.
        let own = Duration::from_nanos(after.cpu.saturating_sub(before.cpu));
        Ok(Usage {
            cpu_percent: Some(own.as_secs_f64() / passed.as_secs_f64() * 100.0),
            memory: Some(after.memory),
            attributes: Vec::new(),
        })
    }

    fn find(&self, verb: &str) -> Result<Option<Process>> {
        self.command.find().map_err(|error| self.failed(verb, error))
    }

    /// Its process, if there is such a command and it runs.
    fn running(&self, verb: &str) -> Result<Option<Process>> {
        if !command::is_granted(self.name) {
            return Ok(None);
        }
        Ok(self.find(verb)?.filter(Process::is_running))
    }

    /// Refuses what can only be done to a command that is granted.
    fn exists(&self, verb: &str) -> Result<()> {
        match command::is_granted(self.name) {
            true => Ok(()),
            false => Err(self.failed(verb, Error::not_found(self.missing()))),
        }
    }

    fn missing(&self) -> String {
        format!("no command {:?} is granted; add command.{} to the provider", self.name, self.name)
    }

    /// Continues the process. One that is not paused does not notice.
    fn continued(&self, verb: &str, process: &Process) -> Result<Observation> {
        process.signal("SIGCONT").map_err(|error| self.failed(verb, error))?;
        Ok(self.seen(&Process { state: State::Running, ..process.clone() }))
    }

    /// What came of a stop.
    fn ended(&self, verb: &str, mut process: Process, state: State) -> Result<Observation> {
        if !matches!(state, State::Exited(_)) {
            return Err(Error::timeout(format!(
                "{verb} command {:?}: process {} still runs {KILL_TIME:?} after the last signal",
                self.name, process.pid
            )));
        }
        process.state = state;
        Ok(self.seen(&process))
    }

    fn seen(&self, process: &Process) -> Observation {
        let seen = match process.state {
            State::Paused => Observation::new(self.name, Status::Paused, "paused"),
            State::Running => {
                let mut seen = Observation::new(self.name, Status::Running, "running");
                seen.addresses = self.address.iter().cloned().collect();
                seen
            }
            State::Exited(status) => Observation::new(self.name, Status::Stopped, "exited")
                .with_detail(exit_detail(status)),
        };
        let seen = match process.state {
            // A status that nobody knows is none.
            State::Exited(status @ 0..) => seen.with_attribute("exit-status", status.to_string()),
            _ => seen,
        };
        seen.with_native_id(process.id.to_string())
            .with_attribute("pid", process.pid.to_string())
            .with_attribute("started-at", process.started_at.to_string())
    }

    fn failed(&self, verb: &str, error: Error) -> Error {
        error.context(format!("{verb} command {:?}", self.name))
    }
}

/// `term` and `TERM` are `SIGTERM`.
fn signal_name(signal: &str) -> String {
    let upper = signal.to_ascii_uppercase();
    if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") }
}

fn exit_detail(status: i32) -> String {
    if status < 0 {
        return "ended; nobody knows its status, as the router was started anew meanwhile"
            .to_owned();
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
