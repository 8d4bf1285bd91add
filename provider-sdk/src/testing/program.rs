//! Granted commands and their processes, without any process.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    bindings::drowse::provider::command::{Process, ProcessUsage, SpawnOptions, State},
    error::{Error, Result},
};

/// The signals that the host sends, signal(7), with their numbers on most machines.
const SIGNALS: [(&str, i32); 33] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGIOT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPOLL", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// A program that does not ask for them does not notice them, or is not ended by them.
const IGNORED: [&str; 6] = ["SIGCHLD", "SIGURG", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU"];

/// How a granted program behaves. By default it runs until a signal ends it at once.
#[derive(Clone, Debug, Default)]
pub struct Program {
    refused: Option<Error>,
    /// Signal → time until the end and exit status, or deaf.
    reactions: BTreeMap<String, Option<(Duration, i32)>>,
    life: Option<(Duration, i32)>,
    output: Vec<u8>,
    /// Percent of one core, and bytes.
    uses: (u32, u64),
}

#[derive(Default)]
pub(super) struct Processes {
    programs: BTreeMap<String, Program>,
    processes: Vec<Running>,
    /// Which command started or ended; its position + 1 is the cursor.
    changes: Vec<String>,
    pub(super) signals: Vec<String>,
    pub(super) spawned: Vec<(Vec<String>, Vec<String>)>,
}

struct Running {
    process: Process,
    began: Duration,
    /// When it ends, by the virtual clock, and how.
    end: Option<(Duration, i32)>,
    stopped: bool,
    /// Signals that wait for SIGCONT.
    held: Vec<String>,
}

// === impl Program ===

impl Program {
    /// A program that runs until a signal ends it at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawning it fails.
    #[must_use]
    pub fn refuses(mut self, error: Error) -> Self {
        self.refused = Some(error);
        self
    }

    /// It does not hear this signal.
    #[must_use]
    pub fn ignores(mut self, signal: &str) -> Self {
        self.reactions.insert(signal.to_owned(), None);
        self
    }

    /// It ends so long after this signal, with this status.
    #[must_use]
    pub fn ends_on(mut self, signal: &str, after: Duration, status: i32) -> Self {
        self.reactions.insert(signal.to_owned(), Some((after, status)));
        self
    }

    /// It ends by itself so long after it was spawned, with this status.
    #[must_use]
    pub fn lives(mut self, time: Duration, status: i32) -> Self {
        self.life = Some((time, status));
        self
    }

    /// What it writes.
    #[must_use]
    pub fn writes(mut self, output: impl Into<Vec<u8>>) -> Self {
        self.output = output.into();
        self
    }

    /// What it uses as long as it runs: percent of one core, and bytes of memory.
    #[must_use]
    pub fn uses(mut self, cpu_percent: u32, memory: u64) -> Self {
        self.uses = (cpu_percent, memory);
        self
    }

    fn reaction(&self, signal: &str) -> Option<(Duration, i32)> {
        let number = SIGNALS.iter().find(|(name, _)| *name == signal).map(|(_, number)| *number);
        let usual = number.map(|number| (Duration::ZERO, 128 + number));
        match signal {
            "SIGKILL" => usual,
            _ if IGNORED.contains(&signal) => self.reactions.get(signal).copied().flatten(),
            _ => self.reactions.get(signal).copied().unwrap_or(usual),
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

    /// Ends whatever has ended by now.
    pub(super) fn settle(&mut self, now: Duration) {
        let due = |it: &Running| it.process.is_running() && it.end.is_some_and(|(at, _)| at <= now);
        let mut ended: Vec<&mut Running> = self.processes.iter_mut().filter(|it| due(it)).collect();
        ended.sort_by_key(|it| it.end);
        for it in ended {
            if let Some((_, status)) = it.end {
                it.process.state = State::Exited(status);
                self.changes.push(it.process.command.clone());
            }
        }
    }

    /// When the next process ends.
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
            return Err(Error::conflict(format!("spawn {command:?}: it runs already")));
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
        let running =
            Running { process: process.clone(), began: now, end, stopped: false, held: Vec::new() };
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
        if !SIGNALS.iter().any(|(name, _)| *name == signal) {
            return Err(Error::invalid_request(format!("signal {signal:?}: no such signal")));
        }
        let it = self.processes.iter_mut().find(|it| it.process.id == id);
        let it = it.ok_or_else(|| unknown(id))?;
        self.signals.push(format!("{} {signal}", it.process.command));
        let mut due = Vec::new();
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
                due = std::mem::take(&mut it.held);
            }
            "SIGKILL" => due.push(signal.to_owned()),
            _ if it.stopped => it.held.push(signal.to_owned()),
            _ => due.push(signal.to_owned()),
        }
        let program = self.programs.get(&it.process.command).cloned().unwrap_or_default();
        for signal in due {
            if let Some((after, status)) = program.reaction(&signal) {
                let end = (now + after, status);
                it.end = Some(it.end.map_or(end, |earlier| earlier.min(end)));
            }
        }
        self.settle(now);
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

    /// What changed after the cursor, if anything did.
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

fn unknown(id: u64) -> Error {
    Error::invalid_request(format!("process {id}: no such process"))
}
