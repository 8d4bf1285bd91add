//! State of the simulated platforms, and violations of the invariants.

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

use drowse_core::{
    Engine, Entry, Generation, Journal, OperationKind, Phase, Status, Trigger, WorkloadSpec,
};
use tokio::time::Instant;

use crate::{network::Network, plan::Plan, random::Random};

/// Journal entries kept per workload, to show what led to a violation.
const RECENT: usize = 12;

/// State shared by all parts of the simulation.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) began: Instant,
    /// Providers do not fail, and there are no visitors.
    pub(crate) calm: AtomicBool,
    /// The current router's engine, and when it started.
    engine: Mutex<(Weak<Engine>, Instant)>,
    targets: Mutex<BTreeMap<String, SimTarget>>,
    network: Mutex<Network>,
    record: Mutex<Record>,
}

/// The real state of a target.
#[derive(Clone, Debug)]
pub(crate) struct SimTarget {
    pub(crate) status: Status,
    pub(crate) id: u64,
    /// When it answers probes; never when absent.
    pub(crate) ready: Option<Instant>,
    /// When a job exits, and with which status.
    pub(crate) ends: Option<(Instant, i32)>,
    pub(crate) exit: i32,
    /// A router started it, it did not run before, and the start was confirmed.
    pub(crate) owned: bool,
    /// As `owned`, by the current router, which has counted its slot.
    pub(crate) has_slot: bool,
    /// Number of starts.
    pub(crate) runs: u64,
    /// A router has put it to sleep.
    pub(crate) slept: bool,
    pub(crate) starting: bool,
    pub(crate) ending: bool,
    /// Number of random draws, by kind.
    pub(crate) asked: BTreeMap<&'static str, u64>,
    pub(crate) job: bool,
    /// Its address in its provider's network.
    pub(crate) address: Option<String>,
    /// Number of lifecycle calls.
    pub(crate) operations: u64,
}

/// Counts, violations, and what is needed to find them.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) counts: Counts,
    violations: Vec<String>,
    /// Visits inside, by workload and generation.
    inside: BTreeMap<(String, Generation), u32>,
    /// Generations that an operator has put to sleep in spite of visits.
    forced: BTreeMap<String, Generation>,
    recent: BTreeMap<String, VecDeque<Entry>>,
    hashes: BTreeMap<String, DefaultHasher>,
}

/// Number of things that happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) events: u64,
    pub(crate) probes: u64,
    pub(crate) visits: u64,
    pub(crate) rejected: u64,
    pub(crate) timed_out: u64,
    pub(crate) abandoned: u64,
    pub(crate) wakes: u64,
    pub(crate) adopted: u64,
    pub(crate) sleeps: u64,
    pub(crate) evicted: u64,
    pub(crate) failed: u64,
    pub(crate) deaths: u64,
    /// Pieces of requests sent.
    pub(crate) sent: u64,
    /// Of these, pieces that reached another target before its start was reported.
    pub(crate) misdirected: u64,
    /// Dials and streams that ended with their instance.
    pub(crate) cut: u64,
    /// Requests that waited for the confirmation of an address.
    pub(crate) disputed: u64,
}

