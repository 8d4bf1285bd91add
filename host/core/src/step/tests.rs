//! The invariants of the phase machine, checked after every step of random histories.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::{
    journal::Source,
    provider::{ErrorCode, Reason, Status},
};

mod histories;
mod renewals;
mod schedules;
mod targets;

/// What may happen to a workload; the world turns it into an input if it can happen now.
#[derive(Clone, Debug)]
enum Happening {
    Visitor,
    VisitorLeaves,
    OperationEnds(Outcome),
    LookEnds(Outcome),
    LookTimerFires,
    /// It needs others than before.
    NeedsChange,
    ProbeEnds(bool),
    TimerFires,
    Event(Status, u8),
    OperatorWake,
    OperatorSleep(Force),
    OperatorRenew(Force, Renewal),
    Evict,
    Suspicion,
    Synced,
    /// Somebody begins to need it.
    Hold,
    /// Somebody does not need it any more.
    Release,
    /// A window of its schedule opens, or closes.
    Window(bool),
    /// The pool answers: a place, or none.
    SlotAnswered(bool),
    /// What it needs is there, or will not come.
    NeedsEnd(bool),
    /// The question whether it may sleep is answered.
    QuestionEnds(bool),
    /// An answer whose number or generation is of the past.
    Stale(u8),
    TimePasses(u16),
}

#[derive(Clone, Debug)]
enum Outcome {
    Seen(Status, u8),
    Error(ErrorCode),
}

/// Everything outside the machine, and the checks.
struct World {
    policy: Policy,
    state: State,
    now: Moment,
    gate_open: bool,
    visits: BTreeMap<Generation, u32>,
    operation: Option<(u64, Operation)>,
    look: Option<(u64, Priority)>,
    probe: Option<Generation>,
    timer: Option<(u64, Moment)>,
    look_timer: Option<(u64, Moment)>,
    question: Option<u64>,
    asked_slot: Option<Generation>,
    slot: bool,
    needs: Option<Generation>,
    held: u32,
    /// A window is open.
    scheduled: bool,
    /// An operator has overruled the window.
    overruled: bool,
    story: Option<Kind>,
    /// How the last story ended.
    ended: Option<Result<(), ErrorCode>>,
    last_left: Moment,
    starts: HashMap<Generation, u32>,
    /// The life whose visits may be cut: an operator would not wait any longer, or somebody else
    /// has put it to sleep.
    forced: Option<Generation>,
    /// The input of this step is an operator's order, or what came of it.
    obeys: bool,
    /// A stop that failed is tried again.
    retries: bool,
    steps: u64,
}

fn seen(status: Status, id: u8) -> Observation {
    let exit = (status == Status::Stopped).then(|| ("exit-status".into(), "0".into()));
    Observation {
        handle: "blog".into(),
        native_status: format!("{status:?}").to_lowercase(),
        status,
        native_id: Some(format!("id{id}")),
        health: crate::provider::Health::None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        detail: None,
        attributes: exit.into_iter().collect(),
    }
}

fn policy() -> Policy {
    Policy {
        idle: Some(Duration::from_secs(10)),
        wake_timeout: Duration::from_secs(60),
        cooldown: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(30),
        queue_timeout: Duration::from_secs(40),
        needs_timeout: Duration::from_secs(50),
        deep_after: Some(Duration::from_secs(100)),
        veto_retry: Duration::from_secs(7),
        adopt: Adopt::Keep,
        job: false,
    }
}

fn request() -> Arc<Cause> {
    Arc::new(Cause::new(Source::Request))
}

fn operator() -> Arc<Cause> {
    Arc::new(Cause::new(Source::Cli))
}

// === impl World ===

impl World {
    fn new() -> Self {
        Self {
            policy: policy(),
            state: State::default(),
            now: Duration::ZERO,
            gate_open: false,
            visits: BTreeMap::new(),
            operation: None,
            look: None,
            probe: None,
            timer: None,
            look_timer: None,
            question: None,
            asked_slot: None,
            slot: false,
            needs: None,
            held: 0,
            scheduled: false,
            overruled: false,
            story: None,
            ended: None,
            last_left: Duration::ZERO,
            starts: HashMap::new(),
            forced: None,
            obeys: false,
            retries: false,
            steps: 0,
        }
    }

