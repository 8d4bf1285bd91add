//! The invariants of the phase machine, checked after every step of random histories.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// What may happen to a workload; the world turns it into an input if it can happen now.
#[derive(Clone, Debug)]
enum Happening {
    Visitor,
    VisitorLeaves,
    OperationEnds(Outcome),
    LookEnds(Outcome),
    ProbeEnds(bool),
    TimerFires,
    Event(Status, u8),
    OperatorWake,
    OperatorSleep,
    Suspicion,
    Synced,
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
    look: Option<u64>,
    probe: Option<Generation>,
    timer: Option<(u64, Moment)>,
    last_left: Moment,
    starts: HashMap<Generation, u32>,
    /// The life whose visits may be cut: an operator would not wait any longer.
    forced: Option<Generation>,
    steps: u64,
}

fn seen(status: Status, id: u8) -> Observation {
    Observation {
        handle: "blog".into(),
        native_status: format!("{status:?}").to_lowercase(),
        status,
        native_id: Some(format!("id{id}")),
        health: crate::provider::Health::None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        detail: None,
        attributes: BTreeMap::new(),
    }
}

fn policy() -> Policy {
    Policy {
        idle: Some(Duration::from_secs(10)),
        wake_timeout: Duration::from_secs(60),
        cooldown: Duration::from_secs(5),
        drain: Duration::from_secs(30),
    }
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
            last_left: Duration::ZERO,
            starts: HashMap::new(),
            forced: None,
            steps: 0,
        }
    }

    fn inside(&self) -> u32 {
        self.visits.values().sum()
    }

    fn input(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.steps += 1;
            if matches!(input, Input::Timer(_)) && self.state.phase() == Phase::Draining {
                self.forced = Some(self.state.generation());
            }
            let old = self.state.clone();
            let (state, effects) = step(&self.policy, old, input, self.now);
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
                    Operation::Sleep => {
                        let inside = self.visits.get(&generation).copied().unwrap_or(0);
                        let forced = self.forced == Some(generation);
                        assert!(inside == 0 || forced, "{inside} visits inside while stopping");
                    }
                }
                self.operation = Some((ticket, operation));
            }
            Effect::CancelOperation => {
                assert!(self.operation.take().is_some(), "nothing to cancel");
            }
            Effect::Look(ticket) => {
                assert!(self.look.is_none(), "two looks at a time");
                self.look = Some(ticket);
            }
            Effect::Probe(generation, _) => self.probe = Some(generation),
            Effect::StopProbe => self.probe = None,
            Effect::OpenGate(generation, _) => {
                assert!(!self.gate_open);
                assert_eq!(generation, self.state.generation());
                self.gate_open = true;
                self.last_left = self.now;
            }
            Effect::CloseGate => {
                self.gate_open = false;
                return (self.inside() == 0).then_some(Input::Drained);
            }
            Effect::CloseGateIfIdle => {
                let quiet = self.now - self.last_left;
                let idle = self.policy.idle.expect("set");
                if self.inside() > 0 {
                    return Some(Input::GateBusy(idle));
                }
                if quiet < idle {
                    return Some(Input::GateBusy(idle - quiet));
                }
                self.gate_open = false;
                return Some(Input::GateClosed);
            }
            Effect::Arm(ticket, after) => self.timer = Some((ticket, self.now + after)),
            Effect::Disarm => self.timer = None,
            Effect::Nudge | Effect::Publish => {}
        }
        None
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
                assert!(self.operation.is_some() || self.probe.is_some(), "nothing ends the wake");
            }
            Phase::Ready => assert!(self.timer.is_some(), "ready without an idle timer"),
            Phase::Draining => {
                assert!(self.timer.is_some(), "draining without deadline");
                assert!(self.inside() > 0, "draining with nobody inside");
            }
            Phase::Stopping => assert!(self.operation.is_some(), "nothing ends the stopping"),
            Phase::Asleep | Phase::Failed | Phase::Missing => {}
        }
        for (generation, starts) in &self.starts {
            assert!(*starts <= 2, "{starts} starts in life {generation}");
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Visitor if self.gate_open => {
                *self.visits.entry(self.state.generation()).or_default() += 1;
            }
            Happening::Visitor => self.input(Input::Wake),
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
                if let Some((ticket, _)) = self.operation.take() {
                    self.input(Input::Answered(ticket, outcome.result()));
                }
            }
            Happening::LookEnds(outcome) => {
                if let Some(ticket) = self.look.take() {
                    self.input(Input::Looked(ticket, outcome.result()));
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
            Happening::Event(status, id) => self.input(Input::Changed(seen(status, id))),
            Happening::OperatorWake => self.input(Input::OperatorWake),
            Happening::OperatorSleep => self.input(Input::OperatorSleep),
            Happening::Suspicion => self.input(Input::Suspected(self.state.generation())),
            Happening::Synced => self.input(Input::Look),
            Happening::Stale(kind) => self.stale(kind),
            Happening::TimePasses(seconds) => {
                self.now += Duration::from_secs(seconds.into());
                while let Some((_, at)) = self.timer
                    && at <= self.now
                {
                    self.happen(Happening::TimerFires);
                }
            }
        }
    }

    fn stale(&mut self, kind: u8) {
        let before = self.state.clone();
        let old = Generation(before.generation().0.wrapping_sub(1));
        let ok = || Ok(seen(Status::Stopped, 9));
        self.input(match kind % 6 {
            0 => Input::Answered(u64::MAX, ok()),
            1 => Input::Looked(u64::MAX, ok()),
            2 => Input::Timer(u64::MAX),
            3 => Input::Ready(old),
            4 => Input::NotReady(old, "old".into()),
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
        self.now += Duration::from_secs(3600);
        self.happen(Happening::Visitor);
        for _ in 0..40 {
            if self.gate_open {
                return;
            }
            let status = match self.operation {
                Some((_, Operation::Sleep)) => Status::Stopped,
                _ => Status::Running,
            };
            self.happen(Happening::OperationEnds(Outcome::Seen(status, 1)));
            self.happen(Happening::ProbeEnds(true));
            self.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
            self.happen(Happening::Visitor);
            self.now += Duration::from_secs(1);
        }
        panic!("a visitor is never served: {:?}", self.state);
    }
}

// === impl Outcome ===

impl Outcome {
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

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Visitor),
        6 => Just(Happening::VisitorLeaves),
        6 => outcome().prop_map(Happening::OperationEnds),
        3 => outcome().prop_map(Happening::LookEnds),
        6 => any::<bool>().prop_map(Happening::ProbeEnds),
        4 => Just(Happening::TimerFires),
        4 => (status(), 0..3u8).prop_map(|(status, id)| Happening::Event(status, id)),
        1 => Just(Happening::OperatorWake),
        1 => Just(Happening::OperatorSleep),
        1 => Just(Happening::Suspicion),
        1 => Just(Happening::Synced),
        2 => any::<u8>().prop_map(Happening::Stale),
        2 => (0..120u16).prop_map(Happening::TimePasses),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_in_every_history(
        history in proptest::collection::vec(happening(), 1..120)
    ) {
        let mut world = World::new();
        for happening in history {
            world.happen(happening);
        }
        world.converge();
    }
}

