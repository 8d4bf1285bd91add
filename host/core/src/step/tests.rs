//! Invariants of the phase machine, checked after every step of random histories.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    Stage,
    phase::{PhaseState, Recovery},
    *,
};
use crate::{
    journal::{Cause, OperationKind, Trigger},
    names::{Generation, Phase},
    provider::{ErrorCode, Failure, Observation, Reason, Status},
};

mod histories;
mod renewals;
mod schedules;
mod targets;

/// An event in the environment of a workload. The world turns it into an input if it can happen now.
#[derive(Clone, Debug)]
enum Event {
    Visitor,
    VisitorLeaves,
    OperationEnds(Outcome),
    QueryEnds(Outcome),
    QueryTimerFires,
    /// The configured needs change.
    NeedsChange,
    ProbeEnds(bool),
    TimerFires,
    /// The provider reports an event.
    Reported(Status, u8),
    OperatorWake,
    OperatorSleep(Force),
    OperatorRenew(Force, Renewal),
    Evict,
    Suspicion,
    RoutineQuery,
    /// A dependent begins to need the workload.
    Hold,
    /// A dependent no longer needs the workload.
    Release,
    /// A schedule window opens or closes.
    Window(bool),
    /// The pool grants or refuses a slot.
    SlotAnswered(bool),
    /// The needs are met or fail.
    NeedsEnd(bool),
    /// The sleep check ends, without a veto or with one.
    SleepCheckEnds(bool),
    /// A result with an outdated ticket or generation.
    Stale(u8),
    TimePasses(u16),
}

#[derive(Clone, Debug)]
enum Outcome {
    Status(Status, u8),
    Error(ErrorCode),
}

/// The environment of the machine, and the checks.
struct World {
    policy: Policy,
    state: State,
    now: Moment,
    gate_open: bool,
    visits: BTreeMap<Generation, u32>,
    operation: Option<(u64, Operation)>,
    query: Option<(u64, Priority)>,
    probe: Option<Generation>,
    timer: Option<(u64, Moment)>,
    query_timer: Option<(u64, Moment)>,
    sleep_check: Option<u64>,
    requested_slot: Option<Generation>,
    slot: bool,
    needs: Option<Generation>,
    held: u32,
    /// A schedule window is open.
    scheduled: bool,
    /// An operator has overruled the window.
    overruled: bool,
    /// OperationKind of the open operation record.
    record: Option<OperationKind>,
    /// Outcome of the last operation record.
    recorded: Option<Result<(), ErrorCode>>,
    last_left: Moment,
    starts: HashMap<Generation, u32>,
    /// Generation whose visits may be cut off: the drain timeout is over, or its instance has ended.
    forced: Option<Generation>,
    /// The input is an operator's order, or follows from one.
    ordered: bool,
    /// The input retries a stop that failed.
    retries: bool,
    steps: u64,
}

fn observation(status: Status, id: u8) -> Observation {
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
    Arc::new(Cause::new(Trigger::Request))
}

