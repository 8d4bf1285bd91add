//! The contract's imports, implemented by the script.

use std::time::Duration;

use super::{EPOCH, Outcome, Report, Script};
use crate::{
    bindings::drowse::provider::{
        command::{Process, ProcessUsage, SpawnOptions, State as ProcessState},
        grpc, http,
        network::Attachment,
    },
    error::{Error, Result},
    host::{Host, Messages, Reply},
    log::Level,
    udp::PAYLOAD_LIMIT,
    words::{Attribute, EndpointWish, Event},
};

impl Host for Script {
    fn write_log(&self, level: Level, message: &str, fields: &[Attribute]) {
        let (message, fields) = (message.to_owned(), fields.to_vec());
        self.0.borrow_mut().logs.push(super::Logged { level, message, fields });
    }

    fn now(&self) -> u64 {
        u64::try_from((EPOCH + self.elapsed()).as_nanos()).expect("a time of this age")
    }

    fn monotonic(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).expect("a time of this age")
    }

    fn sleep(&self, nanoseconds: u64) {
        self.require_call("clock.sleep");
        self.advance(Duration::from_nanos(nanoseconds));
    }

    fn send(&self, request: &http::Request) -> Result<Reply> {
        self.check_grant(request);
        let call = format!("{} {}", request.method, request.path);
        let Outcome::Http(reply) = self.next_outcome(&request.endpoint, &call) else {
            panic!("unexpected HTTP request {call}");
        };
        self.0.borrow_mut().requests.push(request.clone());
        let limit = request.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
        self.advance(reply.delay.min(limit));
        if reply.delay > limit {
            return Err(Error::timeout(format!("{call}: no response within {limit:?}")));
        }
        let (status, headers) = reply.head.clone()?;
        Ok(Reply { status, headers, body: Box::new(reply.into_body(self.clone())) })
    }

    fn spawn(&self, options: &SpawnOptions) -> Result<Process> {
        self.require_call("command.spawn");
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.processes.spawn(options, now, EPOCH)
    }

    fn find(&self, command: &str) -> Result<Option<Process>> {
        self.require_call("command.find");
        self.0.borrow().processes.find(command)
    }

    fn granted(&self) -> Vec<String> {
        self.0.borrow().processes.granted()
    }

    fn signal(&self, id: u64, signal: &str) -> Result<()> {
        self.require_call("command.signal");
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.processes.signal(id, signal, now)
    }

    fn wait(&self, id: u64, timeout_ms: u64) -> Result<ProcessState> {
        self.require_call("command.wait");
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
        self.require_call("command.output");
        self.0.borrow().processes.output(id, limit)
    }

    fn usage(&self, id: u64) -> Result<Option<ProcessUsage>> {
        self.require_call("command.usage");
        let state = self.0.borrow();
        state.processes.usage(id, state.now)
    }

    fn changes(&self, since: u64) -> Result<(u64, Vec<String>)> {
        self.require_call("command.changes");
        loop {
            let state = self.0.borrow();
            let changes = state.processes.changes(since);
            let next = state.processes.next_end();
            drop(state);
            match (changes, next) {
                (Some(changes), _) => return Ok(changes),
                (None, Some(end)) => self.advance(end.saturating_sub(self.elapsed())),
                (None, None) => self.end("waiting for a process to start or end"),
            }
        }
    }

    fn unary(&self, call: &grpc::Call) -> Result<Vec<u8>> {
        let mut answer = self.grpc_answer(call);
        let only = answer.messages.pop_front();
        assert!(answer.messages.is_empty(), "a unary call of {} has one message", call.method);
        only.unwrap_or_else(|| Ok(Vec::new()))
    }

    fn server_stream(&self, call: &grpc::Call) -> Result<Messages> {
        Ok(Box::new(self.grpc_answer(call).into_stream(self.clone())))
    }

    fn add_network(&self, attachment: &Attachment) -> Result<Vec<String>> {
        self.network_result("ADD", attachment)
    }

    fn del_network(&self, attachment: &Attachment) -> Result<()> {
        self.network_result("DEL", attachment).map(drop)
    }

    fn check_network(&self, attachment: &Attachment) -> Result<()> {
        self.network_result("CHECK", attachment).map(drop)
    }

    fn send_datagram(&self, endpoint: &str, payload: &[u8]) -> Result<()> {
        self.require_call("udp.send");
        let mut state = self.0.borrow_mut();
        let wish = state.wishes.iter().find(|wish| wish.name == endpoint);
        assert!(
            wish.is_some_and(EndpointWish::wants_datagrams),
            "a datagram to {endpoint:?}: the description requests no endpoint of this name with \
             a suggested URL that begins with udp://"
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
        self.require_call("events.emit");
        self.0.borrow_mut().reports.push(Report::Event(Box::new(event.clone())));
    }

    fn synced(&self) {
        self.require_call("events.synced");
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
