//! One target, `blog`, that takes a moment for everything.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use drowse_core::{Address, ErrorCode, Failure, Health, Observation, ProviderEvent, Status};
use tokio::{sync::mpsc, time::Instant};

use super::MOMENT;

/// Longer than anybody in the tests is patient, and not for ever.
const LOCKED: Duration = Duration::from_secs(40);

pub(crate) struct Platform {
    lie: &'static str,
    calls: AtomicUsize,
    inside: AtomicUsize,
    target: Mutex<Target>,
}

struct Target {
    status: Status,
    /// Counts incarnations.
    id: u64,
    /// Counts starts.
    life: u64,
    /// Somebody starts or stops it, until then at most.
    busy: Option<Instant>,
    watchers: Vec<mpsc::Sender<ProviderEvent>>,
}

pub(crate) fn failure(code: ErrorCode, message: &str) -> Failure {
    Failure::new(code, message)
}

impl Platform {
    pub(crate) fn new(lie: &'static str) -> Self {
        let watchers = Vec::new();
        let target = Target { status: Status::Stopped, id: 1, life: 1, busy: None, watchers };
        let (calls, inside) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { lie, calls, inside, target: Mutex::new(target) }
    }

    fn lies(&self, lie: &str) -> bool {
        self.lie == lie
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap()
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    pub(crate) fn now(&self) -> Status {
        self.target().status.clone()
    }

    pub(crate) fn exists(&self, handle: &str) -> bool {
        self.calls.fetch_add(1, Relaxed);
        handle == "blog" && self.now() != Status::Missing
    }

    pub(crate) fn set(&self, status: Status) {
        self.target().status = status;
    }

    pub(crate) fn observe(&self, handle: &str) -> Observation {
        let target = self.target();
        let status = if handle == "blog" { target.status.clone() } else { Status::Missing };
        let running = status == Status::Running;
        Observation {
            handle: handle.into(),
            native_status: format!("{status:?}"),
            native_id: Some(target.id.to_string()),
            status,
            health: Health::None,
            addresses: running.then(Self::address).into_iter().collect(),
            labels: BTreeMap::new(),
            detail: None,
            attributes: BTreeMap::from([("started-at".into(), target.life.to_string())]),
        }
    }

    /// Where it is reached.
    pub(crate) fn address() -> Address {
        Address { host: "127.0.0.1".into(), port: Some(80), target_port: None }
    }

    /// Tells everybody who watches.
    pub(crate) fn report(&self) {
        let seen = self.observe("blog");
        self.target()
            .watchers
            .retain(|it| it.try_send(ProviderEvent::Changed(seen.clone())).is_ok());
    }

    pub(crate) fn watched_by(&self, watcher: mpsc::Sender<ProviderEvent>) {
        self.target().watchers.push(watcher);
    }

    /// Whether others ask at the same time.
    pub(crate) async fn is_crowded(&self) -> bool {
        let others = self.inside.fetch_add(1, Relaxed);
        tokio::time::sleep(MOMENT).await;
        self.inside.fetch_sub(1, Relaxed);
        others > 0
    }

    /// Whoever is dropped on the way leaves the door open, unless that is the lie.
    async fn alone(&self, lie: &str) -> Result<(), Failure> {
        struct Inside<'p>(&'p Platform);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.target().busy = None;
            }
        }
        let now = Instant::now();
        {
            let mut target = self.target();
            if target.busy.is_some_and(|until| now < until) {
                return Err(failure(ErrorCode::Conflict, "somebody else is at it"));
            }
            target.busy = Some(now + LOCKED);
        }
        if self.lies(lie) {
            tokio::time::sleep(MOMENT).await;
            drop(Inside(self));
        } else {
            let _inside = Inside(self);
            tokio::time::sleep(MOMENT).await;
        }
        Ok(())
    }

    pub(crate) async fn start(&self) -> Result<(), Failure> {
        match self.now() {
            Status::Running if self.lies("start-again") => self.target().life += 1,
            Status::Running => {}
            Status::Paused => {
                let mut target = self.target();
                target.status = Status::Running;
                target.life += u64::from(self.lies("start-paused"));
            }
            _ if self.lies("broken") => {
                return Err(failure(ErrorCode::Unavailable, "there is no power"));
            }
            _ => {
                let door = self.alone("start-dropped").await;
                if self.lies("start-twice") {
                    door.map_err(|_| failure(ErrorCode::Internal, "a race"))?;
                } else {
                    door?;
                }
                let mut target = self.target();
                target.status = Status::Running;
                target.life += 1;
                drop(target);
                if !self.lies("watch-start") {
                    self.report();
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn stop(self: &Arc<Self>) -> Result<(), Failure> {
        match self.now() {
            Status::Stopped if self.lies("stop-again") => {
                return Err(failure(ErrorCode::Conflict, "it is stopped"));
            }
            Status::Stopped if self.lies("start-and-stop") && self.target().busy.is_some() => {
                return Err(failure(ErrorCode::Internal, "a race"));
            }
            Status::Stopped => {}
            Status::Paused if self.lies("stop-paused") => {
                return Err(failure(ErrorCode::Internal, "it is paused"));
            }
            _ if self.lies("stop") => {
                let later = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(MOMENT).await;
                    later.set(Status::Stopped);
                    later.report();
                });
            }
            _ => {
                let door = self.alone("stop-dropped").await;
                if self.lies("stop-twice") {
                    door.map_err(|_| failure(ErrorCode::Internal, "a race"))?;
                } else {
                    door?;
                }
                self.set(Status::Stopped);
                if !self.lies("watch-stop") {
                    self.report();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn pause(&self) -> Result<(), Failure> {
        match self.now() {
            Status::Running if self.lies("pause") => {}
            Status::Paused if self.lies("pause-again") => {
                return Err(failure(ErrorCode::Conflict, "it is paused"));
            }
            Status::Running | Status::Paused => self.set(Status::Paused),
            _ if self.lies("pause-stopped") => {}
            _ => return Err(failure(ErrorCode::Conflict, "it does not run")),
        }
        Ok(())
    }

    pub(crate) fn resume(&self) -> Result<(), Failure> {
        match self.now() {
            Status::Running if self.lies("resume-running") => {
                return Err(failure(ErrorCode::Conflict, "it runs"));
            }
            Status::Paused if self.lies("resume") => {
                return Err(failure(ErrorCode::Internal, "it sleeps so well"));
            }
            Status::Running | Status::Paused => self.set(Status::Running),
            _ => return Err(failure(ErrorCode::Conflict, "it does not run")),
        }
        Ok(())
    }

    pub(crate) fn kill(&self) -> Result<(), Failure> {
        match self.now() {
            Status::Stopped if self.lies("kill-again") => {
                return Err(failure(ErrorCode::Conflict, "it is stopped"));
            }
            Status::Running if self.lies("kill") => {}
            _ => self.set(Status::Stopped),
        }
        Ok(())
    }

    /// Another incarnation, in the state of this one.
    pub(crate) fn recreate(&self) {
        let mut target = self.target();
        let stopped = target.status == Status::Stopped;
        match (self.lie, stopped) {
            ("recreate", false) => {}
            ("recreate-stopped", true) => {
                target.id += 1;
                target.status = Status::Running;
            }
            _ => target.id += 1,
        }
    }
}
