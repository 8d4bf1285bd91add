//! Starting, stopping and looking at one container.
//!
//! containerd says of many refusals only in words why, so after one the task is looked at again and
//! its state decides. A start is a task, its network, and the start of its process, in this order:
//! whatever fails is taken back, so nothing is half-started.
//!
//! Others may be at the same container: another call, another router, an operator. A task is known by
//! the number of its process. What was found is taken away, and never what was put in its place; and
//! a call whose task somebody else has ended or started meanwhile says that by `conflict`.

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
    create::Blueprint,
    daemon::{Daemon, Key},
    observe,
    proto::{self, Container, Process},
    settings::{Settings, TargetSettings, is_id},
};

/// How long it may take until nothing is left of what was broken off, and how often that is looked at.
const CLEARING: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

/// How often a start looks again because somebody else has changed the task meanwhile.
const TIMES: usize = 3;

/// The exit status of what got `SIGKILL`.
const KILLED: u32 = 137;

/// Whether containerd's restart monitor looks after a container, and what tells it to stay away.
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
    /// Refuses what cannot be a container's id before anything is asked or touched.
    pub(crate) fn new(
        daemon: &'a Daemon,
        settings: &'a Settings,
        id: &'a str,
        own: &'a TargetSettings,
    ) -> Result<Self> {
        if !is_id(id) {
            return Err(Error::invalid_request(format!(
                "target {id:?}: not the id of a container: at most 76 letters and digits, with \
                 '.', '_' or '-' between them"
            )));
        }
        own.check(&format!("target {id:?}"))?;
        Ok(Self { daemon, settings, id, own })
    }

    /// What it is now.
    pub(crate) fn observe(&self) -> Result<Observation> {
        let look = || {
            let Some(container) = self.daemon.container(self.id)? else { return Ok(self.absent()) };
            let task = self.daemon.task(self.id)?;
            let mut seen = observe::seen(&container, task.as_ref());
            if seen.status == Status::Running
                && seen.addresses.is_empty()
                && let Some(task) = &task
            {
                seen = self.recovered(&container, task, seen);
            }
            Ok(seen)
        };
        look().map_err(|error: Error| error.context(self.attempt("look at")))
    }

    /// With the address of a life that nobody wrote down, if the network knows it.
    fn recovered(&self, container: &Container, task: &Process, seen: Observation) -> Observation {
        let Ok(Some(name)) = self.network(container) else { return seen };
        let known = network::check(&self.attachment(name, task.pid, None));
        if let Err(error) = known.and_then(|()| self.attach(container, name, task.pid).map(drop)) {
            return seen.with_detail(format!("it runs, and nobody knows its address: {error}"));
        }
        match self.daemon.container(self.id) {
            Ok(Some(renewed)) => observe::seen(&renewed, Some(task)),
            _ => seen,
        }
    }

    /// It is made when it is started, if the operator said of what.
    fn absent(&self) -> Observation {
        match &self.own.image {
            Some(image) => Observation::new(self.id, Status::Stopped, "not created")
                .with_attribute("image", image),
            None => Observation::missing(self.id),
        }
    }

    pub(crate) fn start(&self) -> Result<Observation> {
        self.begin().map_err(|error| error.context(self.attempt("start")))?;
        self.observe()
    }

    fn begin(&self) -> Result<()> {
        let container = match self.daemon.container(self.id)? {
            Some(container) => container,
            None => self.blueprint(false)?.create()?,
        };
        let network = self.network(&container)?;
        // More than once only if the task changes under our hands.
        for _ in 0..TIMES {
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
                    self.settled(self.daemon.resume_task(self.id), proto::Status::Running)?;
                }
                // What another start has begun: whether it goes on or was broken off, its end is the
                // same.
                proto::Status::Created => {
                    if self.launch(&container, network, task.pid)? {
                        return Ok(());
                    }
                }
                _ => self.discard(&task, network)?,
            }
        }
        Err(Error::conflict("somebody else pauses and stops it meanwhile"))
    }

    /// Network and start of a task that was created. False when somebody else has started it.
    fn launch(&self, container: &Container, network: Option<&str>, pid: u32) -> Result<bool> {
        let started = || {
            if let Some(name) = network {
                self.attach(container, name, pid)?;
            }
            self.daemon.start_task(self.id)
        };
        let Err(error) = started() else { return Ok(true) };
        let ended =
            |error: &Error| Error::conflict(format!("somebody else has stopped it: {error}"));
        let Some(task) = self.present(pid)? else { return Err(ended(&error)) };
        let error = match task.status() {
            proto::Status::Running | proto::Status::Paused | proto::Status::Pausing => {
                return Ok(false);
            }
            // What waits to be started does not end like this by itself.
            proto::Status::Stopped if task.exit_status == KILLED => ended(&error),
            _ => error,
        };
        Err(match self.discard(&task, network) {
            Ok(()) => error,
            Err(left) => error.context(format!("what was begun cannot be taken back: {left}")),
        })
    }

    /// A task for it; none when somebody else has made one. What is left of one whose creation was
    /// broken off is cleared away by containerd itself, and is in the way until then; so is one that
    /// somebody else is making. `conflict` when it stays.
    fn create_task(&self, container: &Container) -> Result<Option<u32>> {
        let key = Key { snapshotter: &container.snapshotter, key: &container.snapshot_key };
        let output = self.own.log.as_ref().map_or_else(String::new, |log| format!("file://{log}"));
        let task = proto::CreateTask {
            container_id: self.id.to_owned(),
            rootfs: self.daemon.mounts(key)?,
            stdout: output.clone(),
            stderr: output,
        };
        self.monitored(container, false);
        let deadline = Deadline::after(CLEARING);
        loop {
            match self.daemon.create_task(&task) {
                Err(error) if is_in_the_way(&error) => match deadline.left() {
                    Some(left) => clock::sleep(PAUSE.min(left)),
                    None => return Err(Error::conflict(error.message())),
                },
                created => return created,
            }
        }
    }

    /// The task of this process, unless somebody else has taken it away or put another in its place.
    fn present(&self, pid: u32) -> Result<Option<Process>> {
        Ok(self.daemon.task(self.id)?.filter(|task| task.pid == pid))
    }

    pub(crate) fn pause(&self) -> Result<Observation> {
        self.freeze("pause", proto::Status::Paused)
    }

    pub(crate) fn resume(&self) -> Result<Observation> {
        self.freeze("resume", proto::Status::Running)
    }

    fn freeze(&self, verb: &str, wanted: proto::Status) -> Result<Observation> {
        let attempt = self.attempt(verb);
        if self.daemon.container(self.id)?.is_none() {
            return Err(Error::not_found(format!("{attempt}: there is no such container")));
        }
        let asked = match wanted {
            proto::Status::Paused => self.daemon.pause_task(self.id),
            _ => self.daemon.resume_task(self.id),
        };
        self.settled(asked, wanted).map_err(|error| error.context(attempt))?;
        self.observe()
    }

    /// Success if it is so, whatever was answered.
    fn settled(&self, asked: Result<()>, wanted: proto::Status) -> Result<()> {
        let Err(error) = asked else { return Ok(()) };
        match self.daemon.task(self.id)?.map(|task| task.status()) {
            Some(status) if status == wanted => Ok(()),
            Some(proto::Status::Running | proto::Status::Paused) => Err(error),
            _ => Err(Error::conflict("it does not run; start it instead")),
        }
    }

    /// Tells containerd's restart monitor, where it looks after this one, whether to stay away.
    fn monitored(&self, container: &Container, stopped: bool) {
        let (looked_after, label) = RESTART;
        if !container.labels.contains_key(looked_after) {
            return;
        }
        let told = self.daemon.set_label(self.id, label, &stopped.to_string());
        if let Err(error) = told {
            warn!("{}: {error}", self.attempt("tell the restart monitor of"));
        }
    }

    /// What it is to be made of; looks for a newer image in any case if this is a refresh.
    fn blueprint(&self, refresh: bool) -> Result<Blueprint<'a>> {
        Blueprint::new(self.daemon, self.settings, self.id, self.own, refresh)
    }

    fn attempt(&self, verb: &str) -> String {
        format!("{verb} container {:?}", self.id)
    }
}

/// What is left of a task whose creation was broken off: its directory, or its shim, which ends by
/// itself and answers nobody any more.
fn is_in_the_way(error: &Error) -> bool {
    let has = |words| error.message().contains(words);
    has("file exists") || has("failed to start shim") && has("connection refused")
}
