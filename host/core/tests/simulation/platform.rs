//! Providers that delay, fail, trap, hang, lie and lose events, and the looks from outside.

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
    dice::Dice,
    sky::{Guest, Sky},
};

/// One provider.
pub(crate) struct Platform {
    name: ProviderName,
    watches: bool,
    sky: Arc<Sky>,
    /// To whoever watches now.
    events: Mutex<mpsc::Sender<ProviderEvent>>,
    /// Its watch is broken: nothing is reported.
    deaf: AtomicBool,
}

/// Looks at the targets of all providers.
pub(crate) struct Eyes(pub(crate) Arc<Sky>);

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Well,
    /// And whether it was done all the same.
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
struct Flight<'a>(&'a Sky, &'a str);

// === impl Platform ===

impl Platform {
    pub(crate) fn new(sky: Arc<Sky>, name: &str, watches: bool) -> Arc<Self> {
        let (events, _) = mpsc::channel(1);
        Arc::new(Self {
            name: ProviderName::parse(name).expect("a name"),
            watches,
            sky,
            events: Mutex::new(events),
            deaf: AtomicBool::new(false),
        })
    }

    /// Something happened to a target: it is reported, perhaps late, twice or never.
    pub(crate) fn happened(self: &Arc<Self>, name: &str) {
        if self.watches {
            tell(&self.sky, &self.events(), self.deaf.load(Ordering::Relaxed), name);
        }
    }

