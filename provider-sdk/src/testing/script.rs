//! The host of a test: it answers by the script and keeps what it was told.

mod host;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    panic::resume_unwind,
    rc::Rc,
    time::Duration,
};

use drowse_provider_rules::{CleanPath, Rule, is_allowed_header, is_allowed_metadata};

use super::{Answer, Program, Reply, program::Processes};
use crate::{
    bindings::drowse::provider::{grpc, http, network::Attachment, types::Description},
    error::Result,
    host::Host,
    log::Level,
    words::{Attribute, EndpointWish, Event, NetworkWish},
};

/// When tests take place: 2026-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Longer than any call takes: a loop that only sleeps ends here.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a provider reported.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// [`events::synced`](crate::events::synced)
    Synced,
    /// [`events::emit`](crate::events::emit)
    Event(Box<Event>),
}

/// What a provider logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// How grave.
    pub level: Level,
    /// The message.
    pub message: String,
    /// The fields.
    pub fields: Vec<Attribute>,
}

/// Unwinds a watch where the host would drop it; says what it was waiting for.
pub(super) struct Dropped(pub(super) String);

#[derive(Clone)]
pub(super) struct Script(Rc<RefCell<State>>);

struct State {
    wishes: Vec<EndpointWish>,
    networks: Vec<NetworkWish>,
    now: Duration,
    call_began: Duration,
    stage: Stage,
    expected: VecDeque<Expected>,
    requests: Vec<http::Request>,
    calls: Vec<grpc::Call>,
    attachments: Vec<Attachment>,
    datagrams: Vec<(String, Vec<u8>)>,
    logs: Vec<Logged>,
    reports: Vec<Report>,
    memo: BTreeMap<String, Vec<u8>>,
    processes: Processes,
}

/// What is being called.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    /// `describe` or `configure`, which call nothing outside.
    Inside,
    /// A call that must end by itself.
    Call,
    /// `watch`, which the host ends.
    Watch,
}

struct Expected {
    /// The endpoint or network.
    place: String,
    asked: String,
    outcome: Outcome,
}

/// What comes of what was expected.
pub(super) enum Outcome {
    Http(Reply),
    Grpc(Answer),
    Network(Result<Vec<String>>),
}

// === impl Script ===

impl Script {
    pub(super) fn new(description: Description) -> Self {
        Self(Rc::new(RefCell::new(State {
            wishes: description.endpoints,
            networks: description.networks,
            now: Duration::ZERO,
            call_began: Duration::ZERO,
            stage: Stage::Call,
            expected: VecDeque::new(),
            requests: Vec::new(),
            calls: Vec::new(),
            attachments: Vec::new(),
            datagrams: Vec::new(),
            logs: Vec::new(),
            reports: Vec::new(),
            memo: BTreeMap::new(),
            processes: Processes::default(),
        })))
    }

    pub(super) fn as_host(&self) -> Rc<dyn Host> {
        Rc::new(self.clone())
    }

    pub(super) fn begin(&self, stage: Stage) {
        let mut state = self.0.borrow_mut();
        state.stage = stage;
        state.call_began = state.now;
    }

    pub(super) fn expect(&self, place: &str, asked: &str, outcome: Outcome) {
        let (place, asked) = (place.to_owned(), asked.to_owned());
        self.0.borrow_mut().expected.push_back(Expected { place, asked, outcome });
    }

    /// What comes of this; the test fails if it is not what is expected next.
    fn met(&self, place: &str, asked: &str) -> Outcome {
        let next = self.0.borrow_mut().expected.pop_front();
        let Some(next) = next else {
            self.at_its_end(&format!("nothing more is expected, but {asked} is sent"))
        };
        assert!(
            next.place == place && next.asked == asked,
            "the provider sent {asked} to {place:?}; expected was {} to {:?}",
            next.asked,
            next.place
        );
        next.outcome
    }

    fn called(&self, call: &grpc::Call) -> Answer {
        self.check_call(call);
        self.0.borrow_mut().calls.push(call.clone());
        match self.met(&call.endpoint, &call.method) {
            Outcome::Grpc(answer) => answer,
            _ => panic!("{} is called by gRPC, which the script does not expect", call.method),
        }
    }

    fn attached(&self, verb: &str, attachment: &Attachment) -> Result<Vec<String>> {
        self.outside("network");
        let network = &attachment.network;
        let asked_for = |wish: &NetworkWish| wish.name == "*" || wish.name == *network;
        assert!(
            self.0.borrow().networks.iter().any(asked_for),
            "network {network:?}: the description wishes for none of this name"
        );
        self.0.borrow_mut().attachments.push(attachment.clone());
        let asked = format!("{verb} {}", attachment.container);
        match self.met(&attachment.network, &asked) {
            Outcome::Network(outcome) => outcome,
            _ => panic!("{asked} is asked of a network, which the script does not expect"),
        }
    }