/// A world in which the workload is ready, and nobody has come in yet.
fn ready() -> World {
    let mut world = World::new();
    world.happen(Happening::Visitor);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(true));
    assert_eq!(world.state.phase(), Phase::Ready);
    world
}

#[test]
fn many_visitors_cause_one_start() {
    let mut world = World::new();
    for _ in 0..10_000 {
        world.happen(Happening::Visitor);
    }
    assert_eq!(world.starts.values().sum::<u32>(), 1);
}

#[test]
fn a_visitor_during_stopping_is_served_by_the_next_wake() {
    let mut world = ready();
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
    world.happen(Happening::Visitor);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn a_late_event_of_the_last_life_does_not_end_this_one() {
    let mut world = ready();
    world.happen(Happening::Event(Status::Stopped, 1));
    assert_eq!(world.state.phase(), Phase::Ready, "an event alone decides nothing");
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Ready, Generation(1)));
}

#[test]
fn a_look_asked_for_before_an_operation_is_stale() {
    let mut world = World::new();
    world.happen(Happening::Synced);
    world.happen(Happening::Visitor);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(true));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Ready);
}

#[test]
fn a_backend_that_dies_while_awake_is_asleep_and_the_next_visitor_wakes_it() {
    let mut world = ready();
    world.happen(Happening::Event(Status::Stopped, 1));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    world.happen(Happening::Visitor);
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
}

#[test]
fn a_failed_start_answers_visitors_until_the_cool_down_is_over() {
    let mut world = World::new();
    world.happen(Happening::Visitor);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    world.happen(Happening::Visitor);
    assert_eq!(world.starts.values().sum::<u32>(), 1, "nothing is tried in the cool-down");
    world.happen(Happening::TimePasses(6));
    world.happen(Happening::Visitor);
    assert_eq!(world.state.phase(), Phase::Waking);
}

#[test]
fn a_wake_that_never_gets_ready_fails_with_what_was_seen_and_is_stopped() {
    let mut world = World::new();
    world.happen(Happening::Visitor);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Running, 1)));
    world.happen(Happening::ProbeEnds(false));
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Failed);
    let failure = world.state.failure().expect("a cause").message.clone();
    assert!(failure.contains("refused"), "{failure}");
    assert_eq!(world.operation.map(|(_, operation)| operation), Some(Operation::Sleep));
}

#[test]
fn a_failed_stop_is_tried_again_and_shown() {
    let mut world = ready();
    world.happen(Happening::TimerFires);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert_eq!(world.state.phase(), Phase::Failed);
    assert!(world.state.failure().expect("shown").message.contains("tried again in 1s"));
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
    world.happen(Happening::OperationEnds(Outcome::Error(ErrorCode::Unavailable)));
    assert!(world.state.failure().expect("shown").message.contains("tried again in 2s"));
    world.happen(Happening::TimerFires);
    world.happen(Happening::OperationEnds(Outcome::Seen(Status::Stopped, 1)));
    assert_eq!(world.state.phase(), Phase::Asleep);
    assert_eq!(world.state.failure(), None);
}

#[test]
fn what_runs_at_boot_is_adopted_and_not_stopped_when_it_does_not_answer() {
    let mut world = World::new();
    world.happen(Happening::Synced);
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 1)));
    assert_eq!(world.state.phase(), Phase::Waking);
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Failed);
    assert_eq!(world.operation, None);
}

#[test]
fn an_operator_waits_for_visits_inside_but_not_for_ever() {
    let mut world = ready();
    world.happen(Happening::Visitor);
    world.happen(Happening::OperatorSleep);
    assert_eq!(world.state.phase(), Phase::Draining);
    world.happen(Happening::TimerFires);
    assert_eq!(world.state.phase(), Phase::Stopping);
}

#[test]
fn a_container_recreated_under_the_same_name_must_show_that_it_is_ready() {
    let mut world = ready();
    world.happen(Happening::Event(Status::Running, 2));
    world.happen(Happening::LookEnds(Outcome::Seen(Status::Running, 2)));
    assert_eq!((world.state.phase(), world.state.generation()), (Phase::Waking, Generation(2)));
    assert!(world.operation.is_none(), "it runs already");
}
