//! Starting, stopping and observing one container.
//!
//! containerd reports the reason of many errors only as text, so after an error the task is queried
//! again and its state decides. A start creates the task, attaches its network and starts its
//! process, in this order; a failed step is rolled back, so no task is left half-started.
//!
//! Other calls, routers and operators may work on the same container. A task is identified by the
//! pid of its process. A call deletes only the task that it found, never one that replaced it; if
//! another client ended or started the task meanwhile, the call answers `conflict`.

mod connect;
mod end;
mod recreate;
mod remove;
mod uses;

use std::time::Duration;

use drowse_provider_sdk::{
    Error, Observation, Result, Status, clock, clock::Deadline, network, warn,
};

use crate::{
    create::NewContainer,
    daemon::{Daemon, Key},
    observe,
    proto::{self, Container, Process},
    settings::{Settings, TargetSettings, is_id},
};

/// Timeout for the leftovers of a cancelled creation to disappear, and the pause between two
/// attempts.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum attempts of a start if another client changes the task meanwhile.
const START_ATTEMPTS: usize = 3;

/// Exit status of a process ended by `SIGKILL`.
const KILLED: u32 = 137;

/// Labels of containerd's restart monitor: the container is monitored; the monitor must not restart
/// it.
const RESTART: (&str, &str) =
    ("containerd.io/restart.status", "containerd.io/restart.explicitly-stopped");

/// One container by its id.
pub(crate) struct Target<'a> {
    daemon: &'a Daemon,
    settings: &'a Settings,
    id: &'a str,
    own: &'a TargetSettings,
}

// === impl Target ===

impl<'a> Target<'a> {
    /// Refuses an invalid container id before any call.
    pub(crate) fn new(
        daemon: &'a Daemon,
        settings: &'a Settings,
        id: &'a str,
        own: &'a TargetSettings,
    ) -> Result<Self> {
        if !is_id(id) {
            return Err(Error::invalid_request(format!(
                "target {id:?}: not a container id: at most 76 letters and digits, with '.', '_' or \
                 '-' between them"
            )));
        }
        own.check(&format!("target {id:?}"))?;
        Ok(Self { daemon, settings, id, own })
    }

    /// Current state of the container.
    pub(crate) fn observe(&self) -> Result<Observation> {
        let observe = || {
            let Some(container) = self.daemon.container(self.id)? else {
                return Ok(self.not_created());
            };
            let task = self.daemon.task(self.id)?;
            let mut seen = observe::seen(&container, task.as_ref());
            if seen.status == Status::Running
                && seen.addresses.is_empty()
                && let Some(task) = &task
            {
                seen = self.recover_addresses(&container, task, seen);
            }
            Ok(seen)
        };
        observe().map_err(|error: Error| error.context(self.attempt("inspect")))
    }

    /// Recovers the addresses of a running task without an address label, if the network knows
    /// them.
    fn recover_addresses(
        &self,
        container: &Container,
        task: &Process,
        seen: Observation,
    ) -> Observation {
        let Ok(Some(name)) = self.network(container) else { return seen };
        let known = network::check(&self.attachment(name, task.pid, None));
        if let Err(error) = known.and_then(|()| self.attach(container, name, task.pid).map(drop)) {
            return seen.with_detail(format!("running, but its address is unknown: {error}"));
        }
        match self.daemon.container(self.id) {
            Ok(Some(renewed)) => observe::seen(&renewed, Some(task)),
            _ => seen,
        }
    }

    /// State of a container that does not exist: stopped if the settings have an image to create it
    /// from.
    fn not_created(&self) -> Observation {
        match &self.own.image {
            Some(image) => Observation::new(self.id, Status::Stopped, "not created")
                .with_attribute("image", image),
            None => Observation::missing(self.id),
        }
    }

    pub(crate) fn start(&self) -> Result<Observation> {
        self.ensure_started().map_err(|error| error.context(self.attempt("start")))?;
        self.observe()
    }

    fn ensure_started(&self) -> Result<()> {
        let container = match self.daemon.container(self.id)? {
            Some(container) => container,
            None => self.new_container(false)?.create()?,
        };
        let network = self.network(&container)?;
        // Repeats only if another client changes the task in between.
        for _ in 0..START_ATTEMPTS {
            let Some(task) = self.daemon.task(self.id)? else {
                if let Some(pid) = self.create_task(&container)?
                    && self.launch(&container, network, pid)?
                {
                    return Ok(());
                }
                continue;
            };
            match task.status() {
                proto::Status::Running => {
                    if let Some(name) = network
                        && observe::addresses(&container, task.pid).is_empty()
                    {
                        self.attach(&container, name, task.pid)?;
                    }
                    return Ok(());
                }
                proto::Status::Paused | proto::Status::Pausing => {
                    self.expect_status(self.daemon.resume_task(self.id), proto::Status::Running)?;
                }
                // Created by another start, which may still run or was cancelled; the remaining
                // steps are the same.
                proto::Status::Created => {
                    if self.launch(&container, network, task.pid)? {
                        return Ok(());
                    }
                }
                _ => self.discard(&task, network)?,
            }
        }
        Err(Error::conflict("another client pauses and stops it meanwhile"))
    }

