//! Starting, stopping and looking at one container.
//!
//! containerd says of many refusals only in words why, so after one the task is looked at again and
//! its state decides. A start is a task, its network, and the start of its process, in this order:
//! whatever fails is taken back, so nothing is half-started.

use std::time::Duration;

use drowse_provider_sdk::{
    Error, ErrorCode, Observation, RemoveOptions, Result, Status, clock, clock::Deadline, network,
    network::Attachment, warn,
};

use crate::{
    create,
    daemon::{Daemon, Key},
    observe,
    proto::{self, Container, Process},
    settings::{Settings, TargetSettings, is_id},
    signals,
    spec::{self, Wiring},
};

/// The container's interface in its network.
const INTERFACE: &str = "eth0";

/// How long a killed container may take to end.
const KILL_TIME: Duration = Duration::from_secs(10);

/// The longest that one call waits for an end; then the task is looked at.
const WAIT: Duration = Duration::from_secs(20);

/// Before a network is asked for the second time.
const PAUSE: Duration = Duration::from_millis(250);

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
        if known.and_then(|()| self.attach(container, name, task.pid)).is_err() {
            return seen;
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
            None => create::create(self.daemon, self.settings, self.id, self.own)?,
        };
        let network = self.network(&container)?;
        // More than once only if the task changes under our hands.
        for _ in 0..3 {
            let Some(task) = self.daemon.task(self.id)? else {
                return self.launch(&container, network);
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
                // One that was created and not started is what a start has left that was broken off.
                _ => self.discard(network)?,
            }
        }
        Err(Error::conflict("somebody else pauses and stops it meanwhile"))
    }

    /// Task, network, start.
    fn launch(&self, container: &Container, network: Option<&str>) -> Result<()> {
        let key = Key { snapshotter: &container.snapshotter, key: &container.snapshot_key };
        let output = self.own.log.as_ref().map_or_else(String::new, |log| format!("file://{log}"));
        let task = proto::CreateTask {
            container_id: self.id.to_owned(),
            rootfs: self.daemon.mounts(key)?,
            stdout: output.clone(),
            stderr: output,
        };
        self.monitored(container, false);
        let pid = self.daemon.create_task(&task)?;
        let started = || {
            if let Some(name) = network {
                self.attach(container, name, pid)?;
            }
            self.daemon.start_task(self.id)
        };
        started().map_err(|error: Error| match self.discard(network) {
            Ok(()) => error,
            Err(left) => error.context(format!("what was begun cannot be taken back: {left}")),
        })
    }

    /// Attaches its network namespace, writes the addresses down and returns them. The address that
    /// it had is asked for first.
    fn attach(&self, container: &Container, name: &str, pid: u32) -> Result<Vec<String>> {
        let old = observe::last_address(container);
        let added = network::add(&self.attachment(name, pid, old)).or_else(|error| {
            if *error.code() == ErrorCode::Denied {
                return Err(error);
            }
            clock::sleep(PAUSE);
            network::add(&self.attachment(name, pid, None))
        });
        let addresses = added?;
        if addresses.is_empty() {
            return Err(Error::unavailable(format!("network {name:?} gave it no address")));
        }
        self.daemon.set_label(self.id, observe::ADDRESS, &observe::label(pid, &addresses))?;
        Ok(addresses)
    }

    /// The network that it is to be attached to; none for one that has its machine's.
    fn network(&self, container: &Container) -> Result<Option<&'a str>> {
        match spec::wiring(container) {
            Wiring::Host => Ok(None),
            Wiring::Own => {
                let name = self.own.network.as_deref().or(self.settings.network.as_deref());
                name.map(Some).ok_or_else(|| {
                    Error::invalid_request(
                        "it has a network namespace of its own, and no network is named; grant one \
                         and name it by the setting `network`",
                    )
                })
            }
            Wiring::Foreign => Err(Error::unsupported(
                "its network is somebody else's: a namespace made elsewhere, or hooks, as nerdctl \
                 makes them; its address cannot be known",
            )),
        }
    }

    fn attachment(&self, name: &str, pid: u32, address: Option<String>) -> Attachment {
        let namespace = match pid {
            0 => String::new(),
            pid => format!("/proc/{pid}/ns/net"),
        };
        Attachment {
            network: name.to_owned(),
            container: format!("{}-{}", self.daemon.namespace, self.id),
            namespace,
            interface: INTERFACE.to_owned(),
            address,
        }
    }

    pub(crate) fn stop(&self, signal: Option<&str>, grace: Duration) -> Result<Observation> {
        let signal = signal.map(signals::number).transpose()?;
        self.end(signal, grace, true).map_err(|error| error.context(self.attempt("stop")))?;
        self.observe()
    }

    pub(crate) fn kill(&self, signal: Option<&str>) -> Result<Observation> {
        let signal = signal.map_or(Ok(signals::KILL), signals::number)?;
        let ended = self.end(Some(signal), KILL_TIME, false);
        ended.map_err(|error| error.context(self.attempt("kill")))?;
        self.observe()
    }

    /// Sends the signal, waits, kills what is left if it may, and takes task and network away.
    fn end(&self, signal: Option<u32>, grace: Duration, force: bool) -> Result<()> {
        let Some(container) = self.daemon.container(self.id)? else { return Ok(()) };
        let network = self.network(&container).unwrap_or_default();
        self.monitored(&container, true);
        let Some(task) = self.daemon.task(self.id)? else {
            self.detach(network);
            return Ok(());
        };
        let usual = || signals::number(container.labels.get(create::STOP_SIGNAL)?).ok();
        let signal = signal.or_else(usual).unwrap_or(signals::TERM);
        match task.status() {
            proto::Status::Stopped | proto::Status::Created => {}
            status => {
                self.daemon.kill_task(self.id, signal)?;
                if status != proto::Status::Running && signal != signals::KILL {
                    // It hears the signal only when it goes on.
                    let resumed = self.daemon.resume_task(self.id);
                    self.settled(resumed, proto::Status::Running)?;
                }
                if !self.ended_within(grace)? && !force {
                    return Err(Error::timeout("it got the signal, and still runs"));
                }
            }
        }
        self.discard(network)
    }

    fn ended_within(&self, time: Duration) -> Result<bool> {
        let deadline = Deadline::after(time);
        while let Some(left) = deadline.left() {
            if self.daemon.wait_task(self.id, left.min(WAIT))? {
                return Ok(true);
            }
        }
        Ok(self.daemon.task(self.id)?.is_none_or(|it| it.status() == proto::Status::Stopped))
    }

    /// Takes the task away, by force if it still runs, and its network.
    fn discard(&self, network: Option<&str>) -> Result<()> {
        let Some(task) = self.daemon.task(self.id)? else {
            self.detach(network);
            return Ok(());
        };
        if task.status() != proto::Status::Stopped {
            self.daemon.kill_task(self.id, signals::KILL)?;
            if !self.ended_within(KILL_TIME)? {
                return Err(Error::timeout("it was killed, and still runs"));
            }
        }
        self.detach(network);
        self.daemon.delete_task(self.id)
    }

    /// Gives the address back. What goes wrong is told and keeps nothing else from being done.
    fn detach(&self, network: Option<&str>) {
        let Some(name) = network else { return };
        if let Err(error) = network::del(&self.attachment(name, 0, None)) {
            warn!("{}: {error}", self.attempt("detach"));
        }
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

    /// Takes away network, task, container and snapshot. Whatever fails is told, and the rest is
    /// done; data that is to be kept is secured before anything is touched.
    pub(crate) fn remove(&self, options: &RemoveOptions) -> Result<()> {
        let attempt = self.attempt("remove");
        let container = self.daemon.container(self.id);
        let container = container.map_err(|error| error.context(&attempt))?;
        let (snapshotter, key) = match &container {
            Some(container) => (container.snapshotter.as_str(), container.snapshot_key.as_str()),
            None => (self.settings.snapshotter.as_str(), self.id),
        };
        let key = Key { snapshotter, key };
        if options.preserve_data && container.is_some() {
            let kept = self.daemon.label_snapshot(key, create::ROOT, &create::now());
            kept.map_err(|error| error.context("its data cannot be kept").context(&attempt))?;
        }
        let mut failed = None;
        let mut step = |what: &str, done: Result<()>| {
            if let Err(error) = done {
                warn!("{attempt}: {what}: {error}");
                failed.get_or_insert(error);
            }
        };
        if container.is_some() {
            step("its task", self.end(Some(signals::KILL), KILL_TIME, true));
            step("the container", self.daemon.delete_container(self.id));
        }
        let ours = || match self.daemon.snapshot(key) {
            Ok(found) => found.is_some_and(|it| it.labels.contains_key(create::OWNER)),
            Err(_) => true,
        };
        // Without a container only what one of ours has left is its data.
        if !options.preserve_data && !key.key.is_empty() && (container.is_some() || ours()) {
            step("its snapshot", self.daemon.remove_snapshot(key));
        }
        failed.map_or(Ok(()), |error| Err(error.context(attempt)))
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

    fn attempt(&self, verb: &str) -> String {
        format!("{verb} container {:?}", self.id)
    }
}