fn operator() -> Arc<Cause> {
    Arc::new(Cause::new(Trigger::Cli))
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
            query: None,
            probe: None,
            timer: None,
            query_timer: None,
            sleep_check: None,
            requested_slot: None,
            slot: false,
            needs: None,
            held: 0,
            scheduled: false,
            overruled: false,
            record: None,
            recorded: None,
            last_left: Duration::ZERO,
            starts: HashMap::new(),
            forced: None,
            ordered: false,
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
            self.ordered = matches!(input, Input::Drained | Input::Renew(..))
                || matches!(input, Input::Timer(_)) && self.state.phase() == Phase::Draining;
            let old = self.state.clone();
            let was_ready = old.phase() == Phase::Ready && matches!(input, Input::StatusResult(..));
            let (state, effects) = step(&self.policy, old, input, self.now);
            // The instance of the visits inside has ended.
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
                            !self.is_kept() || self.policy.job || self.ordered || cleans_up,
                            "put to sleep while it is needed"
                        );
                    }
                }
                if operation == Operation::Start {
                    assert!(self.slot, "started without a slot");
                    assert!(self.needs == Some(generation), "started without its needs");
                }
                self.operation = Some((ticket, operation));
            }
            Effect::CancelOperation => {
                assert!(self.operation.take().is_some(), "nothing to cancel");
            }
            Effect::QueryStatus(ticket, priority) => {
                let replaces = self.query.is_none_or(|(_, before)| before < priority);
                assert!(replaces, "two status queries at a time");
                self.query = Some((ticket, priority));
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
                assert!(self.sleep_check.is_none(), "two sleep checks at a time");
                if let Some(left) = self.busy() {
                    return Some(Input::StillBusy(ticket, left));
                }
                self.sleep_check = Some(ticket);
            }
            Effect::CancelSleepCheck => self.sleep_check = None,
            Effect::RestartIdleTime => self.last_left = self.now,
            Effect::BeginRecord(kind, _) => {
                assert!(self.record.replace(kind).is_none(), "two operation records at a time");
            }
            Effect::EndRecord(outcome) => {
                assert!(self.record.take().is_some(), "no operation record to end");
                self.recorded = Some(outcome.map_err(|failure| failure.code.clone()));
            }
            Effect::RequestSlot(generation) => {
                assert!(!self.slot && self.requested_slot.is_none(), "two requests for a slot");
                self.requested_slot = Some(generation);
            }
            Effect::ClaimSlot => {
                assert!(!self.slot, "two slots");
                (self.slot, self.requested_slot) = (true, None);
            }
            Effect::KeepMemoryOnly | Effect::ReleaseSlot => {
                (self.slot, self.requested_slot) = (false, None)
            }
            Effect::TakeNeeds(generation) | Effect::KeepNeeds(generation) => {
                assert_eq!(generation, self.state.generation());
                let before = self.needs.replace(generation);
                assert!(before.is_none_or(|before| before == generation), "needs taken twice");
            }
            Effect::ReleaseNeeds => {
                assert!(self.needs.take().is_some(), "needs released twice");
                let runs = self.operation.is_some() || self.gate_open;
                assert!(!runs, "needs released while it runs");
            }
            Effect::ArmTimer(ticket, after) => self.timer = Some((ticket, self.now + after)),
            Effect::DisarmTimer => self.timer = None,
            Effect::ArmQueryTimer(ticket, after) => {
                self.query_timer = Some((ticket, self.now + after))
            }
            Effect::DisarmQueryTimer => self.query_timer = None,
            Effect::ProbeNow | Effect::Publish => {}
        }
        None
    }

    /// Rest of the idle time, unless it is over.
    fn busy(&self) -> Option<Duration> {
        let idle = self.policy.idle.expect("set");
        let left = idle.saturating_sub(self.now - self.last_left);
        match self.inside() {
            0 => Some(left).filter(|left| !left.is_zero()),
            _ => Some(idle),
        }
    }

    /// Checks the invariants.
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
                let waits = self.requested_slot.is_some() || self.needs.is_some();
                assert!(waits || self.operation.is_some(), "nothing ends the wake");
            }
            Phase::Ready => {
                let ends = self.timer.is_some() || self.sleep_check.is_some();
                assert!(ends, "ready without an idle timer");
                assert!(self.slot && self.needs.is_some(), "ready without slot or needs");
            }
            Phase::Draining => {
                assert!(self.timer.is_some(), "draining without deadline");
                assert!(self.inside() > 0, "draining without a visit inside");
            }
            Phase::Stopping => assert!(self.operation.is_some(), "nothing ends the stopping"),
            Phase::Asleep | Phase::Failed | Phase::Missing if self.operation.is_none() => {
                let stuck = !self.state.phase.is_at_rest();
                let queries = self.query.is_some() || self.query_timer.is_some();
                let unverified = PhaseState::Failed(Recovery::Unverified);
                let verified = self.state.phase != unverified;
                assert!(verified || queries, "no query tells whether it runs");
                let failed = self.state.queries.failures() > 0;
                assert!(!failed || queries, "a failed query is not repeated");
                assert!(stuck || !self.state.is_owned() || self.state.ownership.may_run);
                assert!(stuck || !self.slot && self.requested_slot.is_none(), "it keeps its slot");
                assert!(stuck || self.needs.is_none(), "it keeps its needs");
                let needed = self.is_kept() && !self.policy.job;
                let ends = self.timer.is_some() || queries;
                assert!(!needed || ends, "needed, and never woken");
                assert!(stuck || self.record.is_none(), "an operation record without end");
            }
            Phase::Asleep | Phase::Failed | Phase::Missing => {}
        }
        assert_eq!(self.held, self.state.needed_by());
        for (generation, starts) in &self.starts {
            assert!(*starts <= 2, "{starts} starts in generation {generation}");
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Visitor if self.gate_open => {
                *self.visits.entry(self.state.generation()).or_default() += 1;
            }
            Event::Visitor => {
                self.overruled = false;
                self.input(Input::Wake(request()));
            }
            Event::VisitorLeaves => {
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
            Event::OperationEnds(outcome) => {
                if let Some((ticket, operation)) = self.operation.take() {
                    if operation == Operation::Start && outcome.is_missing() {
                        // There was nothing to start.
                        *self.starts.entry(self.state.generation()).or_default() -= 1;
                    }
                    self.input(Input::OperationResult(ticket, outcome.result()));
                }
            }
            Event::QueryEnds(outcome) => {
                if let Some((ticket, _)) = self.query.take() {
                    let waited = self.state.stage() == Some(Stage::Absent);
                    self.input(Input::StatusResult(ticket, outcome.result()));
                    if !waited && self.state.stage() == Some(Stage::Absent) {
                        // The target was removed. The next start is the first one of another.
                        self.starts.insert(self.state.generation(), 0);
                    }
                }
            }
            Event::ProbeEnds(ready) => match (self.probe, ready) {
                (Some(generation), true) => {
                    self.probe = None;
                    self.input(Input::Ready(generation));
                }
                (Some(generation), false) => {
                    self.input(Input::NotReady(generation, "refused".into()));
                }
                (None, _) => {}
            },
            Event::TimerFires => {
                if let Some((ticket, at)) = self.timer.take() {
                    self.now = self.now.max(at);
                    self.input(Input::Timer(ticket));
                }
            }
            Event::QueryTimerFires => {
                if let Some((ticket, at)) = self.query_timer.take() {
                    self.now = self.now.max(at);
                    self.input(Input::QueryTimer(ticket));
                }
            }
            Event::NeedsChange => self.input(Input::NeedsChanged),
            Event::Reported(status, id) => self.input(Input::Changed(observation(status, id))),
            Event::OperatorWake => {
                self.overruled = false;
                self.input(Input::Wake(operator()));
            }
            Event::OperatorSleep(force) => {
                let others = self.held > u32::from(self.scheduled);
                self.overruled |= self.scheduled && !others && force == Force::AtOnce;
                self.input(Input::Sleep(operator(), force));
            }
            Event::OperatorRenew(force, renewal) => {
                let (may, before) = (self.state.may_be_renewed(), self.state.clone());
                self.input(Input::Renew(operator(), force, renewal));
                assert!(may || before == self.state, "renewed on its way to sleep");
                assert!(!may || self.state.is_renewed() || self.state.wake_wanted());
            }
            Event::Evict => self.input(Input::Evict(Arc::new(Cause::new(Trigger::Pool)))),
            Event::Window(true) if !self.scheduled => {
                (self.scheduled, self.overruled) = (true, false);
                self.held += 1;
                self.input(Input::Hold(Arc::new(Cause::new(Trigger::Schedule))));
            }
            Event::Window(false) if self.scheduled => {
                (self.scheduled, self.overruled) = (false, false);
                self.held -= 1;
                self.input(Input::Release(Trigger::Schedule));
            }
            Event::Window(_) => {}
            Event::Hold => {
                self.overruled = false;
                self.held += 1;
                self.input(Input::Hold(Arc::new(Cause::new(Trigger::Dependency))));
            }
            Event::Release if self.held > u32::from(self.scheduled) => {
                self.held -= 1;
                self.input(Input::Release(Trigger::Dependency));
            }
            Event::Release => {}
            Event::SlotAnswered(yes) => {
                if let Some(generation) = self.requested_slot.take() {
                    self.slot = yes;
                    let full = Failure::new(ErrorCode::Unavailable, "the queue is full");
                    self.input(match yes {
                        true => Input::SlotGranted(generation),
                        false => Input::SlotRefused(generation, full),
                    });
                }
            }
            Event::NeedsEnd(met) => {
                if let Some(generation) = self.needs {
                    let gone = Failure::new(ErrorCode::NotFound, "db is missing");
                    self.input(match met {
                        true => Input::NeedsMet(generation),
                        false => Input::NeedsFailed(generation, gone),
                    });
                }
            }
            Event::SleepCheckEnds(may) => {
                if let Some(ticket) = self.sleep_check.take() {
                    self.input(match may {
                        true => Input::MaySleep(ticket),
                        false => Input::Vetoed(ticket, "a job runs".into()),
                    });
                }
            }
            Event::Suspicion => self.input(Input::Suspected(self.state.generation())),
            Event::RoutineQuery => self.input(Input::QueryStatus(Priority::Routine)),
            Event::Stale(kind) => self.stale(kind),
            Event::TimePasses(seconds) => {
                self.now += Duration::from_secs(seconds.into());
                while self.timer.is_some_and(|(_, at)| at <= self.now) {
                    self.happen(Event::TimerFires);
                }
                while self.query_timer.is_some_and(|(_, at)| at <= self.now) {
                    self.happen(Event::QueryTimerFires);
                }
            }
        }
    }

    fn stale(&mut self, kind: u8) {
        let before = self.state.clone();
        let old = Generation(before.generation().0.wrapping_sub(1));
        let ok = || Ok(observation(Status::Stopped, 9));
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
        assert_eq!(before, self.state, "an outdated result changed something");
    }

    /// Lets everything succeed from here on, and checks that a visitor is served.
    fn converge(&mut self) {
        self.visits.clear();
        if !self.gate_open {
            self.input(Input::Drained);
        }
        let before = self.state.completed();
        self.now += Duration::from_secs(3600);
        self.happen(Event::Visitor);
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
            self.happen(Event::OperationEnds(Outcome::Status(status, 1)));
            self.happen(Event::SlotAnswered(true));
            self.happen(Event::NeedsEnd(true));
            self.happen(Event::ProbeEnds(true));
            let status = if self.policy.job { Status::Stopped } else { Status::Running };
            if self.policy.job {
                self.happen(Event::RoutineQuery);
            }
            self.happen(Event::QueryEnds(Outcome::Status(status, 1)));
            self.happen(Event::Visitor);
            self.now += Duration::from_secs(1);
            if self.query_timer.is_some_and(|(_, at)| at <= self.now) {
                self.happen(Event::QueryTimerFires);
            }
        }
        panic!("a visitor is never served: {:?}", self.state);
    }
}

