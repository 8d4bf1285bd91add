//! The host of a test: it answers by the script and keeps what it was told.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    panic::resume_unwind,
    rc::Rc,
    time::Duration,
};

use super::{Program, Reply, program::Processes, rules};
use crate::{
    bindings::drowse::provider::{
        command::{Process, ProcessUsage, SpawnOptions, State as ProcessState},
        http,
    },
    error::{Error, Result},
    host::{self, Host},
    log::Level,
    udp::PAYLOAD_LIMIT,
    words::{Attribute, EndpointWish, Event},
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
    now: Duration,
    call_began: Duration,
    stage: Stage,
    expected: VecDeque<Expected>,
    requests: Vec<http::Request>,
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
    endpoint: String,
    request: String,
    reply: Reply,
}

// === impl Script ===

impl Script {
    pub(super) fn new(wishes: Vec<EndpointWish>) -> Self {
        Self(Rc::new(RefCell::new(State {
            wishes,
            now: Duration::ZERO,
            call_began: Duration::ZERO,
            stage: Stage::Call,
            expected: VecDeque::new(),
            requests: Vec::new(),
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

    pub(super) fn expect(&self, endpoint: &str, request: &str, reply: Reply) {
        let (endpoint, request) = (endpoint.to_owned(), request.to_owned());
        self.0.borrow_mut().expected.push_back(Expected { endpoint, request, reply });
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
            assert_eq!(rules::mistake(&rule), None, "rule {rule:?}");
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
        state.expected.iter().map(|it| format!("{} to {:?}", it.request, it.endpoint)).collect()
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

    /// Fails the test unless the description asks for this.
    fn check_grant(&self, request: &http::Request) {
        let http::Request { endpoint, method, path, headers, body, .. } = request;
        self.outside(&format!("{method} {path}"));
        let state = self.0.borrow();
        let wish = state.wishes.iter().find(|wish| wish.name == *endpoint);
        let Some(wish) = wish else {
            panic!("{method} {path}: the description wishes for no endpoint {endpoint:?}");
        };
        assert!(
            wish.rules.iter().any(|rule| rules::allows(rule, method, path, !body.is_empty())),
            "{method} {path}: none of the rules that the description asks for or the test grants allows it: {:#?}",
            wish.rules
        );
        for header in headers {
            assert!(
                rules::is_allowed_header(&header.name),
                "{method} {path}: the host refuses the header {:?}",
                header.name
            );
        }
    }
}

impl Host for Script {
    fn write_log(&self, level: Level, message: &str, fields: &[Attribute]) {
        let (message, fields) = (message.to_owned(), fields.to_vec());
        self.0.borrow_mut().logs.push(Logged { level, message, fields });
    }

    fn now(&self) -> u64 {
        u64::try_from((EPOCH + self.elapsed()).as_nanos()).expect("a time of this age")
    }

    fn monotonic(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).expect("a time of this age")
    }

    fn sleep(&self, nanoseconds: u64) {
        self.outside("clock.sleep");
        self.advance(Duration::from_nanos(nanoseconds));
    }

    fn send(&self, request: &http::Request) -> Result<host::Reply> {
        self.check_grant(request);
        let asked = format!("{} {}", request.method, request.path);
        let next = self.0.borrow_mut().expected.pop_front();
        let Some(next) = next else {
            self.at_its_end(&format!("nothing more is expected, but {asked} is sent"))
        };
        assert!(
            next.endpoint == request.endpoint && next.request == asked,
            "the provider sent {asked} to {:?}; expected was {} to {:?}",
            request.endpoint,
            next.request,
            next.endpoint
        );
        self.0.borrow_mut().requests.push(request.clone());
        let limit = request.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
        self.advance(next.reply.delay.min(limit));
        if next.reply.delay > limit {
            return Err(Error::timeout(format!("{asked}: no answer within {limit:?}")));
        }
        let (status, headers) = next.reply.head.clone()?;
        Ok(host::Reply { status, headers, body: Box::new(next.reply.into_body(self.clone())) })
    }

    fn spawn(&self, options: &SpawnOptions) -> Result<Process> {
        self.outside("command.spawn");
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.processes.spawn(options, now, EPOCH)
    }

    fn find(&self, command: &str) -> Result<Option<Process>> {
        self.outside("command.find");
        self.0.borrow().processes.find(command)
    }

    fn granted(&self) -> Vec<String> {
        self.0.borrow().processes.granted()
    }

    fn signal(&self, id: u64, signal: &str) -> Result<()> {
        self.outside("command.signal");
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.processes.signal(id, signal, now)
    }

    fn wait(&self, id: u64, timeout_ms: u64) -> Result<ProcessState> {
        self.outside("command.wait");
        let until = self.elapsed().saturating_add(Duration::from_millis(timeout_ms));
        loop {
            let state = self.0.borrow();
            let found = state.processes.state(id)?;
            let next = state.processes.next_end().filter(|end| *end <= until);
            drop(state);
            match (found, next) {
                (ProcessState::Exited(status), _) => return Ok(ProcessState::Exited(status)),
                (_, Some(end)) => self.advance(end - self.elapsed()),
                (alive, None) => {
                    self.advance(until - self.elapsed());
                    return Ok(alive);
                }
            }
        }
    }

    fn output(&self, id: u64, limit: u32) -> Result<Vec<u8>> {
        self.outside("command.output");
        self.0.borrow().processes.output(id, limit)
    }

    fn usage(&self, id: u64) -> Result<Option<ProcessUsage>> {
        self.outside("command.usage");
        let state = self.0.borrow();
        state.processes.usage(id, state.now)
    }

    fn changes(&self, since: u64) -> Result<(u64, Vec<String>)> {
        self.outside("command.changes");
        loop {
            let state = self.0.borrow();
            let changes = state.processes.changes(since);
            let next = state.processes.next_end();
            drop(state);
            match (changes, next) {
                (Some(changes), _) => return Ok(changes),
                (None, Some(end)) => self.advance(end.saturating_sub(self.elapsed())),
                (None, None) => self.at_its_end("no process will start or end"),
            }
        }
    }

    fn send_datagram(&self, endpoint: &str, payload: &[u8]) -> Result<()> {
        self.outside("udp.send");
        let mut state = self.0.borrow_mut();
        let wish = state.wishes.iter().find(|wish| wish.name == endpoint);
        assert!(
            wish.is_some_and(EndpointWish::wants_datagrams),
            "a datagram to {endpoint:?}: the description wishes for no endpoint of this name with \
             a suggested url that begins with udp://"
        );
        if payload.len() > PAYLOAD_LIMIT {
            let bytes = payload.len();
            return Err(Error::invalid_request(format!(
                "a datagram of {bytes} bytes to endpoint {endpoint:?}: at most {PAYLOAD_LIMIT} are \
                 sent"
            )));
        }
        state.datagrams.push((endpoint.to_owned(), payload.to_vec()));
        Ok(())
    }

    fn emit(&self, event: &Event) {
        self.outside("events.emit");
        self.0.borrow_mut().reports.push(Report::Event(Box::new(event.clone())));
    }

    fn synced(&self) {
        self.outside("events.synced");
        self.0.borrow_mut().reports.push(Report::Synced);
    }

    fn memo_get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.borrow().memo.get(key).cloned()
    }

    fn memo_set(&self, key: &str, value: &[u8]) -> bool {
        let memo = &mut self.0.borrow_mut().memo;
        let room = memo.len() < 64 || memo.contains_key(key);
        let fits = room && key.len() <= 256 && value.len() <= 16 << 10;
        if fits {
            memo.insert(key.to_owned(), value.to_vec());
        }
        fits
    }

    fn memo_delete(&self, key: &str) {
        self.0.borrow_mut().memo.remove(key);
    }
}
