//! The host of a test: it answers by the script and records the provider's calls.

mod host;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    panic::resume_unwind,
    rc::Rc,
    time::Duration,
};

use drowse_provider_rules::{NormalizedPath, Rule, is_allowed_header, is_allowed_metadata};

use super::{Answer, Program, Reply, program::Processes};
use crate::{
    bindings::drowse::provider::{grpc, http, network::Attachment, types::Description},
    error::Result,
    host::Host,
    log::Level,
    words::{Attribute, EndpointWish, Event, NetworkWish},
};

/// Start of the virtual clock: 2026-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Maximum virtual duration of a call; ends a loop that only sleeps.
const MAX_CALL: Duration = Duration::from_secs(7 * 24 * 3600);

/// A report of a provider.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// [`events::synced`](crate::events::synced)
    Synced,
    /// [`events::emit`](crate::events::emit)
    Event(Box<Event>),
}

/// A log event of a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Level.
    pub level: Level,
    /// The message.
    pub message: String,
    /// The fields.
    pub fields: Vec<Attribute>,
}

/// Unwinds a watch where the host would drop it; contains what the watch was waiting for.
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

/// The current call.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    /// `describe` or `configure`, which must make no host calls.
    Configure,
    /// A call that must return.
    Call,
    /// `watch`, which the host ends.
    Watch,
}

struct Expected {
    /// Endpoint or network.
    destination: String,
    call: String,
    outcome: Outcome,
}

/// Result of an expected call.
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

    pub(super) fn expect(&self, destination: &str, call: &str, outcome: Outcome) {
        let (destination, call) = (destination.to_owned(), call.to_owned());
        self.0.borrow_mut().expected.push_back(Expected { destination, call, outcome });
    }

    /// Result of this call; fails the test if another one is expected.
    fn next_outcome(&self, destination: &str, call: &str) -> Outcome {
        let next = self.0.borrow_mut().expected.pop_front();
        let Some(next) = next else { self.end(&format!("unexpected {call}")) };
        assert!(
            next.destination == destination && next.call == call,
            "the provider sent {call} to {destination:?}; expected {} to {:?}",
            next.call,
            next.destination
        );
        next.outcome
    }

    fn grpc_answer(&self, call: &grpc::Call) -> Answer {
        self.check_call(call);
        self.0.borrow_mut().calls.push(call.clone());
        match self.next_outcome(&call.endpoint, &call.method) {
            Outcome::Grpc(answer) => answer,
            _ => panic!("unexpected gRPC call of {}", call.method),
        }
    }

    fn network_result(&self, verb: &str, attachment: &Attachment) -> Result<Vec<String>> {
        self.require_call("network");
        let network = &attachment.network;
        let is_requested = |wish: &NetworkWish| wish.name == "*" || wish.name == *network;
        assert!(
            self.0.borrow().networks.iter().any(is_requested),
            "network {network:?}: the description requests no network of this name"
        );
        self.0.borrow_mut().attachments.push(attachment.clone());
        let call = format!("{verb} {}", attachment.container);
        match self.next_outcome(&attachment.network, &call) {
            Outcome::Network(outcome) => outcome,
            _ => panic!("unexpected network call {call}"),
        }
    }

    pub(super) fn grant(&self, command: &str, program: Program) {
        self.0.borrow_mut().processes.grant(command, program);
    }

    pub(super) fn advance(&self, time: Duration) {
        let mut state = self.0.borrow_mut();
        state.now += time;
        let now = state.now;
        state.processes.update(now);
        let taken = now.saturating_sub(state.call_began);
        drop(state);
        if taken > MAX_CALL {
            self.end("one call took a week");
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
            panic!("the description requests no endpoint {endpoint:?}");
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

    pub(super) fn unmet(&self) -> Vec<String> {
        let state = self.0.borrow();
        state.expected.iter().map(|it| format!("{} to {:?}", it.call, it.destination)).collect()
    }

    /// The script has no more events. The host drops a watch here; any other call would hang, so
    /// the test fails.
    pub(super) fn end(&self, why: &str) -> ! {
        let stage = self.0.borrow().stage;
        if stage == Stage::Watch {
            resume_unwind(Box::new(Dropped(why.to_owned())));
        }
        panic!("the script has ended: {why}");
    }

    /// Fails the test in `describe` and `configure`, which may not call the host.
    fn require_call(&self, what: &str) {
        let configuring = self.0.borrow().stage == Stage::Configure;
        assert!(!configuring, "{what}: describe and configure must not call the host");
    }

    /// Fails the test unless the description's rules allow this call.
    fn check_call(&self, call: &grpc::Call) {
        let grpc::Call { endpoint, method, metadata, .. } = call;
        self.require_call(method);
        let state = self.0.borrow();
        let wish = state.wishes.iter().find(|wish| wish.name == *endpoint);
        let Some(wish) = wish else {
            panic!("{method}: the description requests no endpoint {endpoint:?}");
        };
        assert!(
            rules(wish).any(|rule| rule.allows_call(method)),
            "{method}: no rule of the description or the test allows it: {:#?}",
            wish.rules
        );
        for Attribute { name, .. } in metadata {
            let allowed = is_allowed_metadata(method, name) && !name.ends_with("-bin");
            assert!(allowed, "{method}: the host refuses the metadata {name:?}");
        }
    }

    /// Fails the test unless the description's rules allow this request.
    fn check_grant(&self, request: &http::Request) {
        let http::Request { endpoint, method, path, headers, body, .. } = request;
        self.require_call(&format!("{method} {path}"));
        let state = self.0.borrow();
        let wish = state.wishes.iter().find(|wish| wish.name == *endpoint);
        let Some(wish) = wish else {
            panic!("{method} {path}: the description requests no endpoint {endpoint:?}");
        };
        let clean = NormalizedPath::parse(path);
        let clean =
            clean.unwrap_or_else(|error| panic!("{method} {path}: the host refuses it: {error}"));
        assert!(
            rules(wish).any(|rule| rule.allows(method, &clean, !body.is_empty())),
            "{method} {path}: no rule of the description or the test allows it: {:#?}",
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

/// The valid rules of a wish.
fn rules(wish: &EndpointWish) -> impl Iterator<Item = Rule> {
    wish.rules.iter().filter_map(|rule| rule.parse().ok())
}
