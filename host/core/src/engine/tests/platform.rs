//! Scripted platforms, and a prober for their targets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::super::{Mutex, lock};
use crate::{
    dial::DialPolicy,
    names::ProviderName,
    need::Service,
    probe::Prober,
    provider::{
        Ability, Address, ErrorCode, Exit, Failure, Health, Observation, Provider, ProviderEvent,
        ProviderState, RecreateOptions, Status, StopOptions, Target, Usage,
    },
    spec::ReadyCheck,
};

/// A platform with scripted targets.
pub(super) struct Platform {
    name: ProviderName,
    guests: Mutex<BTreeMap<String, Guest>>,
    /// Calls and their outcomes in order, such as `start db`, `started db`.
    log: Mutex<Vec<String>>,
    events: mpsc::Sender<ProviderEvent>,
    reported: Mutex<Option<mpsc::Receiver<ProviderEvent>>>,
    abilities: Mutex<Vec<Ability>>,
    asked: Notify,
    /// Status calls in flight: now, and the maximum so far.
    queries: Mutex<(usize, usize)>,
}

/// One target.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) status: Status,
    pub(super) id: u32,
    pub(super) service: Option<Service>,
    pub(super) start_takes: Duration,
    /// Time from when it runs until the start is answered.
    pub(super) answer_takes: Duration,
    pub(super) stop_takes: Duration,
    pub(super) status_takes: Duration,
    /// Error of a start.
    pub(super) start_fails: Option<ErrorCode>,
    /// A start that fails makes it run nevertheless.
    pub(super) starts_unsaid: bool,
    /// Number of stops that fail.
    pub(super) stop_fails: usize,
    /// Error of a recreation.
    pub(super) recreate_fails: Option<ErrorCode>,
    pub(super) fetch_takes: Duration,
    pub(super) fetch_fails: Option<ErrorCode>,
    /// Number of status calls that fail.
    pub(super) status_fails: usize,
    pub(super) panics: bool,
    /// Time after which it ends by itself, and its exit status.
    pub(super) ends: Option<(Duration, i32)>,
    pub(super) exit: i32,
    pub(super) usage: Result<Usage, ErrorCode>,
    pub(super) usage_takes: Duration,
    /// The exit status of commands.
    pub(super) exec: Result<i32, ErrorCode>,
    pub(super) began: Option<Instant>,
    /// Its hosts while it runs; its handle when absent.
    pub(super) hosts: Option<Vec<String>>,
    /// Number of status calls.
    pub(super) asked: usize,
}

/// A scripted prober.
pub(super) struct Looks {
    /// Targets that are not ready.
    pub(super) unready: Mutex<BTreeSet<String>>,
    /// Targets that report at `/busy` that they are busy.
    pub(super) busy: Mutex<BTreeSet<String>>,
    pub(super) players: Mutex<BTreeMap<String, u32>>,
    looks: Mutex<BTreeMap<String, usize>>,
}

// === impl Platform ===

impl Platform {
    pub(super) fn new(name: &str, watches: bool) -> Arc<Self> {
        let (events, reported) = mpsc::channel(64);
        Arc::new(Self {
            name: ProviderName::parse(name).expect("a name"),
            guests: Mutex::default(),
            log: Mutex::default(),
            events,
            reported: Mutex::new(Some(reported)),
            abilities: match watches {
                true => vec![Ability::Watch, Ability::Usage, Ability::Recreate].into(),
                false => Mutex::default(),
            },
            asked: Notify::new(),
            queries: Mutex::default(),
        })
    }

    pub(super) fn add(&self, handle: &str) {
        lock(&self.guests).insert(handle.to_owned(), Guest::default());
    }

    pub(super) fn with<T>(&self, handle: &str, change: impl FnOnce(&mut Guest) -> T) -> T {
        change(lock(&self.guests).get_mut(handle).expect("a known target"))
    }

    pub(super) fn runs(&self, handle: &str) -> bool {
        self.seen(handle).status == Status::Running
    }

    /// Changes its status without an event.
    pub(super) fn becomes(&self, handle: &str, status: Status) {
        self.with(handle, |guest| guest.status = status);
    }

    /// Sends an event with its status.
    pub(super) async fn report(&self, handle: &str) {
        let event = ProviderEvent::Changed(self.seen(handle));
        self.events.send(event).await.expect("watching");
        super::moment().await;
    }

    pub(super) async fn sync(&self) {
        self.events.send(ProviderEvent::Synced).await.expect("watching");
        super::moment().await;
    }

    /// Calls and their outcomes so far.
    pub(super) fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    pub(super) fn asked(&self, what: &str) -> usize {
        lock(&self.log).iter().filter(|entry| *entry == what).count()
    }

    /// Waits until this call was made.
    pub(super) async fn is_asked(&self, what: &str) {
        while self.asked(what) == 0 {
            self.asked.notified().await;
        }
    }

    fn note(&self, what: &str, handle: &str) {
        lock(&self.log).push(format!("{what} {handle}"));
        self.asked.notify_one();
    }

