//! The router as a provider's host, over the ABI.

use std::{cell::Cell, ffi::c_void, ptr, rc::Rc, thread};

use drowse_provider_abi::{self as abi, Bytes, Sink, wire};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    bindings::drowse::provider::{command, grpc, http, log, network, types},
    dylib::panics,
    error::{Error, Result},
    host::{self, Host, NextMessage, ReadBody, Reply},
    words::{Attribute, Event},
};

/// Calls the router, while its entry lasts.
pub(super) struct Caller(Cell<*const abi::Host>);

/// Disconnects a [`Caller`] from the router at the end of its entry, however it ends.
pub(super) struct Closed(pub(super) Rc<Caller>);

/// A response body held by the router.
struct Body {
    caller: Rc<Caller>,
    handle: u32,
    reason: Option<String>,
}

/// Messages of a call held by the router.
struct Messages {
    caller: Rc<Caller>,
    handle: u32,
}

/// Why a call has no answer.
enum Unanswered {
    /// The router has cancelled the call.
    Cancelled,
    /// The router does not know the function.
    Unknown,
}

// === impl Caller ===

impl Caller {
    pub(super) fn new(host: *const abi::Host) -> Self {
        Self(Cell::new(host))
    }

    /// Calls a function that cannot fail.
    fn plain<R: DeserializeOwned + Default>(
        &self,
        function: &str,
        arguments: &impl Serialize,
    ) -> R {
        match self.ask(function, arguments) {
            Ok(answer) => answer,
            // A destructor calls while the call already unwinds.
            Err(Unanswered::Cancelled) if thread::panicking() => R::default(),
            Err(Unanswered::Cancelled) => panics::cancel(),
            Err(Unanswered::Unknown) => panic!("this router has no function {function}"),
        }
    }

    /// Calls a function that can fail.
    fn result<R: DeserializeOwned>(&self, function: &str, arguments: &impl Serialize) -> Result<R> {
        match self.ask::<Result<R, types::Error>>(function, arguments) {
            Ok(answer) => Ok(answer?),
            Err(Unanswered::Cancelled) if thread::panicking() => {
                Err(Error::timeout(format!("{function}: the call was cancelled")))
            }
            Err(Unanswered::Cancelled) => panics::cancel(),
            Err(Unanswered::Unknown) => Err(Error::unsupported(format!(
                "{function}: not supported by this router; use a newer one"
            ))),
        }
    }

    fn ask<R: DeserializeOwned>(
        &self,
        function: &str,
        arguments: &impl Serialize,
    ) -> std::result::Result<R, Unanswered> {
        // SAFETY: not null only during its own entry, on the entry's thread.
        let Some(host) = (unsafe { self.0.get().as_ref() }) else {
            return Err(Unanswered::Cancelled);
        };
        let arguments = wire::bytes(arguments);
        let mut answer: Vec<u8> = Vec::new();
        let sink = Sink { context: ptr::from_mut(&mut answer).cast(), take };
        // SAFETY: the router's function with its own context; the borrowed arguments live until it
        // returns.
        let code = unsafe {
            (host.call)(host.context, Bytes::of(function.as_bytes()), Bytes::of(&arguments), sink)
        };
        match code {
            abi::host::ANSWERED => {
                let answer = wire::read(&answer);
                Ok(answer.unwrap_or_else(|flaw| {
                    panic!("cannot decode the router's answer to {function}: {flaw}")
                }))
            }
            abi::host::UNKNOWN => Err(Unanswered::Unknown),
            _ => Err(Unanswered::Cancelled),
        }
    }
}

/// Stores the router's answer.
unsafe extern "C" fn take(context: *mut c_void, answer: Bytes) {
    // SAFETY: the context is the vector of `ask`, which waits for this; the bytes are borrowed.
    unsafe {
        let buffer = &mut *context.cast::<Vec<u8>>();
        buffer.extend_from_slice(std::slice::from_raw_parts(answer.data, answer.len));
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.0.set(ptr::null());
    }
}

