//! A simulated platform with one target, `blog`, on which every operation takes a moment.

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

/// Maximum duration of an operation; longer than the timeouts of the tests.
const LOCKED: Duration = Duration::from_secs(40);

pub(crate) struct Platform {
    fault: &'static str,
    calls: AtomicUsize,
    inside: AtomicUsize,
    target: Mutex<Target>,
}

struct Target {
    status: Status,
    /// Number of the incarnation.
    id: u64,
    /// Number of starts.
    starts: u64,
    /// Deadline of a running start or stop.
    busy: Option<Instant>,
    watchers: Vec<mpsc::Sender<ProviderEvent>>,
}

pub(crate) fn failure(code: ErrorCode, message: &str) -> Failure {
    Failure::new(code, message)
}

impl Platform {
    pub(crate) fn new(fault: &'static str) -> Self {
        let watchers = Vec::new();
        let target = Target { status: Status::Stopped, id: 1, starts: 1, busy: None, watchers };
        let (calls, inside) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { fault, calls, inside, target: Mutex::new(target) }
    }

    fn has_fault(&self, fault: &str) -> bool {
        self.fault == fault
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
            attributes: BTreeMap::from([("started-at".into(), target.starts.to_string())]),
        }
    }

    /// Address of the running target.
    pub(crate) fn address() -> Address {
        Address { host: "127.0.0.1".into(), port: Some(80), target_port: None }
    }

    /// Reports the target to all watchers.
    pub(crate) fn report(&self) {
        let seen = self.observe("blog");
        self.target()
            .watchers
            .retain(|it| it.try_send(ProviderEvent::Changed(seen.clone())).is_ok());
    }

    pub(crate) fn watched_by(&self, watcher: mpsc::Sender<ProviderEvent>) {
        self.target().watchers.push(watcher);
    }

    /// Returns whether other calls are running.
    pub(crate) async fn has_concurrent_calls(&self) -> bool {
        let others = self.inside.fetch_add(1, Relaxed);
        tokio::time::sleep(MOMENT).await;
        self.inside.fetch_sub(1, Relaxed);
        others > 0
    }

    /// Locks the target for one operation. A dropped operation releases the lock, unless that is
    /// the fault.
    async fn lock(&self, fault: &str) -> Result<(), Failure> {
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
                return Err(failure(ErrorCode::Conflict, "another operation is running"));
            }
            target.busy = Some(now + LOCKED);
        }
        if self.has_fault(fault) {
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
            Status::Running if self.has_fault("start-again") => self.target().starts += 1,
            Status::Running => {}
            Status::Paused => {
                let mut target = self.target();
                target.status = Status::Running;
                target.starts += u64::from(self.has_fault("start-paused"));
            }
            _ if self.has_fault("broken") => {
                return Err(failure(ErrorCode::Unavailable, "no power"));
            }
            _ => {
                let lock = self.lock("start-dropped").await;
                if self.has_fault("start-twice") {
                    lock.map_err(|_| failure(ErrorCode::Internal, "a race"))?;
                } else {
                    lock?;
                }
                let mut target = self.target();
                target.status = Status::Running;
                target.starts += 1;
                drop(target);
                if !self.has_fault("watch-start") {
                    self.report();
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn stop(self: &Arc<Self>) -> Result<(), Failure> {
        match self.now() {
            Status::Stopped if self.has_fault("stop-again") => {
                return Err(failure(ErrorCode::Conflict, "it is stopped"));
            }
            Status::Stopped if self.has_fault("start-and-stop") && self.target().busy.is_some() => {
                return Err(failure(ErrorCode::Internal, "a race"));
            }
            Status::Stopped => {}
            Status::Paused if self.has_fault("stop-paused") => {
                return Err(failure(ErrorCode::Internal, "it is paused"));
            }
            _ if self.has_fault("stop") => {
                let later = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(MOMENT).await;
                    later.set(Status::Stopped);
                    later.report();
                });
            }
            _ => {
                let lock = self.lock("stop-dropped").await;
                if self.has_fault("stop-twice") {
                    lock.map_err(|_| failure(ErrorCode::Internal, "a race"))?;
                } else {
                    lock?;
                }
                self.set(Status::Stopped);
                if !self.has_fault("watch-stop") {
                    self.report();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn pause(&self) -> Result<(), Failure> {
        match self.now() {
            Status::Running if self.has_fault("pause") => {}
            Status::Paused if self.has_fault("pause-again") => {
                return Err(failure(ErrorCode::Conflict, "it is paused"));
            }
            Status::Running | Status::Paused => self.set(Status::Paused),
            _ if self.has_fault("pause-stopped") => {}
            _ => return Err(failure(ErrorCode::Conflict, "it does not run")),
        }
        Ok(())
    }

    pub(crate) fn resume(&self) -> Result<(), Failure> {
        match self.now() {
            Status::Running if self.has_fault("resume-running") => {
                return Err(failure(ErrorCode::Conflict, "it runs"));
            }
            Status::Paused if self.has_fault("resume") => {
                return Err(failure(ErrorCode::Internal, "resume failed"));
            }
            Status::Running | Status::Paused => self.set(Status::Running),
            _ => return Err(failure(ErrorCode::Conflict, "it does not run")),
        }
        Ok(())
    }

    pub(crate) fn kill(&self) -> Result<(), Failure> {
        match self.now() {
            Status::Stopped if self.has_fault("kill-again") => {
                return Err(failure(ErrorCode::Conflict, "it is stopped"));
            }
            Status::Running if self.has_fault("kill") => {}
            _ => self.set(Status::Stopped),
        }
        Ok(())
    }

    /// Replaces the incarnation and keeps the status.
    pub(crate) fn recreate(&self) {
        let mut target = self.target();
        let stopped = target.status == Status::Stopped;
        match (self.fault, stopped) {
            ("recreate", false) => {}
            ("recreate-stopped", true) => {
                target.id += 1;
                target.status = Status::Running;
            }
            _ => target.id += 1,
        }
    }
}