    fn seen(&self, handle: &str) -> Observation {
        match lock(&self.guests).get_mut(handle) {
            Some(guest) => guest.seen(handle),
            None => Guest { status: Status::Missing, ..Guest::default() }.seen(handle),
        }
    }

    fn guest(&self, handle: &str) -> Result<Guest, Failure> {
        let there = |guest: &&Guest| guest.status != Status::Missing;
        lock(&self.guests).get(handle).filter(there).cloned().ok_or_else(|| {
            Failure::new(ErrorCode::NotFound, format!("there is no target {handle}"))
        })
    }

    async fn end(&self, verb: &str, handle: &str, end: Status) -> Result<Observation, Failure> {
        self.note(verb, handle);
        let guest = self.guest(handle)?;
        tokio::time::sleep(guest.stop_takes).await;
        if guest.stop_fails > 0 {
            self.with(handle, |guest| guest.stop_fails -= 1);
            return Err(Failure::new(ErrorCode::Unavailable, "the engine is down"));
        }
        self.becomes(handle, end);
        self.note("ended", handle);
        Ok(self.seen(handle))
    }
}

#[async_trait]
impl Provider for Platform {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        let handle = target.handle.as_str();
        self.note("start", handle);
        let guest = self.guest(handle)?;
        assert!(!guest.panics, "the provider has a defect");
        tokio::time::sleep(guest.start_takes).await;
        if let (Some(code), false) = (&guest.start_fails, guest.starts_unsaid) {
            return Err(Failure::new(code.clone(), "the engine is down"));
        }
        self.with(handle, |guest| {
            guest.status = Status::Running;
            guest.began = Some(Instant::now());
        });
        if let Some(code) = guest.start_fails {
            return Err(Failure::new(code, "the engine is down"));
        }
        self.note("started", handle);
        let seen = self.seen(handle);
        tokio::time::sleep(guest.answer_takes).await;
        Ok(seen)
    }

    async fn stop(&self, target: &Target, _: &StopOptions) -> Result<Observation, Failure> {
        self.end("stop", &target.handle, Status::Stopped).await
    }

    /// It runs afterwards if it ran before.
    async fn recreate(
        &self,
        target: &Target,
        options: &RecreateOptions,
    ) -> Result<Observation, Failure> {
        let handle = target.handle.as_str();
        self.note(if options.refresh { "refresh" } else { "recreate" }, handle);
        let guest = self.guest(handle)?;
        tokio::time::sleep(guest.stop_takes).await;
        if let Some(code) = guest.recreate_fails {
            return Err(Failure::new(code, "the image cannot be fetched"));
        }
        self.with(handle, |guest| guest.id += 1);
        self.note("recreated", handle);
        Ok(self.seen(handle))
    }

    async fn fetch(&self, target: &Target) -> Result<(), Failure> {
        let handle = target.handle.as_str();
        self.note("fetch", handle);
        let guest = self.guest(handle)?;
        tokio::time::sleep(guest.fetch_takes).await;
        self.note("fetched", handle);
        match guest.fetch_fails {
            Some(code) => Err(Failure::new(code, "the registry is down")),
            None => Ok(()),
        }
    }

    async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        let handle = target.handle.as_str();
        let runs = matches!(self.seen(handle).status, Status::Running | Status::Paused);
        if !runs && self.guest(handle).is_ok() {
            self.note("pause", handle);
            return Err(Failure::new(ErrorCode::Conflict, format!("{handle} does not run")));
        }
        self.end("pause", handle, Status::Paused).await
    }

    async fn resume(&self, target: &Target) -> Result<Observation, Failure> {
        self.start(target).await
    }

    async fn kill(&self, target: &Target, _: Option<&str>) -> Result<Observation, Failure> {
        self.end("kill", &target.handle, Status::Stopped).await
    }

    async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        let takes = lock(&self.guests).get_mut(&target.handle).map(|guest| {
            guest.asked += 1;
            guest.status_takes
        });
        // Observed at the beginning of the call, returned at its end.
        let seen = self.seen(&target.handle);
        let _query = Query::begin(&self.queries);
        tokio::time::sleep(takes.unwrap_or_default()).await;
        let mut guests = lock(&self.guests);
        if let Some(guest) = guests.get_mut(&target.handle).filter(|guest| guest.status_fails > 0) {
            guest.status_fails -= 1;
            return Err(Failure::new(ErrorCode::Unavailable, "the engine is down"));
        }
        Ok(seen)
    }

    async fn list(&self, _: Option<&str>) -> Result<(Vec<Observation>, Option<String>), Failure> {
        Ok((Vec::new(), None))
    }

    async fn logs(&self, _: &Target, _: u32) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn exec(&self, target: &Target, _: &[String]) -> Result<Exit, Failure> {
        let status = self.guest(&target.handle)?.exec;
        let exit = |status| Exit { status, output: Vec::new() };
        status.map(exit).map_err(|code| Failure::new(code, "the command cannot be run"))
    }

    async fn usage(&self, target: &Target) -> Result<Usage, Failure> {
        let guest = self.guest(&target.handle)?;
        tokio::time::sleep(guest.usage_takes).await;
        guest.usage.map_err(|code| Failure::new(code, "the usage is unknown"))
    }

    fn service(&self, seen: &Observation) -> Option<Service> {
        self.with(&seen.handle, |guest| guest.service.clone())
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        lock(&self.reported).take().expect("watched once")
    }

    fn state(&self) -> ProviderState {
        ProviderState {
            plugin: None,
            origin: None,
            usable: true,
            cause: None,
            abilities: lock(&self.abilities).clone(),
            faults: 0,
        }
    }
}