    pub(super) fn grant(&self, command: &str, program: Program) {
        self.0.borrow_mut().processes.grant(command, program);
    }

    pub(super) fn advance(&self, time: Duration) {
        let mut state = self.0.borrow_mut();
        state.now += time;
        let now = state.now;
        state.processes.settle(now);
        let taken = now.saturating_sub(state.call_began);
        drop(state);
        if taken > LONGEST {
            self.at_its_end("a week has passed in one call");
        }
    }

    pub(super) fn requests(&self) -> Vec<http::Request> {
        self.0.borrow().requests.clone()
    }

    pub(super) fn calls(&self) -> Vec<grpc::Call> {
        self.0.borrow().calls.clone()
    }

    pub(super) fn attachments(&self) -> Vec<Attachment> {
        self.0.borrow().attachments.clone()
    }

    pub(super) fn datagrams(&self) -> Vec<(String, Vec<u8>)> {
        self.0.borrow().datagrams.clone()
    }

    pub(super) fn logs(&self) -> Vec<Logged> {
        self.0.borrow().logs.clone()
    }

    pub(super) fn signals(&self) -> Vec<String> {
        self.0.borrow().processes.signals.clone()
    }

    pub(super) fn spawned(&self) -> Vec<(Vec<String>, Vec<String>)> {
        self.0.borrow().processes.spawned.clone()
    }

    pub(super) fn allow(&self, endpoint: &str, rules: Vec<String>) {
        let mut state = self.0.borrow_mut();
        let wish = state.wishes.iter_mut().find(|wish| wish.name == endpoint);
        let Some(wish) = wish else {
            panic!("the description wishes for no endpoint {endpoint:?}");
        };
        for rule in rules {
            assert_eq!(rule.parse::<Rule>().err(), None);
            wish.rules.push(rule);
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.borrow().now
    }

    pub(super) fn memo(&self, key: &str) -> Option<Vec<u8>> {
        self.0.borrow().memo.get(key).cloned()
    }

    pub(super) fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut self.0.borrow_mut().reports)
    }

    pub(super) fn left(&self) -> Vec<String> {
        let state = self.0.borrow();
        state.expected.iter().map(|it| format!("{} to {:?}", it.asked, it.place)).collect()
    }

    /// Nothing will happen any more. The host drops a watch here; any other call would hang, so
    /// the test fails.
    pub(super) fn at_its_end(&self, why: &str) -> ! {
        let stage = self.0.borrow().stage;
        if stage == Stage::Watch {
            resume_unwind(Box::new(Dropped(why.to_owned())));
        }
        panic!("the script is at its end: {why}");
    }

    /// Fails the test in `describe` and `configure`, where the host ends the call.
    fn outside(&self, what: &str) {
        let inside = self.0.borrow().stage == Stage::Inside;
        assert!(
            !inside,
            "{what}: describe and configure call nothing outside and wait for nothing"
        );
    }

    /// Fails the test unless the description asks for this call.
    fn check_call(&self, call: &grpc::Call) {
        let grpc::Call { endpoint, method, metadata, .. } = call;
        self.outside(method);
        let state = self.0.borrow();
        let wish = state.wishes.iter().find(|wish| wish.name == *endpoint);
        let Some(wish) = wish else {
            panic!("{method}: the description wishes for no endpoint {endpoint:?}");
        };
        assert!(
            rules(wish).any(|rule| rule.allows_call(method)),
            "{method}: none of the rules that the description asks for or the test grants allows it: {:#?}",
            wish.rules
        );
        for Attribute { name, .. } in metadata {
            let allowed = is_allowed_metadata(method, name) && !name.ends_with("-bin");
            assert!(allowed, "{method}: the host refuses the metadata {name:?}");
        }
    }

    /// Fails the test unless the description asks for this.
    fn check_grant(&self, request: &http::Request) {
        let http::Request { endpoint, method, path, headers, body, .. } = request;
        self.outside(&format!("{method} {path}"));
        let state = self.0.borrow();
        let wish = state.wishes.iter().find(|wish| wish.name == *endpoint);
        let Some(wish) = wish else {
            panic!("{method} {path}: the description wishes for no endpoint {endpoint:?}");
        };
        let clean = CleanPath::parse(path);
        let clean =
            clean.unwrap_or_else(|flaw| panic!("{method} {path}: the host refuses it: {flaw}"));
        assert!(
            rules(wish).any(|rule| rule.allows(method, &clean, !body.is_empty())),
            "{method} {path}: none of the rules that the description asks for or the test grants allows it: {:#?}",
            wish.rules
        );
        for header in headers {
            assert!(
                is_allowed_header(&header.name),
                "{method} {path}: the host refuses the header {:?}",
                header.name
            );
        }
    }
}

/// The rules of a wish; the description was checked.
fn rules(wish: &EndpointWish) -> impl Iterator<Item = Rule> {
    wish.rules.iter().filter_map(|rule| rule.parse().ok())
}