// === impl Outcome ===

impl Outcome {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Status(Status::Missing, _) | Self::Error(ErrorCode::NotFound))
    }

    fn result(self) -> Result<Observation, Failure> {
        match self {
            Self::Status(status, id) => Ok(observation(status, id)),
            Self::Error(code) => Err(Failure::new(code, "the call failed")),
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
        5 => (status(), 0..3u8).prop_map(|(status, id)| Outcome::Status(status, id)),
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

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Visitor),
        6 => Just(Event::VisitorLeaves),
        6 => outcome().prop_map(Event::OperationEnds),
        3 => outcome().prop_map(Event::QueryEnds),
        6 => any::<bool>().prop_map(Event::ProbeEnds),
        4 => Just(Event::TimerFires),
        2 => Just(Event::QueryTimerFires),
        1 => Just(Event::NeedsChange),
        4 => (status(), 0..3u8).prop_map(|(status, id)| Event::Reported(status, id)),
        1 => Just(Event::OperatorWake),
        1 => Just(Event::OperatorSleep(Force::Drain)),
        1 => Just(Event::OperatorSleep(Force::AtOnce)),
        2 => renewal().prop_map(|(force, renewal)| Event::OperatorRenew(force, renewal)),
        1 => Just(Event::Evict),
        1 => Just(Event::Hold),
        2 => Just(Event::Release),
        1 => any::<bool>().prop_map(Event::Window),
        5 => prop::bool::weighted(0.9).prop_map(Event::SlotAnswered),
        5 => prop::bool::weighted(0.9).prop_map(Event::NeedsEnd),
        3 => any::<bool>().prop_map(Event::SleepCheckEnds),
        1 => Just(Event::Suspicion),
        1 => Just(Event::RoutineQuery),
        2 => any::<u8>().prop_map(Event::Stale),
        2 => (0..120u16).prop_map(Event::TimePasses),
    ]
}

/// Policies that a configuration can give.
fn policies() -> impl Strategy<Value = Policy> {
    let adopt = prop_oneof![Just(Adopt::Keep), Just(Adopt::Sleep), Just(Adopt::Ignore)];
    (adopt, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(adopt, tiers, job)| {
        let deep_after = policy().deep_after.filter(|_| tiers);
        Policy { adopt, deep_after, job, ..policy() }
    })
}

#[test]
fn the_invariants_hold_in_every_history() {
    // Unoptimised builds are ten times slower.
    let (cases, least) = if cfg!(debug_assertions) { (4_000, 0) } else { (40_000, 1_000_000) };
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(cases) };
    let histories = (policies(), proptest::collection::vec(event(), 1..120));
    let steps = AtomicU64::new(0);
    let result = TestRunner::new(config).run(&histories, |(policy, history)| {
        let mut world = World { policy, ..World::new() };
        for event in history {
            world.happen(event);
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
