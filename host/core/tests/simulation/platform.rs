//! Providers that delay, fail, trap, hang, report wrong statuses and lose events; and the prober.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drowse_core::{
    Ability, Address, DialPolicy, ErrorCode, Failure, Health, Observation, Prober, Provider,
    ProviderEvent, ProviderName, ProviderState, ReadyCheck, Status, StopOptions, Target, Usage,
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    random::Random,
    world::{SimTarget, World},
};

/// A provider.
pub(crate) struct Platform {
    name: ProviderName,
    watches: bool,
    world: Arc<World>,
    /// To the engine's current watch.
    events: Mutex<mpsc::Sender<ProviderEvent>>,
    /// No events are reported.
    watch_broken: AtomicBool,
}

/// Probes the targets of all providers.
pub(crate) struct SimProber(pub(crate) Arc<World>);

/// Outcome of a call.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Well,
    /// Whether the platform has done it all the same.
    Fails(Code, bool),
    Hangs(bool),
}

#[derive(Clone, Copy, PartialEq)]
enum Code {
    Unavailable,
    Timeout,
    Trap,
    Denied,
}

/// A lifecycle call in flight.
struct CallGuard<'a>(&'a World, &'a str);

// === impl Platform ===

impl Platform {
    pub(crate) fn new(world: Arc<World>, name: &str, watches: bool) -> Arc<Self> {
        let (events, _) = mpsc::channel(1);
        Arc::new(Self {
            name: ProviderName::parse(name).expect("a name"),
            watches,
            world,
            events: Mutex::new(events),
            watch_broken: AtomicBool::new(false),
        })
    }

    /// Reports a change of a target, perhaps late, twice or never.
    pub(crate) fn report_change(self: &Arc<Self>, name: &str) {
        if self.watches {
            report(&self.world, &self.events(), self.watch_broken.load(Ordering::Relaxed), name);
        }
    }

    fn events(&self) -> mpsc::Sender<ProviderEvent> {
        self.events.lock().expect("no panic").clone()
    }

    pub(crate) fn is_watch_broken(&self) -> bool {
        self.watch_broken.load(Ordering::Relaxed)
    }

    pub(crate) fn break_watch(&self) {
        self.watch_broken.store(true, Ordering::Relaxed);
    }

    /// Repairs the watch, and reports that there was a gap.
    pub(crate) async fn repair_watch(&self) {
        self.watch_broken.store(false, Ordering::Relaxed);
        if self.watches {
            // Fails when the engine has ended.
            let _ = self.events().send(ProviderEvent::Synced).await;
        }
    }

    /// Starts a target, or ends it with this status.
    async fn operate(&self, name: &str, end: Option<Status>) -> Result<Observation, Failure> {
        let world = &*self.world;
        let mut random = world.random_for(name, "operate");
        let _guard = CallGuard::begin(world, name, end.is_some());
        world.target(name, |target| target.operations += 1);
        let (delay, outcome) = draw(&mut random, world.is_calm());
        tokio::time::sleep(delay).await;
        if world.target(name, |target| target.status == Status::Missing) {
            return match end {
                Some(_) => Ok(answer(world, name)),
                None => Err(Failure::new(ErrorCode::NotFound, format!("{name} does not exist"))),
            };
        }
        let idles =
            world.target(name, |target| !matches!(target.status, Status::Running | Status::Paused));
        if end == Some(Status::Paused) && idles {
            let failure = format!("{name} does not run");
            return Err(Failure::new(ErrorCode::Conflict, failure));
        }
        let done =
            matches!(outcome, Outcome::Well | Outcome::Fails(_, true) | Outcome::Hangs(true));
        if done {
            let confirmed = outcome == Outcome::Well;
            world.target(name, |target| match &end {
                Some(end) => put_to_sleep(target, end),
                None => starts(target, &mut random, confirmed, world.is_calm()),
            });
            if self.watches {
                report(world, &self.events(), self.watch_broken.load(Ordering::Relaxed), name);
            }
        }
        match outcome {
            Outcome::Well => Ok(answer(world, name)),
            Outcome::Fails(code, _) => Err(code.failure(name)),
            Outcome::Hangs(_) => std::future::pending().await,
        }
    }
}

fn put_to_sleep(target: &mut SimTarget, end: &Status) {
    if target.status != Status::Stopped {
        target.dies();
        target.status = end.clone();
    }
    target.slept = true;
}

