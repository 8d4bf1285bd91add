//! One program, its process, and what is done to it.

use std::time::Duration;

use drowse_provider_sdk::{
    Address, Error, ErrorCode, Observation, Result, Status, Target,
    command::{self, Command, OUTPUT_LIMIT, Process, State},
    memo,
};

use crate::settings::TargetSettings;

/// How long a killed process may take to end.
const KILL_TIME: Duration = Duration::from_secs(5);

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
        if !command::granted().iter().any(|granted| granted == self.name) {
            return Ok(Observation::missing(self.name).with_detail(format!(
                "no command {:?} is granted; add command.{} to the provider",
                self.name, self.name
            )));
        }
        Ok(match self.find("look at")? {
            Some(process) => self.seen(&process),
            None => Observation::new(self.name, Status::Stopped, "never started"),
        })
    }

    pub(crate) fn start(&self) -> Result<Observation> {
        if let Some(process) = self.running("start")? {
            self.wake(&process).map_err(|error| self.failed("start", error))?;
            return Ok(self.seen(&process));
        }
        memo::delete(&self.paused_key());
        match self.command.clone().spawn() {
            Ok(process) => Ok(self.seen(&process)),
            // Another call was faster.
            Err(error) if *error.code() == ErrorCode::Conflict => match self.running("start")? {
                Some(process) => Ok(self.seen(&process)),
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
            self.wake(&process)?;
            match process.wait(grace)? {
                State::Running => {
                    process.signal("SIGKILL")?;
                    process.wait(KILL_TIME)
                }
                ended => Ok(ended),
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
            self.wake(&process)?;
            process.wait(KILL_TIME)
        };
        let state = kill().map_err(|error| self.failed("kill", error))?;
        self.ended("kill", process, state)
    }

    pub(crate) fn pause(&self) -> Result<Observation> {
        let Some(process) = self.running("pause")? else {
            return Err(Error::conflict(format!(
                "pause command {:?}: it does not run; start it instead",
                self.name
            )));
        };
        // First, so that no stopped process is ever taken for a running one.
        if !memo::set(&self.paused_key(), process.id.to_string()) {
            return Err(Error::unavailable(format!(
                "pause command {:?}: too many are paused already; stop it instead",
                self.name
            )));
        }
        if let Err(error) = process.signal("SIGSTOP") {
            memo::delete(&self.paused_key());
            return Err(self.failed("pause", error));
        }
        Ok(self.seen(&process))
    }

    pub(crate) fn resume(&self) -> Result<Observation> {
        let Some(process) = self.running("resume")? else {
            return Err(Error::conflict(format!(
                "resume command {:?}: it does not run; start it instead",
                self.name
            )));
        };
        self.wake(&process).map_err(|error| self.failed("resume", error))?;
        Ok(self.seen(&process))
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

    fn find(&self, verb: &str) -> Result<Option<Process>> {
        self.command.find().map_err(|error| self.failed(verb, error))
    }

    fn running(&self, verb: &str) -> Result<Option<Process>> {
        Ok(self.find(verb)?.filter(Process::is_running))
    }

    /// Continues the process if it is paused.
    fn wake(&self, process: &Process) -> Result<()> {
        if self.is_paused(process) {
            process.signal("SIGCONT")?;
            memo::delete(&self.paused_key());
        }
        Ok(())
    }

    /// The host knows of a process only whether it has ended; that we paused it is ours to keep.
    fn is_paused(&self, process: &Process) -> bool {
        memo::text(&self.paused_key()).is_some_and(|id| id == process.id.to_string())
    }

    fn paused_key(&self) -> String {
        format!("paused.{}", self.name)
    }

    /// What came of a stop.
    fn ended(&self, verb: &str, mut process: Process, state: State) -> Result<Observation> {
        if state == State::Running {
            return Err(Error::timeout(format!(
                "{verb} command {:?}: process {} still runs {KILL_TIME:?} after the last signal",
                self.name, process.pid
            )));
        }
        process.state = state;
        memo::delete(&self.paused_key());
        Ok(self.seen(&process))
    }

    fn seen(&self, process: &Process) -> Observation {
        let seen = match process.state {
            State::Running if self.is_paused(process) => {
                Observation::new(self.name, Status::Paused, "paused")
            }
            State::Running => {
                let mut seen = Observation::new(self.name, Status::Running, "running");
                seen.addresses = self.address.iter().cloned().collect();
                seen
            }
            State::Exited(status) => Observation::new(self.name, Status::Stopped, "exited")
                .with_detail(exit_detail(status))
                .with_attribute("exit-status", status.to_string()),
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
