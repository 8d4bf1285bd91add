//! What is true in the simulated world, whatever anybody says, and what must never be.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use drowse_core::{Engine, Entry, Generation, Journal, Kind, Phase, Source, Status, WorkloadSpec};
use tokio::time::Instant;

use crate::{dice::Dice, network::Network, plan::Plan};

/// Entries kept of each workload, to show what led to a violation.
const REMEMBERED: usize = 12;

/// Everything that all parts of the simulation know.
pub(crate) struct Sky {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) began: Instant,
    /// The providers are well and nobody comes.
    pub(crate) calm: AtomicBool,
    /// The router that runs now, and since when.
    engine: Mutex<(Weak<Engine>, Instant)>,
    guests: Mutex<BTreeMap<String, Guest>>,
    network: Mutex<Network>,
    record: Mutex<Record>,
}

/// One target as it is.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) status: Status,
    pub(crate) id: u64,
    /// When it answers; never when absent.
    pub(crate) ready: Option<Instant>,
    /// When it ends by itself, and how.
    pub(crate) ends: Option<(Instant, i32)>,
    pub(crate) exit: i32,
    /// It runs because we have started it, it did not before, and we were told so.
    pub(crate) ours: bool,
    /// It is ours, and started by the router that runs now, which has counted its place.
    pub(crate) placed: bool,
    /// So many times it was started.
    pub(crate) runs: u64,
    /// It does not run because we have put it to sleep.
    pub(crate) slept: bool,
    pub(crate) starting: bool,
    pub(crate) ending: bool,
    /// Counts what was asked of it, by kind.
    pub(crate) asked: BTreeMap<&'static str, u64>,
    pub(crate) job: bool,
    /// Its address in its provider's network, while it has one.
    pub(crate) address: Option<String>,
    /// Lifecycle calls so far.
    pub(crate) operations: u64,
}

/// What happened, and what should not have.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) tally: Tally,
    violations: Vec<String>,
    /// Visits inside, by workload and life.
    inside: BTreeMap<(String, Generation), u32>,
    /// Lives that an operator has put to sleep, whoever was inside.
    forced: BTreeMap<String, Generation>,
    lately: BTreeMap<String, VecDeque<Entry>>,
    hashes: BTreeMap<String, DefaultHasher>,
}

/// How much there was of what.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) events: u64,
    pub(crate) probes: u64,
    pub(crate) visits: u64,
    pub(crate) turned: u64,
    pub(crate) timed_out: u64,
    pub(crate) abandoned: u64,
    pub(crate) wakes: u64,
    pub(crate) adopted: u64,
    pub(crate) sleeps: u64,
    pub(crate) evicted: u64,
    pub(crate) failed: u64,
    pub(crate) deaths: u64,
    /// Pieces of requests.
    pub(crate) sent: u64,
    /// Of these, how many reached another target, as nobody had told of it.
    pub(crate) astray: u64,
    /// Dials and streams that ended with their instance.
    pub(crate) cut: u64,
    /// Requests that waited until an address was confirmed.
    pub(crate) disputed: u64,
}

// === impl Sky ===

impl Sky {
    pub(crate) fn new(seed: u64, plan: Plan) -> Arc<Self> {
        let guests = plan.specs.iter().map(|spec| {
            let guest = Guest {
                status: Status::Stopped,
                id: 0,
                ready: None,
                ends: None,
                exit: 0,
                ours: false,
                placed: false,
                runs: 0,
                slept: false,
                starting: false,
                ending: false,
                asked: BTreeMap::new(),
                job: spec.ready == drowse_core::ReadyCheck::Completed,
                address: None,
                operations: 0,
            };
            (spec.name.to_string(), guest)
        });
        let guests = Mutex::new(guests.collect());
        Arc::new(Self {
            seed,
            plan,
            began: Instant::now(),
            calm: AtomicBool::new(false),
            engine: Mutex::new((Weak::new(), Instant::now())),
            guests,
            network: Mutex::default(),
            record: Mutex::default(),
        })
    }