fn starts(target: &mut SimTarget, random: &mut Random, confirmed: bool, calm: bool) {
    // A target that already ran has its slot in any case.
    target.owned = confirmed && (target.owned || target.status != Status::Running);
    target.has_slot = target.owned;
    if target.status != Status::Running {
        let never = random.chance(20) && !calm;
        let longest = if random.chance(900) { 200 } else { 30_000 };
        let boot = random.between(Duration::ZERO, Duration::from_millis(longest));
        target.runs((!never).then_some(boot));
        if target.job {
            let after = random.between(Duration::from_millis(100), Duration::from_secs(40));
            let exit = if random.chance(100) && !calm { 3 } else { 0 };
            target.ends = Some((Instant::now() + after, exit));
        }
    }
}

fn draw(random: &mut Random, calm: bool) -> (Duration, Outcome) {
    let delay = match random.below(100) {
        0..90 => random.between(Duration::ZERO, Duration::from_millis(500)),
        90..98 => random.between(Duration::ZERO, Duration::from_secs(5)),
        _ => random.between(Duration::ZERO, Duration::from_secs(20)),
    };
    let done = random.chance(500);
    let outcome = match random.below(1000) {
        _ if calm => Outcome::Well,
        0..15 => Outcome::Fails(Code::Unavailable, done),
        15..25 => Outcome::Fails(Code::Timeout, done),
        25..35 => Outcome::Fails(Code::Trap, done),
        35..40 => Outcome::Fails(Code::Denied, false),
        40..50 => Outcome::Hangs(done),
        _ => Outcome::Well,
    };
    (delay, outcome)
}

/// Result of an operation.
fn answer(world: &World, name: &str) -> Observation {
    let seen = observe(world, name);
    world.network().answers(name, Instant::now(), &seen);
    seen
}

fn observe(world: &World, name: &str) -> Observation {
    let target = world.target(name, |target| target.clone());
    let mut attributes = BTreeMap::new();
    if target.status == Status::Stopped {
        attributes.insert("exit-status".to_owned(), target.exit.to_string());
    }
    if target.status == Status::Running {
        attributes.insert("started-at".to_owned(), target.runs.to_string());
    }
    let address = target.address.filter(|_| target.status == Status::Running);
    let address = address.map(|host| Address { host, port: None, target_port: None });
    Observation {
        handle: name.to_owned(),
        native_status: format!("{:?}", target.status).to_lowercase(),
        addresses: address.into_iter().collect(),
        status: target.status,
        native_id: Some(format!("{name}-{}", target.id)),
        health: Health::None,
        labels: BTreeMap::new(),
        detail: None,
        attributes,
    }
}

fn report(world: &World, events: &mpsc::Sender<ProviderEvent>, watch_broken: bool, name: &str) {
    let mut random = world.random_for(name, "tell");
    let seen = observe(world, name);
    let calm = world.is_calm();
    if !calm && (watch_broken || random.chance(30)) {
        return;
    }
    let times = if random.chance(50) { 2 } else { 1 };
    for _ in 0..times {
        let late = if random.chance(100) && !calm { 60_000 } else { 200 };
        let delay = random.between(Duration::ZERO, Duration::from_millis(late));
        let (events, event) = (events.clone(), ProviderEvent::Changed(seen.clone()));
        world.record().counts.events += 1;
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // Fails when the engine has ended.
            let _ = events.send(event).await;
        });
    }
}

#[async_trait]
impl Provider for Platform {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn start(&self, target: &Target) -> Result<Observation, Failure> {
        self.operate(&target.handle, None).await
    }

    async fn stop(&self, target: &Target, _: &StopOptions) -> Result<Observation, Failure> {
        self.operate(&target.handle, Some(Status::Stopped)).await
    }

    async fn pause(&self, target: &Target) -> Result<Observation, Failure> {
        self.operate(&target.handle, Some(Status::Paused)).await
    }

    async fn resume(&self, target: &Target) -> Result<Observation, Failure> {
        self.operate(&target.handle, None).await
    }

    async fn kill(&self, target: &Target, _: Option<&str>) -> Result<Observation, Failure> {
        self.operate(&target.handle, Some(Status::Stopped)).await
    }