/// The host of an entry: a [`Caller`] shared with its response bodies.
impl Host for Rc<Caller> {
    fn write_log(&self, level: log::Level, message: &str, fields: &[Attribute]) {
        self.plain("log.write", &(level, message, fields))
    }

    fn now(&self) -> u64 {
        self.plain("clock.now", &())
    }

    fn monotonic(&self) -> u64 {
        self.plain("clock.monotonic", &())
    }

    fn sleep(&self, nanoseconds: u64) {
        self.plain("clock.sleep", &nanoseconds)
    }

    fn send(&self, request: &http::Request) -> Result<Reply> {
        let (handle, status, reason, headers) = self.result("http.send", request)?;
        let body = Box::new(Body { caller: self.clone(), handle, reason });
        Ok(Reply { status, headers, body })
    }

    fn spawn(&self, options: &command::SpawnOptions) -> Result<command::Process> {
        self.result("command.spawn", options)
    }

    fn find(&self, command: &str) -> Result<Option<command::Process>> {
        self.result("command.find", &command)
    }

    fn granted(&self) -> Vec<String> {
        self.plain("command.granted", &())
    }

    fn signal(&self, id: u64, signal: &str) -> Result<()> {
        self.result("command.signal", &(id, signal))
    }

    fn wait(&self, id: u64, timeout_ms: u64) -> Result<command::State> {
        self.result("command.wait", &(id, timeout_ms))
    }

    fn output(&self, id: u64, limit: u32) -> Result<Vec<u8>> {
        self.result("command.output", &(id, limit))
    }

    fn usage(&self, id: u64) -> Result<Option<command::ProcessUsage>> {
        self.result("command.usage", &id)
    }

    fn changes(&self, since: u64) -> Result<(u64, Vec<String>)> {
        self.result("command.changes", &since)
    }

    fn unary(&self, call: &grpc::Call) -> Result<Vec<u8>> {
        self.result("grpc.unary", call)
    }

    fn server_stream(&self, call: &grpc::Call) -> Result<host::Messages> {
        let handle = self.result("grpc.server-stream", call)?;
        Ok(Box::new(Messages { caller: self.clone(), handle }))
    }

    fn add_network(&self, attachment: &network::Attachment) -> Result<Vec<String>> {
        self.result("network.add", attachment)
    }

    fn del_network(&self, attachment: &network::Attachment) -> Result<()> {
        self.result("network.del", attachment)
    }

    fn check_network(&self, attachment: &network::Attachment) -> Result<()> {
        self.result("network.check", attachment)
    }

    fn send_datagram(&self, endpoint: &str, payload: &[u8]) -> Result<()> {
        self.result("udp.send", &(endpoint, payload))
    }

    fn emit(&self, event: &Event) {
        self.plain("events.emit", event)
    }

    fn synced(&self) {
        self.plain("events.synced", &())
    }

    fn memo_get(&self, key: &str) -> Option<Vec<u8>> {
        self.plain("memo.get", &key)
    }

    fn memo_set(&self, key: &str, value: &[u8]) -> bool {
        self.plain("memo.set", &(key, value))
    }

    fn memo_delete(&self, key: &str) {
        self.plain("memo.delete", &key)
    }
}

// === impl Body ===

impl ReadBody for Body {
    fn reason(&self) -> Option<String> {
        self.reason.clone()
    }

    fn read(&mut self, limit: u32) -> Result<Option<Vec<u8>>> {
        self.caller.result("http.response.read", &(self.handle, limit))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Without an answer the body is dropped with the call.
        let _ = self.caller.ask::<()>("http.response.drop", &self.handle);
    }
}

// === impl Messages ===

impl NextMessage for Messages {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.caller.result("grpc.messages.next", &self.handle)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // Without an answer the messages are dropped with the call.
        let _ = self.caller.ask::<()>("grpc.messages.drop", &self.handle);
    }
}
