//! Simulated commands and processes.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    bindings::drowse::provider::command::{Process, ProcessUsage, SpawnOptions, State},
    error::{Error, Result},
    signal,
};

/// Aliases of signal names that the host supports, without `SIG`.
const ALIASES: [(&str, &str); 2] = [("IOT", "ABRT"), ("POLL", "IO")];

/// Signals whose default action does not end a process.
const IGNORED: [&str; 6] = ["SIGCHLD", "SIGURG", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU"];

/// Behaviour of a granted program. By default it runs until a signal ends it at once.
#[derive(Clone, Debug, Default)]
pub struct Program {
    refused: Option<Error>,
    /// Signal → time until the end and exit status; None if ignored.
    reactions: BTreeMap<String, Option<(Duration, i32)>>,
    life: Option<(Duration, i32)>,
    output: Vec<u8>,
    /// CPU usage in percent of one core, and memory in bytes.
    uses: (u32, u64),
}

#[derive(Default)]
pub(super) struct Processes {
    programs: BTreeMap<String, Program>,
    processes: Vec<Running>,
    /// Commands that started or ended; the index + 1 is the cursor.
    changes: Vec<String>,
    pub(super) signals: Vec<String>,
    pub(super) spawned: Vec<(Vec<String>, Vec<String>)>,
}

struct Running {
    process: Process,
    began: Duration,
    /// End by the virtual clock, and exit status.
    end: Option<(Duration, i32)>,
    stopped: bool,
    /// Signals delivered at SIGCONT.
    pending: Vec<String>,
}

// === impl Program ===

impl Program {
    /// A program that runs until a signal ends it at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the spawn fail.
    #[must_use]
    pub fn refuses(mut self, error: Error) -> Self {
        self.refused = Some(error);
        self
    }

    /// Ignores this signal.
    #[must_use]
    pub fn ignores(mut self, signal: &str) -> Self {
        self.reactions.insert(signal.to_owned(), None);
        self
    }

    /// Ends this long after the signal, with this status.
    #[must_use]
    pub fn ends_on(mut self, signal: &str, after: Duration, status: i32) -> Self {
        self.reactions.insert(signal.to_owned(), Some((after, status)));
        self
    }

    /// Ends by itself this long after the spawn, with this status.
    #[must_use]
    pub fn lives(mut self, time: Duration, status: i32) -> Self {
        self.life = Some((time, status));
        self
    }

    /// Sets the output.
    #[must_use]
    pub fn writes(mut self, output: impl Into<Vec<u8>>) -> Self {
        self.output = output.into();
        self
    }

    /// Sets the usage while it runs: percent of one core, and bytes of memory.
    #[must_use]
    pub fn uses(mut self, cpu_percent: u32, memory: u64) -> Self {
        self.uses = (cpu_percent, memory);
        self
    }

    fn reaction(&self, signal: &str) -> Option<(Duration, i32)> {
        let default = number(signal).map(|number| (Duration::ZERO, 128 + number));
        match signal {
            "SIGKILL" => default,
            _ if IGNORED.contains(&signal) => self.reactions.get(signal).copied().flatten(),
            _ => self.reactions.get(signal).copied().unwrap_or(default),
        }
    }
}

// === impl Processes ===

impl Processes {
    pub(super) fn grant(&mut self, command: &str, program: Program) {
        self.programs.insert(command.to_owned(), program);
    }

    pub(super) fn granted(&self) -> Vec<String> {
        self.programs.keys().cloned().collect()
    }

    /// Marks the processes whose end has passed.
    pub(super) fn update(&mut self, now: Duration) {
        let is_due =
            |it: &Running| it.process.is_running() && it.end.is_some_and(|(at, _)| at <= now);
        let mut ended: Vec<&mut Running> =
            self.processes.iter_mut().filter(|it| is_due(it)).collect();
        ended.sort_by_key(|it| it.end);
        for it in ended {
            if let Some((_, status)) = it.end {
                it.process.state = State::Exited(status);
                self.changes.push(it.process.command.clone());
            }
        }
    }

    /// Time of the next end of a process.
    pub(super) fn next_end(&self) -> Option<Duration> {
        let running = self.processes.iter().filter(|it| it.process.is_running());
        running.filter_map(|it| it.end).map(|(at, _)| at).min()
    }

    pub(super) fn spawn(
        &mut self,
        options: &SpawnOptions,
        now: Duration,
        epoch: Duration,
    ) -> Result<Process> {
        let SpawnOptions { command, arguments, environment } = options;
        let program = self.program(command)?.clone();
        if self.find(command)?.is_some_and(|process| process.is_running()) {
            return Err(Error::conflict(format!("spawn {command:?}: already running")));
        }
        if let Some(error) = program.refused {
            return Err(error);
        }
        let environment = environment.iter().map(|it| format!("{}={}", it.name, it.value));
        self.spawned.push((arguments.clone(), environment.collect()));
        let number = u32::try_from(self.processes.len()).expect("a test spawns few processes");
        let process = Process {
            id: u64::from(number) + 1,
            command: command.clone(),
            pid: 4000 + number,
            state: State::Running,
            started_at: u64::try_from((epoch + now).as_millis()).expect("a time of this age"),
        };
        let end = program.life.map(|(time, status)| (now + time, status));
        let running = Running {
            process: process.clone(),
            began: now,
            end,
            stopped: false,
            pending: Vec::new(),
        };
        self.processes.push(running);
        self.changes.push(command.clone());
        Ok(process)
    }

    pub(super) fn find(&self, command: &str) -> Result<Option<Process>> {
        self.program(command)?;
        let last = self.processes.iter().rev().find(|it| it.process.command == command);
        Ok(last.map(|it| it.process.clone()))
    }

    pub(super) fn state(&self, id: u64) -> Result<State> {
        let it = self.processes.iter().find(|it| it.process.id == id);
        it.map(|it| it.process.state).ok_or_else(|| unknown(id))
    }

    pub(super) fn signal(&mut self, id: u64, signal: &str, now: Duration) -> Result<()> {
        if number(signal).is_none() {
            return Err(Error::invalid_request(format!("signal {signal:?}: no such signal")));
        }
        let it = self.processes.iter_mut().find(|it| it.process.id == id);
        let it = it.ok_or_else(|| unknown(id))?;
        self.signals.push(format!("{} {signal}", it.process.command));
        let mut delivered = Vec::new();
        match signal {
            "SIGSTOP" => {
                it.stopped = true;
                if it.process.is_running() {
                    it.process.state = State::Paused;
                }
            }
            "SIGCONT" => {
                it.stopped = false;
                if it.process.is_running() {
                    it.process.state = State::Running;
                }
                delivered = std::mem::take(&mut it.pending);
            }
            "SIGKILL" => delivered.push(signal.to_owned()),
            _ if it.stopped => it.pending.push(signal.to_owned()),
            _ => delivered.push(signal.to_owned()),
        }
        let program = self.programs.get(&it.process.command).cloned().unwrap_or_default();
        for signal in delivered {
            if let Some((after, status)) = program.reaction(&signal) {
                let end = (now + after, status);
                it.end = Some(it.end.map_or(end, |earlier| earlier.min(end)));
            }
        }
        self.update(now);
        Ok(())
    }

    pub(super) fn output(&self, id: u64, limit: u32) -> Result<Vec<u8>> {
        let it = self.processes.iter().find(|it| it.process.id == id);
        let output = &self.program(&it.ok_or_else(|| unknown(id))?.process.command)?.output;
        Ok(output[output.len().saturating_sub(limit as usize)..].to_vec())
    }

    pub(super) fn usage(&self, id: u64, now: Duration) -> Result<Option<ProcessUsage>> {
        let it = self.processes.iter().find(|it| it.process.id == id);
        let it = it.ok_or_else(|| unknown(id))?;
        if !it.process.is_running() {
            return Ok(None);
        }
        let (percent, memory) = self.program(&it.process.command)?.uses;
        let cpu = (now - it.began) * percent / 100;
        let cpu = u64::try_from(cpu.as_nanos()).expect("a time of this age");
        Ok(Some(ProcessUsage { cpu, memory }))
    }

    /// Changes after the cursor, if any.
    pub(super) fn changes(&self, since: u64) -> Option<(u64, Vec<String>)> {
        let since = usize::try_from(since).unwrap_or(usize::MAX);
        let new = self.changes.get(since..).filter(|new| !new.is_empty())?;
        let mut commands = new.to_vec();
        commands.sort();
        commands.dedup();
        Some((self.changes.len() as u64, commands))
    }

    fn program(&self, command: &str) -> Result<&Program> {
        self.programs.get(command).ok_or_else(|| {
            Error::denied(format!(
                "command {command:?} is not granted; add command.{command} to the provider"
            ))
        })
    }
}

/// The number of a signal such as `SIGTERM`.
fn number(signal: &str) -> Option<i32> {
    let name = signal.strip_prefix("SIG")?;
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let number = signal::number(alias.map_or(name, |(_, name)| name))?;
    i32::try_from(number).ok()
}

fn unknown(id: u64) -> Error {
    Error::invalid_request(format!("process {id}: no such process"))
}