    async fn status(&self, target: &Target) -> Result<Observation, Failure> {
        let (world, name) = (&*self.world, target.handle.as_str());
        let mut random = world.random_for(name, "status");
        world.record().counts.calls += 1;
        let asked = Instant::now();
        let operations = world.target(name, |target| target.operations);
        let in_operation = |target: &mut SimTarget| target.starting || target.ending;
        let during_operation = world.target(name, in_operation);
        let mut seen = observe(world, name);
        let calm = world.is_calm();
        let (delay, outcome) = draw(&mut random, calm);
        tokio::time::sleep(delay / 4).await;
        match outcome {
            // Platforms are busy while a router starts.
            _ if world.has_just_started() && random.chance(300) => {
                return Err(Code::Unavailable.failure(name));
            }
            Outcome::Well => {}
            Outcome::Fails(code, _) => return Err(code.failure(name)),
            Outcome::Hangs(_) => return std::future::pending().await,
        }
        if !calm && seen.status == Status::Running && random.chance(5) {
            // A wrong status.
            world.target(name, |target| target.owned = false);
            seen.status = Status::Stopped;
        }
        // A result that an operation has overtaken does not count.
        let overtaken =
            |target: &mut SimTarget| in_operation(target) || target.operations != operations;
        if !during_operation && !world.target(name, overtaken) {
            world.network().answers(name, asked, &seen);
        }
        Ok(seen)
    }

    async fn list(&self, _: Option<&str>) -> Result<(Vec<Observation>, Option<String>), Failure> {
        Ok((Vec::new(), None))
    }

    async fn logs(&self, _: &Target, _: u32) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn usage(&self, target: &Target) -> Result<Usage, Failure> {
        let mut random = self.world.random_for(&target.handle, "usage");
        if random.chance(50) && !self.world.is_calm() {
            return Err(Code::Unavailable.failure(&target.handle));
        }
        Ok(Usage { cpu_percent: None, memory: Some(random.below(4) << 20) })
    }

    fn watch(&self) -> mpsc::Receiver<ProviderEvent> {
        let (events, reported) = mpsc::channel(4096);
        *self.events.lock().expect("no panic") = events;
        reported
    }

    fn state(&self) -> ProviderState {
        ProviderState {
            plugin: None,
            origin: None,
            usable: true,
            cause: None,
            abilities: if self.watches { vec![Ability::Watch] } else { Vec::new() },
            faults: 0,
        }
    }
}

// === impl SimProber ===

#[async_trait]
impl Prober for SimProber {
    async fn probe(
        &self,
        check: &ReadyCheck,
        addresses: &[Address],
        _: &dyn DialPolicy,
    ) -> Result<(), String> {
        let host = &addresses.first().ok_or("there is no address to probe")?.host;
        let name = &self.0.holder(host).ok_or("no answer")?;
        if matches!(check, ReadyCheck::Http { path, .. } if path == "/busy") {
            let mut random = self.0.random_for(name, "busy");
            let busy = random.chance(300) && !self.0.is_calm();
            tokio::time::sleep(random.between(Duration::ZERO, Duration::from_secs(5))).await;
            return busy.then_some(()).ok_or_else(|| "204".to_owned());
        }
        self.0.record().counts.probes += 1;
        let ready = self.0.target(name, |target| target.is_ready());
        ready.then_some(()).ok_or_else(|| "refused".to_owned())
    }

    async fn players(&self, _: &[Address], _: u16, _: &dyn DialPolicy) -> Result<u32, String> {
        Err("it is no game server".to_owned())
    }
}

// === impl CallGuard ===

impl<'a> CallGuard<'a> {
    fn begin(world: &'a World, name: &'a str, ends: bool) -> Self {
        world.record().counts.calls += 1;
        if world.target(name, |target| target.starting || target.ending) {
            world.violation(name, "two operations at a time");
        }
        if ends {
            world.check_sleep(name);
        }
        world.target(name, |target| (target.starting, target.ending) = (!ends, ends));
        Self(world, name)
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.0.target(self.1, |target| (target.starting, target.ending) = (false, false));
    }
}

// === impl Code ===

impl Code {
    fn failure(self, name: &str) -> Failure {
        let (code, what) = match self {
            Self::Unavailable => (ErrorCode::Unavailable, "the engine is down"),
            Self::Timeout => (ErrorCode::Timeout, "the engine is slow"),
            Self::Trap => (ErrorCode::Internal, "the plugin trapped"),
            Self::Denied => (ErrorCode::Denied, "not with this token"),
        };
        Failure::new(code, format!("{name}: {what}"))
    }
}