    fn is_kept(&self) -> bool {
        self.held > u32::from(self.overruled)
    }

    fn inside(&self) -> u32 {
        self.visits.values().sum()
    }

    fn input(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.steps += 1;
            let forced = matches!(input, Input::Timer(_)) && self.state.phase() == Phase::Draining
                || matches!(
                    input,
                    Input::Sleep(_, Force::AtOnce) | Input::Renew(_, Force::AtOnce, _)
                );
            if forced {
                self.forced = Some(self.state.generation());
            }
            self.retries = matches!(input, Input::Timer(_)) && self.state.phase() == Phase::Failed;
            self.obeys = matches!(input, Input::Drained | Input::Renew(..))
                || matches!(input, Input::Timer(_)) && self.state.phase() == Phase::Draining;
            let old = self.state.clone();
            let was_ready = old.phase() == Phase::Ready && matches!(input, Input::StatusResult(..));
            let (state, effects) = step(&self.policy, old, input, self.now);
            // What the visits inside were with is gone.
            let gone = matches!(state.phase(), Phase::Asleep | Phase::Missing | Phase::Failed);
            if was_ready && gone {
                self.forced = Some(state.generation());
            }
            self.state = state;
            for effect in effects {
                inputs.extend(self.effect(effect));
            }
        }
        self.check();
    }

    fn effect(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Operate(ticket, operation) => {
                assert!(self.operation.is_none(), "two operations at a time");
                assert!(!self.gate_open, "an operation behind an open gate");
                let generation = self.state.generation();
                match operation {
                    Operation::Start => *self.starts.entry(generation).or_default() += 1,
                    Operation::Sleep | Operation::DeepSleep | Operation::Renew(_) => {
                        let inside = self.visits.get(&generation).copied().unwrap_or(0);
                        let forced = self.forced == Some(generation);
                        assert!(inside == 0 || forced, "{inside} visits inside while stopping");
                        let failed =
                            self.state.phase() == Phase::Failed || self.state.failure().is_some();
                        let cleans_up = failed || self.retries;
                        assert!(
                            !self.is_kept() || self.policy.job || self.obeys || cleans_up,
                            "put to sleep while it is needed"
                        );
                    }
                }
                if operation == Operation::Start {
                    assert!(self.slot, "started without a place");
                    assert!(self.needs == Some(generation), "started without what it needs");
                }
                self.operation = Some((ticket, operation));
            }
            Effect::CancelOperation => {
                assert!(self.operation.take().is_some(), "nothing to cancel");
            }
            Effect::QueryStatus(ticket, priority) => {
                let replaces = self.look.is_none_or(|(_, before)| before < priority);
                assert!(replaces, "two looks at a time");
                self.look = Some((ticket, priority));
            }
            Effect::Probe(generation, _) => self.probe = Some(generation),
            Effect::StopProbe => self.probe = None,
            Effect::OpenGate(life) => {
                assert!(!self.gate_open);
                assert!(!self.policy.job, "a job is open to visitors");
                assert_eq!(life.generation, self.state.generation());
                self.gate_open = true;
                self.last_left = self.now;
                return Some(Input::GateBusy(self.policy.idle.expect("set")));
            }
            Effect::CloseGate => {
                self.gate_open = false;
                return (self.inside() == 0).then_some(Input::Drained);
            }
            Effect::CloseGateIfIdle => {
                if let Some(left) = self.busy() {
                    return Some(Input::GateBusy(left));
                }
                self.gate_open = false;
                return Some(Input::GateClosed);
            }
            Effect::CloseGateIfEmpty => {
                if self.inside() > 0 {
                    return Some(Input::GateBusy(self.policy.idle.expect("set")));
                }
                self.gate_open = false;
                return Some(Input::GateClosed);
            }
            Effect::CheckSleep(ticket) => {
                assert!(self.question.is_none(), "two questions at a time");
                if let Some(left) = self.busy() {
                    return Some(Input::StillBusy(ticket, left));
                }
                self.question = Some(ticket);
            }
            Effect::CancelSleepCheck => self.question = None,
            Effect::RestartIdleTime => self.last_left = self.now,
            Effect::BeginRecord(kind, _) => {
                assert!(self.story.replace(kind).is_none(), "a story within a story");
            }
            Effect::EndRecord(outcome) => {
                assert!(self.story.take().is_some(), "the end of no story");
                self.ended = Some(outcome.map_err(|failure| failure.code.clone()));
            }
            Effect::RequestSlot(generation) => {
                assert!(!self.slot && self.asked_slot.is_none(), "asked twice for a place");
                self.asked_slot = Some(generation);
            }
            Effect::ClaimSlot => {
                assert!(!self.slot, "two places");
                (self.slot, self.asked_slot) = (true, None);
            }
            Effect::KeepMemoryOnly | Effect::ReleaseSlot => {
                (self.slot, self.asked_slot) = (false, None)
            }
            Effect::TakeNeeds(generation) | Effect::KeepNeeds(generation) => {
                assert_eq!(generation, self.state.generation());
                let before = self.needs.replace(generation);
                assert!(before.is_none_or(|before| before == generation), "needs taken twice");
            }
            Effect::ReleaseNeeds => {
                assert!(self.needs.take().is_some(), "needs released twice");
                let runs = self.operation.is_some() || self.gate_open;
                assert!(!runs, "what it needs is released while it runs");
            }
            Effect::ArmTimer(ticket, after) => self.timer = Some((ticket, self.now + after)),
            Effect::DisarmTimer => self.timer = None,
            Effect::ArmQueryTimer(ticket, after) => {
                self.look_timer = Some((ticket, self.now + after))
            }
            Effect::DisarmQueryTimer => self.look_timer = None,
            Effect::ProbeNow | Effect::Publish => {}
        }
        None
    }

    /// The idle time is over after this, if it is not over.
    fn busy(&self) -> Option<Duration> {
        let idle = self.policy.idle.expect("set");
        let left = idle.saturating_sub(self.now - self.last_left);
        match self.inside() {
            0 => Some(left).filter(|left| !left.is_zero()),
            _ => Some(idle),
        }
    }

    /// What must hold after each step.
    fn check(&self) {
        let phase = self.state.phase();
        assert_eq!(
            self.gate_open,
            phase == Phase::Ready,
            "the gate is open in Ready and only there"
        );
        match phase {
            Phase::Waking => {
                assert!(self.timer.is_some(), "a wake without deadline");
                let waits = self.asked_slot.is_some() || self.needs.is_some();
                assert!(waits || self.operation.is_some(), "nothing ends the wake");
            }
            Phase::Ready => {
                let ends = self.timer.is_some() || self.question.is_some();
                assert!(ends, "ready without an idle timer");
                assert!(self.slot && self.needs.is_some(), "ready without place or needs");
            }
            Phase::Draining => {
                assert!(self.timer.is_some(), "draining without deadline");
                assert!(self.inside() > 0, "draining with nobody inside");
            }
            Phase::Stopping => assert!(self.operation.is_some(), "nothing ends the stopping"),
            Phase::Asleep | Phase::Failed | Phase::Missing if self.operation.is_none() => {
                let stuck = self.state.failed_stops > 0 || self.state.unsure;
                let looks = self.look.is_some() || self.look_timer.is_some();
                assert!(!self.state.unsure || looks, "nobody finds out whether it runs");
                assert!(self.state.owed == 0 || looks, "a look that failed is not repeated");
                assert!(stuck || !self.state.is_owned() || self.state.may_run);
                assert!(stuck || !self.slot && self.asked_slot.is_none(), "it keeps its place");
                assert!(stuck || self.needs.is_none(), "it keeps what it needs awake");
                let needed = self.is_kept() && !self.policy.job;
                let ends = self.timer.is_some() || looks;
                assert!(!needed || ends, "needed, and nobody wakes it");
                assert!(stuck || self.story.is_none(), "a story without end");
            }
            Phase::Asleep | Phase::Failed | Phase::Missing => {}
        }
        assert_eq!(self.held, self.state.needed_by());
        for (generation, starts) in &self.starts {
            assert!(*starts <= 2, "{starts} starts in life {generation}");
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Visitor if self.gate_open => {
                *self.visits.entry(self.state.generation()).or_default() += 1;
            }
            Happening::Visitor => {
                self.overruled = false;
                self.input(Input::Wake(request()));
            }
            Happening::VisitorLeaves => {
                let Some(mut entry) = self.visits.first_entry() else { return };
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
                self.last_left = self.now;
                if !self.gate_open && self.inside() == 0 {
                    self.input(Input::Drained);
                }
            }
            Happening::OperationEnds(outcome) => {
                if let Some((ticket, operation)) = self.operation.take() {
                    if operation == Operation::Start && outcome.is_missing() {
                        // There was nothing to start.
                        *self.starts.entry(self.state.generation()).or_default() -= 1;
                    }
                    self.input(Input::OperationResult(ticket, outcome.result()));
                }
            }
            Happening::LookEnds(outcome) => {
                if let Some((ticket, _)) = self.look.take() {
                    self.input(Input::StatusResult(ticket, outcome.result()));
                }
            }
            Happening::ProbeEnds(ready) => match (self.probe, ready) {
                (Some(generation), true) => {
                    self.probe = None;
                    self.input(Input::Ready(generation));
                }
                (Some(generation), false) => {
                    self.input(Input::NotReady(generation, "refused".into()));
                }
                (None, _) => {}
            },
            Happening::TimerFires => {
                if let Some((ticket, at)) = self.timer.take() {
                    self.now = self.now.max(at);
                    self.input(Input::Timer(ticket));
                }
            }
            Happening::LookTimerFires => {
                if let Some((ticket, at)) = self.look_timer.take() {
                    self.now = self.now.max(at);
                    self.input(Input::QueryTimer(ticket));
                }
            }
            Happening::NeedsChange => self.input(Input::NeedsChanged),
            Happening::Event(status, id) => self.input(Input::Changed(seen(status, id))),
            Happening::OperatorWake => {
                self.overruled = false;
                self.input(Input::Wake(operator()));
            }
            Happening::OperatorSleep(force) => {
                let others = self.held > u32::from(self.scheduled);
                self.overruled |= self.scheduled && !others && force == Force::AtOnce;
                self.input(Input::Sleep(operator(), force));
            }
            Happening::OperatorRenew(force, renewal) => {
                let (may, before) = (self.state.may_be_renewed(), self.state.clone());
                self.input(Input::Renew(operator(), force, renewal));
                assert!(may || before == self.state, "renewed on its way to sleep");
                assert!(!may || self.state.is_renewed() || self.state.wake_wanted());
            }
            Happening::Evict => self.input(Input::Evict(Arc::new(Cause::new(Source::Pool)))),
            Happening::Window(true) if !self.scheduled => {
                (self.scheduled, self.overruled) = (true, false);
                self.held += 1;
                self.input(Input::Hold(Arc::new(Cause::new(Source::Schedule))));
            }
            Happening::Window(false) if self.scheduled => {
                (self.scheduled, self.overruled) = (false, false);
                self.held -= 1;
                self.input(Input::Release(Source::Schedule));
            }
            Happening::Window(_) => {}
            Happening::Hold => {
                self.overruled = false;
                self.held += 1;
                self.input(Input::Hold(Arc::new(Cause::new(Source::Dependency))));
            }
            Happening::Release if self.held > u32::from(self.scheduled) => {
                self.held -= 1;
                self.input(Input::Release(Source::Dependency));
            }
            Happening::Release => {}
            Happening::SlotAnswered(yes) => {
                if let Some(generation) = self.asked_slot.take() {
                    self.slot = yes;
                    let full = Failure::new(ErrorCode::Unavailable, "the queue is full");
                    self.input(match yes {
                        true => Input::SlotGranted(generation),
                        false => Input::SlotRefused(generation, full),
                    });
                }
            }
            Happening::NeedsEnd(met) => {
                if let Some(generation) = self.needs {
                    let gone = Failure::new(ErrorCode::NotFound, "db is missing");
                    self.input(match met {
                        true => Input::NeedsMet(generation),
                        false => Input::NeedsFailed(generation, gone),
                    });
                }
            }
            Happening::QuestionEnds(may) => {
                if let Some(ticket) = self.question.take() {
                    self.input(match may {
                        true => Input::MaySleep(ticket),
                        false => Input::Vetoed(ticket, "a job runs".into()),
                    });
                }
            }
            Happening::Suspicion => self.input(Input::Suspected(self.state.generation())),
            Happening::Synced => self.input(Input::QueryStatus(Priority::Routine)),
            Happening::Stale(kind) => self.stale(kind),
            Happening::TimePasses(seconds) => {
                self.now += Duration::from_secs(seconds.into());
                while self.timer.is_some_and(|(_, at)| at <= self.now) {
                    self.happen(Happening::TimerFires);
                }
                while self.look_timer.is_some_and(|(_, at)| at <= self.now) {
                    self.happen(Happening::LookTimerFires);
                }
            }
        }
    }

    fn stale(&mut self, kind: u8) {
        let before = self.state.clone();
        let old = Generation(before.generation().0.wrapping_sub(1));
        let ok = || Ok(seen(Status::Stopped, 9));
        self.input(match kind % 13 {
            0 => Input::OperationResult(u64::MAX, ok()),
            1 => Input::StatusResult(u64::MAX, ok()),
            2 => Input::Timer(u64::MAX),
            3 => Input::Ready(old),
            4 => Input::NotReady(old, "old".into()),
            5 => Input::SlotGranted(old),
            6 => Input::SlotRefused(old, Failure::new(ErrorCode::Unavailable, "old")),
            7 => Input::NeedsMet(old),
            8 => Input::NeedsFailed(old, Failure::new(ErrorCode::Unavailable, "old")),
            9 => Input::MaySleep(u64::MAX),
            10 => Input::Vetoed(u64::MAX, "old".into()),
            11 => Input::QueryTimer(u64::MAX),
            _ => Input::Suspected(old),
        });
        assert_eq!(before, self.state, "an answer of the past changed something");
    }

    /// From here on everything goes well: whoever comes is served.
    fn converge(&mut self) {
        self.visits.clear();
        if !self.gate_open {
            self.input(Input::Drained);
        }
        let before = self.state.completed();
        self.now += Duration::from_secs(3600);
        self.happen(Happening::Visitor);
        for _ in 0..40 {
            let ran = self.state.completed() > before;
            if self.gate_open || self.policy.job && ran {
                return;
            }
            let status = match self.operation {
                None | Some((_, Operation::Start)) => Status::Running,
                Some((_, Operation::Renew(Renewal::Recreate { .. }))) => Status::Running,
                Some(_) => Status::Stopped,
            };
            self.happen(Happening::OperationEnds(Outcome::Seen(status, 1)));
            self.happen(Happening::SlotAnswered(true));
            self.happen(Happening::NeedsEnd(true));
            self.happen(Happening::ProbeEnds(true));
            let status = if self.policy.job { Status::Stopped } else { Status::Running };
            if self.policy.job {
                self.happen(Happening::Synced);
            }
            self.happen(Happening::LookEnds(Outcome::Seen(status, 1)));
            self.happen(Happening::Visitor);
            self.now += Duration::from_secs(1);
            if self.look_timer.is_some_and(|(_, at)| at <= self.now) {
                self.happen(Happening::LookTimerFires);
            }
        }
        panic!("a visitor is never served: {:?}", self.state);
    }
}