    /// Wall clock: the first day is Friday, 2026-11-20.
    pub(crate) fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800) + self.began.elapsed()
    }

    pub(crate) fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.lock().expect("no panic while it was held").0.upgrade()
    }

    /// Another router begins: it counts lives anew, and nobody is inside.
    pub(crate) fn begins(&self, engine: &Arc<Engine>) {
        let now = (Arc::downgrade(engine), Instant::now());
        *self.engine.lock().expect("no panic while it was held") = now;
        let mut record = self.record();
        record.inside.clear();
        record.forced.clear();
        drop(record);
        self.network().begins();
        for name in self.names() {
            self.guest(&name, |guest| guest.placed = false);
        }
    }

    pub(crate) fn has_just_begun(&self) -> bool {
        let since = self.engine.lock().expect("no panic while it was held").1;
        since.elapsed() < Duration::from_secs(60)
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.plan.specs.iter().map(|spec| spec.name.to_string()).collect()
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panic while it was held")
    }

    /// Changes one target, or looks at it.
    pub(crate) fn guest<T>(&self, name: &str, change: impl FnOnce(&mut Guest) -> T) -> T {
        let mut guests = self.guests.lock().expect("no panic while it was held");
        let guest = guests.get_mut(name).expect("a known target");
        guest.tick();
        let changed = change(guest);
        self.network().assign(self.spec(name).provider.as_str(), name, guest);
        changed
    }

    pub(crate) fn spec(&self, name: &str) -> &WorkloadSpec {
        // They are named by their numbers.
        let number: usize = name.trim_start_matches('w').parse().expect("a number");
        &self.plan.specs[number]
    }

    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().expect("no panic while it was held")
    }

    /// What falls for the next thing that is asked of it.
    pub(crate) fn fate(&self, name: &str, what: &'static str) -> Dice {
        let number = self.guest(name, |guest| {
            let asked = guest.asked.entry(what).or_default();
            *asked += 1;
            *asked
        });
        Dice::of(self.seed, &format!("{what} {name}"), number)
    }

    /// Something happened that must not.
    pub(crate) fn violation(&self, name: &str, what: &str) {
        let elapsed = self.began.elapsed().as_secs();
        let (day, rest) = (elapsed / 86_400, elapsed % 86_400);
        let mut text = format!(
            "day {day}, {:02}:{:02}:{:02}: {name}: {what}",
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        );
        if let Some(workload) = self.engine().and_then(|engine| engine.workload(name)) {
            let _ = write!(text, "\n  engine:   {:?}", workload.snapshot());
            let guest = self.guest(name, |guest| guest.clone());
            let _ = write!(text, "\n  platform: {guest:?}\n  spec: {:?}", workload.spec());
        }
        let mut record = self.record();
        for entry in record.lately.get(name).into_iter().flatten() {
            let at = |time: SystemTime| time.duration_since(self.wall() - self.began.elapsed());
            let seconds = |time| at(time).map_or(0.0, |since| since.as_secs_f64());
            let _ = write!(
                text,
                "\n  {:>12.3} – {:>12.3} {} {} {} {:?} {:?}",
                seconds(entry.began),
                seconds(entry.ended),
                entry.generation,
                entry.kind,
                entry.source,
                entry.reference,
                entry.failure.as_ref().map(|failure| &failure.message)
            );
        }
        record.violations.push(text);
    }

    /// Panics with what went wrong, and how to see it again.
    pub(crate) fn check(&self) {
        let violations = std::mem::take(&mut self.record().violations);
        if let Some(first) = violations.first() {
            panic!(
                "{first}\n{} violations; run again with DROWSE_SEED={} and the same size",
                violations.len(),
                self.seed
            );
        }
    }

    pub(crate) fn entered(&self, name: &str, generation: Generation) {
        let (ending, slept) = self.guest(name, |guest| (guest.ending, guest.slept));
        if ending || slept {
            self.violation(name, "a visitor was let in to what we have put to sleep");
        }
        let mut record = self.record();
        record.tally.visits += 1;
        *record.inside.entry((name.to_owned(), generation)).or_default() += 1;
    }

    pub(crate) fn left(&self, name: &str, generation: Generation) {
        let mut record = self.record();
        if let Some(count) = record.inside.get_mut(&(name.to_owned(), generation)) {
            *count -= 1;
            if *count == 0 {
                record.inside.remove(&(name.to_owned(), generation));
            }
        }
    }

    /// An operator puts it to sleep, and does not wait for ever for those inside.
    pub(crate) fn force(&self, name: &str, generation: Generation) {
        self.record().forced.insert(name.to_owned(), generation);
    }

    /// We ask its platform to put it to sleep: nobody is inside, and nobody needs it.
    pub(crate) fn is_put_to_sleep(&self, name: &str) {
        let Some(workload) = self.engine().and_then(|engine| engine.workload(name)) else { return };
        let snapshot = workload.snapshot();
        let record = self.record();
        let inside = record.inside.get(&(name.to_owned(), snapshot.generation)).copied();
        let forced = record.forced.get(name) == Some(&snapshot.generation);
        drop(record);
        if let (Some(inside), false) = (inside, forced) {
            self.violation(name, &format!("put to sleep with {inside} visitors inside"));
        }
        // What is left of a failed wake is cleaned up even if somebody waits for the next one.
        if snapshot.phase != Phase::Stopping {
            return;
        }
        for dependent in self.plan.dependents.get(name).into_iter().flatten() {
            let runs = self.guest(dependent, |guest| guest.ours && guest.status == Status::Running);
            let phase = workload_phase(self, dependent);
            if runs && phase == Some(Phase::Ready) {
                self.violation(
                    name,
                    &format!("put to sleep while {dependent} runs, which needs it"),
                );
            }
        }
    }

    /// What every workload has gone through, without what is random on purpose.
    pub(crate) fn hash(&self) -> u64 {
        let record = self.record();
        let mut whole = DefaultHasher::new();
        for (name, hasher) in &record.hashes {
            (name, hasher.finish()).hash(&mut whole);
        }
        whole.finish()
    }
}