    fn events(&self) -> mpsc::Sender<ProviderEvent> {
        self.events.lock().expect("no panic").clone()
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    pub(crate) fn goes_deaf(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Its watch works again, and says so.
    pub(crate) async fn hears_again(&self) {
        self.deaf.store(false, Ordering::Relaxed);
        if self.watches {
            // The engine has ended.
            let _ = self.events().send(ProviderEvent::Synced).await;
        }
    }

    /// Asks something of a target.
    async fn operate(&self, name: &str, end: Option<Status>) -> Result<Observation, Failure> {
        let sky = &*self.sky;
        let mut dice = sky.fate(name, "operate");
        let _flight = Flight::begin(sky, name, end.is_some());
        sky.guest(name, |guest| guest.operations += 1);
        let (delay, outcome) = draw(&mut dice, sky.is_calm());
        tokio::time::sleep(delay).await;
        if sky.guest(name, |guest| guest.status == Status::Missing) {
            return match end {
                Some(_) => Ok(answer(sky, name)),
                None => Err(Failure::new(ErrorCode::NotFound, format!("{name} does not exist"))),
            };
        }
        let idles =
            sky.guest(name, |guest| !matches!(guest.status, Status::Running | Status::Paused));
        if end == Some(Status::Paused) && idles {
            let failure = format!("{name} does not run");
            return Err(Failure::new(ErrorCode::Conflict, failure));
        }
        let done =
            matches!(outcome, Outcome::Well | Outcome::Fails(_, true) | Outcome::Hangs(true));
        if done {
            let told = outcome == Outcome::Well;
            sky.guest(name, |guest| match &end {
                Some(end) => puts_to_sleep(guest, end),
                None => starts(guest, &mut dice, told, sky.is_calm()),
            });
            if self.watches {
                tell(sky, &self.events(), self.deaf.load(Ordering::Relaxed), name);
            }
        }
        match outcome {
            Outcome::Well => Ok(answer(sky, name)),
            Outcome::Fails(code, _) => Err(code.failure(name)),
            Outcome::Hangs(_) => std::future::pending().await,
        }
    }
}

fn puts_to_sleep(guest: &mut Guest, end: &Status) {
    if guest.status != Status::Stopped {
        guest.dies();
        guest.status = end.clone();
    }
    guest.slept = true;
}

fn starts(guest: &mut Guest, dice: &mut Dice, told: bool, calm: bool) {
    // What ran before we started it has its place in any case.
    guest.ours = told && (guest.ours || guest.status != Status::Running);
    guest.placed = guest.ours;
    if guest.status != Status::Running {
        let never = dice.chance(20) && !calm;
        let longest = if dice.chance(900) { 200 } else { 30_000 };
        let boot = dice.between(Duration::ZERO, Duration::from_millis(longest));
        guest.runs((!never).then_some(boot));
        if guest.job {
            let after = dice.between(Duration::from_millis(100), Duration::from_secs(40));
            let exit = if dice.chance(100) && !calm { 3 } else { 0 };
            guest.ends = Some((Instant::now() + after, exit));
        }
    }
}

fn draw(dice: &mut Dice, calm: bool) -> (Duration, Outcome) {
    let delay = match dice.below(100) {
        0..90 => dice.between(Duration::ZERO, Duration::from_millis(500)),
        90..98 => dice.between(Duration::ZERO, Duration::from_secs(5)),
        _ => dice.between(Duration::ZERO, Duration::from_secs(20)),
    };
    let done = dice.chance(500);
    let outcome = match dice.below(1000) {
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

/// What an operation says at its end.
fn answer(sky: &Sky, name: &str) -> Observation {
    let seen = observe(sky, name);
    sky.network().answers(name, Instant::now(), &seen);
    seen
}

fn observe(sky: &Sky, name: &str) -> Observation {
    let guest = sky.guest(name, |guest| guest.clone());
    let mut attributes = BTreeMap::new();
    if guest.status == Status::Stopped {
        attributes.insert("exit-status".to_owned(), guest.exit.to_string());
    }
    if guest.status == Status::Running {
        attributes.insert("started-at".to_owned(), guest.runs.to_string());
    }
    let address = guest.address.filter(|_| guest.status == Status::Running);
    let address = address.map(|host| Address { host, port: None, target_port: None });
    Observation {
        handle: name.to_owned(),
        native_status: format!("{:?}", guest.status).to_lowercase(),
        addresses: address.into_iter().collect(),
        status: guest.status,
        native_id: Some(format!("{name}-{}", guest.id)),
        health: Health::None,
        labels: BTreeMap::new(),
        detail: None,
        attributes,
    }
}

fn tell(sky: &Sky, events: &mpsc::Sender<ProviderEvent>, deaf: bool, name: &str) {
    let mut dice = sky.fate(name, "tell");
    let seen = observe(sky, name);
    let calm = sky.is_calm();
    if !calm && (deaf || dice.chance(30)) {
        return;
    }
    let times = if dice.chance(50) { 2 } else { 1 };
    for _ in 0..times {
        let late = if dice.chance(100) && !calm { 60_000 } else { 200 };
        let delay = dice.between(Duration::ZERO, Duration::from_millis(late));
        let (events, event) = (events.clone(), ProviderEvent::Changed(seen.clone()));
        sky.record().tally.events += 1;
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // The engine has ended.
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
        let (sky, name) = (&*self.sky, target.handle.as_str());
        let mut dice = sky.fate(name, "status");
        sky.record().tally.calls += 1;
        let asked = Instant::now();
        let operations = sky.guest(name, |guest| guest.operations);
        let mut seen = observe(sky, name);
        let calm = sky.is_calm();
        let (delay, outcome) = draw(&mut dice, calm);
        tokio::time::sleep(delay / 4).await;
        match outcome {
            // A platform has much to do at the time at which a router begins.
            _ if sky.has_just_begun() && dice.chance(300) => {
                return Err(Code::Unavailable.failure(name));
            }
            Outcome::Well => {}
            Outcome::Fails(code, _) => return Err(code.failure(name)),
            Outcome::Hangs(_) => return std::future::pending().await,
        }
        if !calm && seen.status == Status::Running && dice.chance(5) {
            // A lie.
            sky.guest(name, |guest| guest.ours = false);
            seen.status = Status::Stopped;
        }
        // One that an operation has overtaken does not count.
        let overtaken =
            |guest: &mut Guest| guest.starting || guest.ending || guest.operations != operations;
        if !sky.guest(name, overtaken) {
            sky.network().answers(name, asked, &seen);
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
        let mut dice = self.sky.fate(&target.handle, "usage");
        if dice.chance(50) && !self.sky.is_calm() {
            return Err(Code::Unavailable.failure(&target.handle));
        }
        Ok(Usage { cpu_percent: None, memory: Some(dice.below(4) << 20) })
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

// === impl Eyes ===

#[async_trait]
impl Prober for Eyes {
    async fn probe(
        &self,
        check: &ReadyCheck,
        addresses: &[Address],
        _: &dyn DialPolicy,
    ) -> Result<(), String> {
        let host = &addresses.first().ok_or("there is nothing to look at")?.host;
        let name = &self.0.holder(host).ok_or("no answer")?;
        if matches!(check, ReadyCheck::Http { path, .. } if path == "/busy") {
            let mut dice = self.0.fate(name, "busy");
            let busy = dice.chance(300) && !self.0.is_calm();
            tokio::time::sleep(dice.between(Duration::ZERO, Duration::from_secs(5))).await;
            return busy.then_some(()).ok_or_else(|| "204".to_owned());
        }
        self.0.record().tally.probes += 1;
        let ready = self.0.guest(name, |guest| guest.is_ready());
        ready.then_some(()).ok_or_else(|| "refused".to_owned())
    }

    async fn players(&self, _: &[Address], _: u16, _: &dyn DialPolicy) -> Result<u32, String> {
        Err("nobody plays here".to_owned())
    }
}

// === impl Flight ===

impl<'a> Flight<'a> {
    fn begin(sky: &'a Sky, name: &'a str, ends: bool) -> Self {
        sky.record().tally.calls += 1;
        if sky.guest(name, |guest| guest.starting || guest.ending) {
            sky.violation(name, "two operations at a time");
        }
        if ends {
            sky.is_put_to_sleep(name);
        }
        sky.guest(name, |guest| (guest.starting, guest.ending) = (!ends, ends));
        Self(sky, name)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.guest(self.1, |guest| (guest.starting, guest.ending) = (false, false));
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