    /// Attaches the network of a created task and starts it. False if another client started it.
    fn launch(&self, container: &Container, network: Option<&str>, pid: u32) -> Result<bool> {
        let started = || {
            if let Some(name) = network {
                self.attach(container, name, pid)?;
            }
            self.daemon.start_task(self.id)
        };
        let Err(error) = started() else { return Ok(true) };
        let ended =
            |error: &Error| Error::conflict(format!("another client has stopped it: {error}"));
        let Some(task) = self.task_of(pid)? else { return Err(ended(&error)) };
        let error = match task.status() {
            proto::Status::Running | proto::Status::Paused | proto::Status::Pausing => {
                return Ok(false);
            }
            // A created task that was never started does not end with this status by itself.
            proto::Status::Stopped if task.exit_status == KILLED => ended(&error),
            _ => error,
        };
        Err(match self.discard(&task, network) {
            Ok(()) => error,
            Err(left) => error.context(format!("the failed start cannot be rolled back: {left}")),
        })
    }

    /// Creates a task; None if another client created one. Leftovers of a cancelled creation, which
    /// containerd cleans up itself, and a creation by another client block it until the timeout,
    /// which is a `conflict`.
    fn create_task(&self, container: &Container) -> Result<Option<u32>> {
        let key = Key { snapshotter: &container.snapshotter, key: &container.snapshot_key };
        let output = self.own.log.as_ref().map_or_else(String::new, |log| format!("file://{log}"));
        let task = proto::CreateTask {
            container_id: self.id.to_owned(),
            rootfs: self.daemon.mounts(key)?,
            stdout: output.clone(),
            stderr: output,
        };
        self.set_monitor(container, false);
        let deadline = Deadline::after(CLEANUP_TIMEOUT);
        loop {
            match self.daemon.create_task(&task) {
                Err(error) if is_leftover(&error) => match deadline.left() {
                    Some(left) => clock::sleep(PAUSE.min(left)),
                    None => return Err(Error::conflict(error.message())),
                },
                created => return created,
            }
        }
    }

    /// The task with this pid, unless another client deleted or replaced it.
    fn task_of(&self, pid: u32) -> Result<Option<Process>> {
        Ok(self.daemon.task(self.id)?.filter(|task| task.pid == pid))
    }

    pub(crate) fn pause(&self) -> Result<Observation> {
        self.set_paused("pause", proto::Status::Paused)
    }

    pub(crate) fn resume(&self) -> Result<Observation> {
        self.set_paused("resume", proto::Status::Running)
    }

    fn set_paused(&self, verb: &str, wanted: proto::Status) -> Result<Observation> {
        let attempt = self.attempt(verb);
        if self.daemon.container(self.id)?.is_none() {
            return Err(Error::not_found(format!("{attempt}: there is no such container")));
        }
        let result = match wanted {
            proto::Status::Paused => self.daemon.pause_task(self.id),
            _ => self.daemon.resume_task(self.id),
        };
        self.expect_status(result, wanted).map_err(|error| error.context(attempt))?;
        self.observe()
    }

    /// Succeeds if the task has the wanted state, whatever the call answered.
    fn expect_status(&self, result: Result<()>, wanted: proto::Status) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        match self.daemon.task(self.id)?.map(|task| task.status()) {
            Some(status) if status == wanted => Ok(()),
            Some(proto::Status::Running | proto::Status::Paused) => Err(error),
            _ => Err(Error::conflict("the container does not run; start it instead")),
        }
    }

    /// Instructs containerd's restart monitor, if it monitors this container, whether to leave it
    /// stopped.
    fn set_monitor(&self, container: &Container, stopped: bool) {
        let (monitored, label) = RESTART;
        if !container.labels.contains_key(monitored) {
            return;
        }
        let labelled = self.daemon.set_label(self.id, label, &stopped.to_string());
        if let Err(error) = labelled {
            warn!("{}: {error}", self.attempt("update the restart monitor for"));
        }
    }

    /// The create request of the container; `refresh` always asks the registry for a newer image.
    fn new_container(&self, refresh: bool) -> Result<NewContainer<'a>> {
        NewContainer::new(self.daemon, self.settings, self.id, self.own, refresh)
    }

    fn attempt(&self, verb: &str) -> String {
        format!("{verb} container {:?}", self.id)
    }
}

/// The error is caused by leftovers of a cancelled task creation: its directory, or a shim that is
/// about to exit and answers no calls.
fn is_leftover(error: &Error) -> bool {
    let has = |words| error.message().contains(words);
    has("file exists") || has("failed to start shim") && has("connection refused")
}