pub(crate) fn workload_phase(sky: &Sky, name: &str) -> Option<Phase> {
    Some(sky.engine()?.workload(name)?.snapshot().phase)
}

impl Journal for Sky {
    fn record(&self, entry: Entry) {
        let mut record = Sky::record(self);
        let tally = &mut record.tally;
        match (entry.kind, entry.source, entry.failure.is_some()) {
            (_, _, true) => tally.failed += 1,
            (Kind::Wake, _, _) => tally.wakes += 1,
            (Kind::Adopt, _, _) => tally.adopted += 1,
            (Kind::Sleep, source, _) => {
                tally.sleeps += 1;
                tally.evicted += u64::from(source == Source::Pool);
            }
            _ => {}
        }
        let name = entry.workload.to_string();
        let hasher = record.hashes.entry(name.clone()).or_default();
        let failure = entry.failure.as_ref().map(|failure| failure.message.clone());
        (entry.kind.as_str(), entry.source, &entry.reference, entry.generation).hash(hasher);
        (failure, entry.began, entry.ended).hash(hasher);
        let lately = record.lately.entry(name).or_default();
        if lately.len() == REMEMBERED {
            lately.pop_front();
        }
        lately.push_back(entry);
    }

    fn recent(&self, _: Option<&str>, _: usize) -> Vec<Entry> {
        Vec::new()
    }
}

// === impl Guest ===

impl Guest {
    /// What ends by itself has ended.
    fn tick(&mut self) {
        if let (Status::Running, Some((at, exit))) = (&self.status, self.ends)
            && at <= Instant::now()
        {
            self.exit = exit;
            self.dies();
        }
    }

    pub(crate) fn dies(&mut self) {
        (self.status, self.ready, self.ends) = (Status::Stopped, None, None);
        (self.ours, self.placed, self.slept) = (false, false, false);
    }

    /// It runs from now on, and answers after so long.
    pub(crate) fn runs(&mut self, boot: Option<Duration>) {
        self.status = Status::Running;
        self.runs += 1;
        self.ready = boot.map(|boot| Instant::now() + boot);
        self.slept = false;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.status == Status::Running && self.ready.is_some_and(|at| at <= Instant::now())
    }
}
