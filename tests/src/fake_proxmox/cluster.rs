//! State of the fake: guests, tasks, and delayed actions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::Signal;

pub(super) use super::Generation;
use super::power::Action;
use crate::{Hello, Process, memory::Memory};

/// The nodes. The first one serves the API and has all guests that are added.
pub(super) const NODES: [&str; 2] = ["pve1", "pve2"];

/// Duration of a task.
pub(super) const TASK: Duration = Duration::from_millis(150);

/// Delay between a task and the HA manager's action.
pub(super) const MANAGER: Duration = Duration::from_millis(500);

/// Interval at which nodes broadcast the status of their guests.
const BROADCAST: Duration = Duration::from_secs(1);

/// Type of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lxc,
    Qemu,
}

pub(super) struct Cluster {
    pub(super) generation: Generation,
    pub(super) guests: BTreeMap<u32, Guest>,
    /// Privileges of the token on all guests.
    pub(super) privileges: BTreeSet<&'static str>,
    pub(super) tasks: Vec<Task>,
    /// Methods and paths of all requests so far.
    pub(super) asked: Vec<(String, String)>,
    /// Nodes that are switched off.
    pub(super) down: BTreeSet<String>,
    /// Pending actions of the HA manager.
    pub(super) later: Vec<(Instant, u32, Action)>,
    broadcast: BTreeMap<u32, &'static str>,
    broadcast_at: Option<Instant>,
}

pub(super) struct Guest {
    pub(super) kind: Kind,
    pub(super) node: String,
    pub(super) backend: Hello,
    pub(super) process: Option<Process>,
    pub(super) paused: bool,
    pub(super) started: Instant,
    pub(super) lock: Option<String>,
    pub(super) managed: bool,
    /// Delay after a start until the guest agent answers.
    pub(super) agent: Duration,
}

pub(super) struct Task {
    pub(super) upid: String,
    pub(super) node: String,
    pub(super) due: Instant,
    pub(super) vmid: u32,
    /// Pending until the task is due.
    pub(super) action: Option<Action>,
    pub(super) exit: String,
}

// === impl Kind ===

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Qemu => "qemu",
        }
    }

    /// Name in messages.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Lxc => "CT",
            Self::Qemu => "VM",
        }
    }
}

// === impl Cluster ===

impl Cluster {
    pub(super) fn new(generation: Generation) -> Self {
        let agent = match generation {
            Generation::Old => "VM.Monitor",
            Generation::New => "VM.GuestAgent.Audit",
        };
        Self {
            generation,
            guests: BTreeMap::new(),
            privileges: ["VM.Audit", "VM.PowerMgmt", agent].into(),
            tasks: Vec::new(),
            asked: Vec::new(),
            down: BTreeSet::new(),
            later: Vec::new(),
            broadcast: BTreeMap::new(),
            broadcast_at: None,
        }
    }

    pub(super) fn guest(&mut self, vmid: u32) -> Result<&mut Guest> {
        self.guests.get_mut(&vmid).with_context(|| format!("no guest {vmid}"))
    }

    /// Executes due tasks and actions.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        self.guests.values_mut().for_each(Guest::reap);
        for task in self.tasks.iter_mut().filter(|task| task.due <= now) {
            let Some(action) = task.action.take() else { continue };
            if let Some(guest) = self.guests.get_mut(&task.vmid) {
                task.exit = match guest.manages(&action) {
                    // The HA manager acts later.
                    true => {
                        self.later.push((task.due + MANAGER, task.vmid, action));
                        "OK".to_owned()
                    }
                    false => guest.exit(task.vmid, &action),
                };
            }
        }
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|it| it.0 <= now);
        self.later = later;
        let due: Vec<_> = due;
        for (_, vmid, action) in due {
            if let Some(guest) = self.guests.get_mut(&vmid) {
                guest.exit(vmid, &action);
            }
        }
        if self.broadcast_at.is_none_or(|at| now.duration_since(at) >= BROADCAST) {
            self.broadcast_at = Some(now);
            self.broadcast =
                self.guests.iter().map(|(vmid, guest)| (*vmid, guest.status())).collect();
        }
    }

    /// The last broadcast status of a guest.
    pub(super) fn last_broadcast(&self, vmid: u32) -> &'static str {
        self.broadcast.get(&vmid).copied().unwrap_or("unknown")
    }
}

// === impl Guest ===

impl Guest {
    pub(super) fn new(kind: Kind, backend: Hello) -> Self {
        Self {
            kind,
            node: NODES[0].to_owned(),
            backend,
            process: None,
            paused: false,
            started: Instant::now(),
            lock: None,
            managed: false,
            agent: Duration::ZERO,
        }
    }

    pub(super) fn status(&self) -> &'static str {
        if self.process.is_some() { "running" } else { "stopped" }
    }

    /// Memory usage in bytes.
    pub(super) fn memory(&self) -> u64 {
        let used = self.process.as_ref().and_then(|it| Memory::of(it.id()).ok());
        used.map_or(0, |memory| memory.resident)
    }

    /// Seconds since the start.
    pub(super) fn uptime(&self) -> u64 {
        if self.process.is_some() { self.started.elapsed().as_secs() } else { 0 }
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        self.process = Some(self.backend.spawn()?);
        self.started = Instant::now();
        Ok(())
    }

    /// Marks a guest as stopped if its process has exited.
    fn reap(&mut self) {
        let ended = self.process.as_mut().is_some_and(|it| matches!(it.ended(), Ok(Some(_))));
        if ended {
            self.process = None;
            self.paused = false;
        }
    }

    pub(super) fn end(&mut self) -> Result<()> {
        self.hold(false)?;
        if let Some(mut process) = self.process.take() {
            process.stop()?;
        }
        Ok(())
    }

    pub(super) fn hold(&mut self, hold: bool) -> Result<()> {
        if let Some(process) = &mut self.process {
            process.signal(if hold { Signal::STOP } else { Signal::CONT })?;
        }
        self.paused = hold;
        Ok(())
    }
}
