//! Actions on guests: immediate refusals, and failures of their tasks.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;
use serde_json::Value;

use super::{
    cluster::{Cluster, Generation, Guest, Kind, TASK, Task},
    http::{Refusal, Request},
};

/// The action of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Shutdown,
    Hold,
    ToDisk,
    Resume,
}

// === impl Action ===

impl Action {
    fn of(kind: Kind, action: &str, asked: &Request) -> Option<Self> {
        let to_disk = asked.parameters.get("todisk").is_some_and(|flag| flag == "1");
        Some(match (kind, action) {
            (_, "start") => Self::Start,
            (_, "stop") => Self::Stop,
            (_, "shutdown") => Self::Shutdown,
            (Kind::Qemu, "suspend") if to_disk => Self::ToDisk,
            (Kind::Qemu, "suspend") => Self::Hold,
            (Kind::Qemu, "resume") => Self::Resume,
            _ => return None,
        })
    }

    /// Type of the task in its UPID.
    fn task(self, guest: &Guest) -> String {
        let (prefix, word) = match (self, guest.kind) {
            (Self::Start, _) if guest.managed => return "hastart".to_owned(),
            (Self::Stop | Self::Shutdown, _) if guest.managed => return "hastop".to_owned(),
            (Self::Hold, _) => return "qmpause".to_owned(),
            (Self::Start, kind) => (kind, "start"),
            (Self::Stop, kind) => (kind, "stop"),
            (Self::Shutdown, kind) => (kind, "shutdown"),
            (Self::ToDisk, kind) => (kind, "suspend"),
            (Self::Resume, kind) => (kind, "resume"),
        };
        let prefix = if prefix == Kind::Lxc { "vz" } else { "qm" };
        format!("{prefix}{word}")
    }
}

/// Parameters of an action.
fn known(generation: Generation, kind: Kind, action: &str) -> Vec<&'static str> {
    let mut known = match (kind, action) {
        (Kind::Lxc, "start") => vec!["debug", "skiplock"],
        (Kind::Qemu, "start") => vec!["skiplock", "timeout", "force-cpu", "machine", "stateuri"],
        (Kind::Lxc, "stop") => vec!["skiplock"],
        (Kind::Qemu, "stop") => vec!["skiplock", "timeout", "keepActive", "migratedfrom"],
        (Kind::Lxc, "shutdown") => vec!["timeout", "forceStop"],
        (Kind::Qemu, "shutdown") => vec!["timeout", "forceStop", "skiplock", "keepActive"],
        (Kind::Qemu, "suspend") => vec!["skiplock", "todisk", "statestorage"],
        (Kind::Qemu, "resume") => vec!["skiplock", "nocheck"],
        _ => Vec::new(),
    };
    if action == "stop" && generation == Generation::New {
        known.push("overrule-shutdown");
    }
    known
}

impl Cluster {
    /// Takes an action: a task's UPID, or why there is none.
    pub(super) fn act(
        &mut self,
        vmid: u32,
        action: &str,
        asked: &Request,
    ) -> Result<Value, Refusal> {
        let generation = self.generation;
        let number = self.tasks.len() + 1;
        let guest = self.guest(vmid).map_err(|error| Refusal::new(500, &error.to_string()))?;
        let known = known(generation, guest.kind, action);
        check(asked, &known)?;
        let Some(action) = Action::of(guest.kind, action, asked) else {
            let path = asked.path.join("/");
            return Err(Refusal::new(501, &format!("Method 'POST /{path}' not implemented")));
        };
        let force = asked.parameters.get("forceStop").is_some_and(|flag| flag == "1");
        if let Some(text) = guest.refusal(vmid, action, force) {
            return Err(Refusal::new(500, &text));
        }
        let (node, kind) = (guest.node.clone(), action.task(guest));
        let upid =
            format!("UPID:{node}:{number:08X}:00A1B2C3:68F0A1B2:{kind}:{vmid}:drowse@pve!wake:");
        let due = Instant::now() + TASK;
        let (action, exit) = (Some(action), String::new());
        self.tasks.push(Task { upid: upid.clone(), node, due, vmid, action, exit });
        Ok(upid.into())
    }
}

/// Refuses parameters that the schema does not declare.
pub(super) fn check(asked: &Request, known: &[&str]) -> Result<(), Refusal> {
    let undeclared = "property is not defined in schema and the schema does not allow additional \
                      properties";
    let mut errors = BTreeMap::new();
    for name in asked.parameters.keys() {
        if !known.contains(&name.as_str()) {
            errors.insert(name.clone(), undeclared.to_owned());
        } else if name == "skiplock" {
            errors.insert(name.clone(), "Only root may use this option.".to_owned());
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Refusal { errors, ..Refusal::new(400, "Parameter verification failed.") })
}

// === impl Guest ===

impl Guest {
    /// Refusal without a task, if any.
    fn refusal(&self, vmid: u32, action: Action, force: bool) -> Option<String> {
        let (runs, title) = (self.process.is_some(), self.kind.title());
        let on_disk = self.lock.as_deref() == Some("suspended");
        let refused = match (self.kind, action) {
            (Kind::Lxc, Action::Start) if runs => "already running",
            (Kind::Lxc, Action::Stop | Action::Shutdown) if !runs => "not running",
            (Kind::Qemu, Action::Hold | Action::ToDisk) if !runs => "not running",
            (Kind::Qemu, Action::Resume) if !runs && !on_disk => "not running",
            (Kind::Qemu, Action::Shutdown) if self.paused && !force => {
                return Some("VM is paused - cannot shutdown".to_owned());
            }
            _ => return None,
        };
        Some(format!("{title} {vmid} {refused}"))
    }

    /// Returns whether the HA manager executes it after the task.
    pub(super) fn manages(&self, action: &Action) -> bool {
        self.managed && matches!(action, Action::Start | Action::Stop | Action::Shutdown)
    }

    /// Executes the action and returns the exit status of the task.
    pub(super) fn exit(&mut self, vmid: u32, action: &Action) -> String {
        let (runs, title) = (self.process.is_some(), self.kind.title());
        match self.lock.as_deref() {
            Some("suspended") if matches!(action, Action::Start | Action::Resume) => {
                self.lock = None
            }
            Some(lock) => return format!("{title} is locked ({lock})"),
            None => {}
        }
        let done = match action {
            Action::Start if runs => return format!("{title} {vmid} already running"),
            Action::Start => self.begin(),
            Action::Resume if !runs => self.begin(),
            Action::Resume => self.hold(false),
            Action::Hold => self.hold(true),
            Action::Stop | Action::Shutdown => self.end(),
            Action::ToDisk => {
                self.lock = Some("suspended".to_owned());
                self.end()
            }
        };
        match done {
            Ok(()) => "OK".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }
}