impl Platform {
    /// Maximum status calls in flight so far.
    pub(super) fn most_queries(&self) -> usize {
        lock(&self.queries).1
    }

    /// Removes an ability.
    pub(super) fn unlearns(&self, ability: Ability) {
        lock(&self.abilities).retain(|known| *known != ability);
    }

    /// Replaces the target by a stopped one of the same name.
    pub(super) fn is_created(&self, handle: &str) {
        self.with(handle, |guest| {
            guest.id += 1;
            guest.status = Status::Stopped;
        });
    }

    /// Adds an ability.
    pub(super) fn learns(&self, ability: Ability) {
        lock(&self.abilities).push(ability);
    }
}

/// A status call in flight.
struct Query<'a>(&'a Mutex<(usize, usize)>);

impl<'a> Query<'a> {
    fn begin(queries: &'a Mutex<(usize, usize)>) -> Self {
        let (now, most) = &mut *lock(queries);
        *now += 1;
        *most = (*most).max(*now);
        Self(queries)
    }
}

impl Drop for Query<'_> {
    fn drop(&mut self) {
        lock(self.0).0 -= 1;
    }
}

// === impl Guest ===

impl Default for Guest {
    fn default() -> Self {
        Self {
            status: Status::Stopped,
            id: 0,
            service: None,
            start_takes: Duration::from_millis(100),
            answer_takes: Duration::ZERO,
            stop_takes: Duration::from_millis(100),
            status_takes: Duration::ZERO,
            start_fails: None,
            starts_unsaid: false,
            stop_fails: 0,
            recreate_fails: None,
            fetch_takes: Duration::ZERO,
            fetch_fails: None,
            status_fails: 0,
            panics: false,
            ends: None,
            exit: 0,
            usage: Ok(Usage::default()),
            usage_takes: Duration::ZERO,
            exec: Ok(0),
            began: None,
            hosts: None,
            asked: 0,
        }
    }
}

impl Guest {
    fn seen(&mut self, handle: &str) -> Observation {
        if let (Status::Running, Some((after, exit)), Some(began)) =
            (&self.status, self.ends, self.began)
            && began.elapsed() >= after
        {
            (self.status, self.exit) = (Status::Stopped, exit);
        }
        let runs = self.status == Status::Running;
        let hosts = self.hosts.clone().unwrap_or_else(|| vec![handle.to_owned()]);
        let address = |host| Address { host, port: None, target_port: None };
        let mut attributes = BTreeMap::new();
        if runs && let Some(began) = self.began {
            attributes.insert("started-at".to_owned(), format!("{began:?}"));
        }
        if self.status == Status::Stopped {
            attributes.insert("exit-status".to_owned(), self.exit.to_string());
        }
        Observation {
            handle: handle.to_owned(),
            native_status: format!("{:?}", self.status).to_lowercase(),
            status: self.status.clone(),
            native_id: Some(format!("{handle}-{}", self.id)),
            health: Health::None,
            addresses: hosts.into_iter().filter(|_| runs).map(address).collect(),
            labels: BTreeMap::new(),
            detail: None,
            attributes,
        }
    }
}

// === impl Looks ===

impl Looks {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            unready: Mutex::default(),
            busy: Mutex::default(),
            players: Mutex::default(),
            looks: Mutex::default(),
        })
    }

    /// Number of probes.
    pub(super) fn count(&self, handle: &str) -> usize {
        lock(&self.looks).get(handle).copied().unwrap_or(0)
    }

    pub(super) fn hide(&self, handle: &str) {
        lock(&self.unready).insert(handle.to_owned());
    }

    pub(super) fn show(&self, handle: &str) {
        lock(&self.unready).remove(handle);
    }
}

#[async_trait]
impl Prober for Looks {
    async fn probe(
        &self,
        check: &ReadyCheck,
        addresses: &[Address],
        _: &dyn DialPolicy,
    ) -> Result<(), String> {
        let handle = &addresses.first().ok_or("there is nothing to look at")?.host;
        if matches!(check, ReadyCheck::Http { path, .. } if path == "/busy") {
            return match lock(&self.busy).contains(handle) {
                true => Ok(()),
                false => Err("204".to_owned()),
            };
        }
        *lock(&self.looks).entry(handle.clone()).or_default() += 1;
        match lock(&self.unready).contains(handle) {
            true => Err("503".to_owned()),
            false => Ok(()),
        }
    }

    async fn players(
        &self,
        addresses: &[Address],
        _: u16,
        _: &dyn DialPolicy,
    ) -> Result<u32, String> {
        let handle = &addresses.first().ok_or("there is no address")?.host;
        lock(&self.players).get(handle).copied().ok_or_else(|| "no answer".to_owned())
    }
}