// === impl Outcome ===

impl Outcome {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Seen(Status::Missing, _) | Self::Error(ErrorCode::NotFound))
    }

    fn result(self) -> Result<Observation, Failure> {
        match self {
            Self::Seen(status, id) => Ok(seen(status, id)),
            Self::Error(code) => Err(Failure::new(code, "it went wrong")),
        }
    }
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        4 => Just(Status::Running),
        4 => Just(Status::Stopped),
        1 => Just(Status::Starting),
        1 => Just(Status::Paused),
        1 => Just(Status::Stopping),
        1 => Just(Status::Failed),
        1 => Just(Status::Missing),
        1 => Just(Status::Other("dreaming".into())),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => (status(), 0..3u8).prop_map(|(status, id)| Outcome::Seen(status, id)),
        1 => Just(Outcome::Error(ErrorCode::Unavailable)),
        1 => Just(Outcome::Error(ErrorCode::Timeout)),
        1 => Just(Outcome::Error(ErrorCode::NotFound)),
        1 => Just(Outcome::Error(ErrorCode::Internal)),
    ]
}

fn renewal() -> impl Strategy<Value = (Force, Renewal)> {
    let force = prop_oneof![Just(Force::Drain), Just(Force::AtOnce)];
    let recreate = any::<bool>().prop_map(|refresh| Renewal::Recreate { refresh });
    (force, prop_oneof![Just(Renewal::Restart), recreate])
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Visitor),
        6 => Just(Happening::VisitorLeaves),
        6 => outcome().prop_map(Happening::OperationEnds),
        3 => outcome().prop_map(Happening::LookEnds),
        6 => any::<bool>().prop_map(Happening::ProbeEnds),
        4 => Just(Happening::TimerFires),
        2 => Just(Happening::LookTimerFires),
        1 => Just(Happening::NeedsChange),
        4 => (status(), 0..3u8).prop_map(|(status, id)| Happening::Event(status, id)),
        1 => Just(Happening::OperatorWake),
        1 => Just(Happening::OperatorSleep(Force::Drain)),
        1 => Just(Happening::OperatorSleep(Force::AtOnce)),
        2 => renewal().prop_map(|(force, renewal)| Happening::OperatorRenew(force, renewal)),
        1 => Just(Happening::Evict),
        1 => Just(Happening::Hold),
        2 => Just(Happening::Release),
        1 => any::<bool>().prop_map(Happening::Window),
        5 => prop::bool::weighted(0.9).prop_map(Happening::SlotAnswered),
        5 => prop::bool::weighted(0.9).prop_map(Happening::NeedsEnd),
        3 => any::<bool>().prop_map(Happening::QuestionEnds),
        1 => Just(Happening::Suspicion),
        1 => Just(Happening::Synced),
        2 => any::<u8>().prop_map(Happening::Stale),
        2 => (0..120u16).prop_map(Happening::TimePasses),
    ]
}

/// What operators may want.
fn policies() -> impl Strategy<Value = Policy> {
    let adopt = prop_oneof![Just(Adopt::Keep), Just(Adopt::Sleep), Just(Adopt::Ignore)];
    (adopt, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(adopt, tiers, job)| {
        let deep_after = policy().deep_after.filter(|_| tiers);
        Policy { adopt, deep_after, job, ..policy() }
    })
}

#[test]
fn the_invariants_hold_in_every_history() {
    // Without optimisation it is a tenth as fast.
    let (cases, least) = if cfg!(debug_assertions) { (4_000, 0) } else { (40_000, 1_000_000) };
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(cases) };
    let histories = (policies(), proptest::collection::vec(happening(), 1..120));
    let steps = AtomicU64::new(0);
    let result = TestRunner::new(config).run(&histories, |(policy, history)| {
        let mut world = World { policy, ..World::new() };
        for happening in history {
            world.happen(happening);
        }
        world.converge();
        steps.fetch_add(world.steps, Ordering::Relaxed);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let steps = steps.into_inner();
    println!("{steps} steps");
    assert!(steps >= least, "only {steps} steps");
}