// === impl World ===

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Arc<Self> {
        let targets = plan.specs.iter().map(|spec| {
            let target = SimTarget {
                status: Status::Stopped,
                id: 0,
                ready: None,
                ends: None,
                exit: 0,
                owned: false,
                has_slot: false,
                runs: 0,
                slept: false,
                starting: false,
                ending: false,
                asked: BTreeMap::new(),
                job: spec.ready == drowse_core::ReadyCheck::Completed,
                address: None,
                operations: 0,
            };
            (spec.name.to_string(), target)
        });
        let targets = Mutex::new(targets.collect());
        Arc::new(Self {
            seed,
            plan,
            began: Instant::now(),
            calm: AtomicBool::new(false),
            engine: Mutex::new((Weak::new(), Instant::now())),
            targets,
            network: Mutex::default(),
            record: Mutex::default(),
        })
    }

    /// Wall clock: the first day is Friday, 2026-11-20.
    pub(crate) fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800) + self.began.elapsed()
    }

    pub(crate) fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.lock().expect("not poisoned").0.upgrade()
    }

    /// Another router starts: it counts generations from 0, and no visit is inside.
    pub(crate) fn begins(&self, engine: &Arc<Engine>) {
        let now = (Arc::downgrade(engine), Instant::now());
        *self.engine.lock().expect("not poisoned") = now;
        let mut record = self.record();
        record.inside.clear();
        record.forced.clear();
        drop(record);
        self.network().begins();
        for name in self.names() {
            self.target(&name, |target| target.has_slot = false);
        }
    }

    pub(crate) fn has_just_started(&self) -> bool {
        let since = self.engine.lock().expect("not poisoned").1;
        since.elapsed() < Duration::from_secs(60)
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.plan.specs.iter().map(|spec| spec.name.to_string()).collect()
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("not poisoned")
    }

    /// Reads or changes a target.
    pub(crate) fn target<T>(&self, name: &str, change: impl FnOnce(&mut SimTarget) -> T) -> T {
        let mut targets = self.targets.lock().expect("not poisoned");
        let target = targets.get_mut(name).expect("a known target");
        target.tick();
        let changed = change(target);
        self.network().assign(self.spec(name).provider.as_str(), name, target);
        changed
    }

    pub(crate) fn spec(&self, name: &str) -> &WorkloadSpec {
        // Workloads are named by their numbers.
        let number: usize = name.trim_start_matches('w').parse().expect("a number");
        &self.plan.specs[number]
    }

    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().expect("not poisoned")
    }

    /// Random numbers for the next call of this kind.
    pub(crate) fn random_for(&self, name: &str, what: &'static str) -> Random {
        let number = self.target(name, |target| {
            let asked = target.asked.entry(what).or_default();
            *asked += 1;
            *asked
        });
        Random::of(self.seed, &format!("{what} {name}"), number)
    }

    /// Records a violated invariant.
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
            let target = self.target(name, |target| target.clone());
            let _ = write!(text, "\n  platform: {target:?}\n  spec: {:?}", workload.spec());
        }
        let mut record = self.record();
        for entry in record.recent.get(name).into_iter().flatten() {
            let at = |time: SystemTime| time.duration_since(self.wall() - self.began.elapsed());
            let seconds = |time| at(time).map_or(0.0, |since| since.as_secs_f64());
            let _ = write!(
                text,
                "\n  {:>12.3} – {:>12.3} {} {} {} {:?} {:?}",
                seconds(entry.began),
                seconds(entry.ended),
                entry.generation,
                entry.kind,
                entry.trigger,
                entry.reference,
                entry.failure.as_ref().map(|failure| &failure.message)
            );
        }
        record.violations.push(text);
    }

    /// Panics if there was a violation, with the seed that repeats it.
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
        let (ending, slept) = self.target(name, |target| (target.ending, target.slept));
        if ending || slept {
            self.violation(name, "a visitor was admitted to a target that is put to sleep");
        }
        let mut record = self.record();
        record.counts.visits += 1;
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

    /// An operator puts it to sleep, with a limit for the visits inside.
    pub(crate) fn force(&self, name: &str, generation: Generation) {
        self.record().forced.insert(name.to_owned(), generation);
    }

    /// Checks that a target that is put to sleep has no visit and is not needed.
    pub(crate) fn check_sleep(&self, name: &str) {
        let Some(workload) = self.engine().and_then(|engine| engine.workload(name)) else { return };
        let snapshot = workload.snapshot();
        let record = self.record();
        let inside = record.inside.get(&(name.to_owned(), snapshot.generation)).copied();
        let forced = record.forced.get(name) == Some(&snapshot.generation);
        drop(record);
        if let (Some(inside), false) = (inside, forced) {
            self.violation(name, &format!("put to sleep with {inside} visitors inside"));
        }
        // A failed wake is cleaned up even if a visitor waits for the next one.
        if snapshot.phase != Phase::Stopping {
            return;
        }
        for dependent in self.plan.dependents.get(name).into_iter().flatten() {
            let runs =
                self.target(dependent, |target| target.owned && target.status == Status::Running);
            let phase = workload_phase(self, dependent);
            if runs && phase == Some(Phase::Ready) {
                self.violation(
                    name,
                    &format!("put to sleep while {dependent} runs, which needs it"),
                );
            }
        }
    }

    /// Hash of all journal entries, without the random correlation.
    pub(crate) fn hash(&self) -> u64 {
        let record = self.record();
        let mut whole = DefaultHasher::new();
        for (name, hasher) in &record.hashes {
            (name, hasher.finish()).hash(&mut whole);
        }
        whole.finish()
    }
}

pub(crate) fn workload_phase(world: &World, name: &str) -> Option<Phase> {
    Some(world.engine()?.workload(name)?.snapshot().phase)
}

impl Journal for World {
    fn record(&self, entry: Entry) {
        let mut record = World::record(self);
        let counts = &mut record.counts;
        match (entry.kind, entry.trigger, entry.failure.is_some()) {
            (_, _, true) => counts.failed += 1,
            (OperationKind::Wake, _, _) => counts.wakes += 1,
            (OperationKind::Adopt, _, _) => counts.adopted += 1,
            (OperationKind::Sleep, trigger, _) => {
                counts.sleeps += 1;
                counts.evicted += u64::from(trigger == Trigger::Pool);
            }
            _ => {}
        }
        let name = entry.workload.to_string();
        let hasher = record.hashes.entry(name.clone()).or_default();
        let failure = entry.failure.as_ref().map(|failure| failure.message.clone());
        (entry.kind.as_str(), entry.trigger, &entry.reference, entry.generation).hash(hasher);
        (failure, entry.began, entry.ended).hash(hasher);
        let recent = record.recent.entry(name).or_default();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(entry);
    }

    fn recent(&self, _: Option<&str>, _: usize) -> Vec<Entry> {
        Vec::new()
    }
}

// === impl SimTarget ===

impl SimTarget {
    /// Ends a job whose time is over.
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
        (self.owned, self.has_slot, self.slept) = (false, false, false);
    }

    /// Starts it; it answers probes after this time.
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
